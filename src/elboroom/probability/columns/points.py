"""Points and masses that stand for the distribution of a cell in sums over its possible values."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_STEP, _REACH = 0.375, 18  # standard deviations between two points, and points on either side of the middle
_BISECTIONS = 6
_BINS = 64
_TAIL = 18.0  # nats: what is left out of counts has a probability of about e to minus this


class Points(NamedTuple):
    """N possible values of each cell of m columns of a family, and their log-probabilities.

    Attributes
    ----------
    members : Tensor
        The columns, by their places within the family, (m,).
    values : Tensor
        What the family's ``cells`` turns into cells: standardised numbers, counts, or indices of categories.
        It broadcasts with (N, ..., m).
    log_mass : Tensor
        (N, ..., m), nats; −∞ where there is no such value.
    """

    members: Tensor
    values: Tensor
    log_mass: Tensor


class Tilt(NamedTuple):
    """A logistic function σ(intercept + slope · y) of standardised numbers y, (g,) each."""

    intercept: Tensor
    slope: Tensor


class Placing(NamedTuple):
    """Where points that stand for more than themselves lie.

    Attributes
    ----------
    tilt : Tilt, optional
        What the density is to be multiplied with: points lie where the product is large.
    offset : Tensor or float
        By what part of their distance, from −½ to ½, points are shifted, (..., g). With a random shift a
        point that is drawn by its mass is a draw from the distribution itself.
    cells : (Tensor, Tensor), optional
        Rows and columns (m,) of the cells that alone matter, for families of numbers, which then leave out
        others; ``tilt`` is of these cells too, (m,).
    """

    tilt: Tilt | None = None
    offset: Tensor | float = 0.0
    cells: tuple[Tensor, Tensor] | None = None

    def members(self, location: Tensor) -> Tensor:
        """The columns of the points of a family whose g columns have ``location`` (g,)."""
        return torch.arange(len(location), device=location.device) if self.cells is None else self.cells[1]

    def of(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Parameters (..., b, g) of the cells that are wanted: (..., m), or all of them."""
        if self.cells is None:
            return parameters
        rows, columns = self.cells
        return tuple(each[..., rows, columns] for each in parameters)


CENTRED = Placing()


def normal_grid(mean: Tensor, scale: Tensor, placing: Placing = CENTRED) -> Tensor:
    """Equally spaced points (N, ..., g) for sums of the density N(mean, scale²), (..., g), times σ.

    The trapezoidal rule converges exponentially for smooth functions. The points lie around the mode of the
    product, whose logarithm has a curvature of at least 1/scale², so that none of its mass is left out
    wherever σ moves it. Their distance is ``_STEP · scale``; they have no gradient.
    """
    with torch.no_grad():
        mode = 0.0 if placing.tilt is None else _mode(mean, scale, placing.tilt)
        steps = torch.arange(-_REACH, _REACH + 1, device=mean.device, dtype=mean.dtype)
        return mean + scale * (mode + _STEP * (along_first(steps, mean) + placing.offset))


def _mode(mean: Tensor, scale: Tensor, tilt: Tilt) -> Tensor:
    """Where φ(z) σ(intercept + slope · (mean + scale · z)) is largest, to about a step."""
    start, pull = tilt.intercept + tilt.slope * mean, tilt.slope * scale
    low, high = pull.clamp(max=0), pull.clamp(min=0)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = pull * torch.sigmoid(-(start + pull * middle)) > middle
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return 0.5 * (low + high)


def log_normal_step(scale: Tensor) -> Tensor:
    """Logarithm of the distance of the points of :func:`normal_grid`."""
    return scale.log() + math.log(_STEP)


def count_bins(mean: Tensor, theta: Tensor, offset: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """One count of each of N ranges of counts, and how many the range has, (N, ..., g) each.

    The first range is 0 alone. The others reach as far as a negative binomial of this mean and inverse
    dispersion θ does. They are single counts if these are few, and else of equal widths in log x, rounded, so
    that some may be empty.

    Parameters
    ----------
    mean, theta : Tensor
        (..., g); θ = ∞ for Poisson counts.
    offset : Tensor or float
        From −½, the beginning of a range, to ½, its end. 0 is its middle, which may lie between two counts.
    """
    with torch.no_grad():
        mean, share = mean.double(), _TAIL / theta.double()
        # Tails of a gamma distribution of shape θ, and of a Poisson distribution with such a rate.
        spread = (2 * share).sqrt()
        least, most = mean * (1 - spread).clamp(min=0), mean * (1 + spread + share)
        first = (least - (2 * _TAIL * least).sqrt()).clamp(min=1).floor()
        last = most + (2 * _TAIL * most).sqrt() + _TAIL
        numbers = along_first(torch.arange(_BINS + 1, device=mean.device, dtype=mean.dtype), mean)
        wide = (first.log() + numbers / _BINS * (last / first).log()).exp().round()
        edges = torch.where(last - first > _BINS, wide, first + numbers)
        size = edges.diff(dim=0)
        within = (0.5 + offset) * size
        within = within.floor().minimum(size - 1) if isinstance(offset, Tensor) else within - 0.5
        zero = torch.zeros_like(mean)[None]
        return torch.cat([zero, edges[:-1] + within.clamp(min=0)]), torch.cat([zero + 1, size])


def along_first(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (N,) to (N, 1, ..., 1), to broadcast with (N, *like.shape)."""
    return values.reshape(-1, *[1] * like.ndim)

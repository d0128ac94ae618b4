"""Likelihoods of discrete pixel levels: probabilities that sum to one over the levels.

Data are in model units, in which level k of L is k / (L − 1): 8-bit pixels divided by 255. ``log_prob``
rounds x to the nearest level, which recovers the pixel exactly in float32 for up to 2¹⁶ levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.probability.parameters import Measure, check_above, softplus_from, sum_event, widened

# Up to here the level is recovered exactly from k / (L − 1) in float32.
_MOST_LEVELS = 2**16


@dataclass(frozen=True)
class Categorical:
    """Independent categorical distributions over the levels, with logits (..., *shape, levels)."""

    logits: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Expected level in model units, (..., *shape)."""
        levels = self.logits.shape[-1]
        values = torch.linspace(0, 1, levels, dtype=self.logits.dtype, device=self.logits.device)
        return torch.softmax(self.logits, -1) @ values

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ log softmax(logits) at the level of x, nats."""
        *shape, levels = self.logits.shape
        level = (x * (levels - 1)).round().long().expand(shape)
        cross_entropy = F.cross_entropy(self.logits.flatten(0, -2), level.flatten(), reduction="none")
        return -sum_event(cross_entropy.reshape(shape), self.event_dims)

    def sample(self) -> Tensor:
        """Draw levels, in model units, (..., *shape)."""
        level = _draw_index(self.logits)
        return level.to(self.logits.dtype) / (self.logits.shape[-1] - 1)


@dataclass(frozen=True)
class DiscretizedLogistic:
    """A mixture of logistic distributions for each number, rounded to the nearest level.

    The first and last levels include all mass beyond them (arXiv:1606.04934, arXiv:1701.05517 §2.1). Numbers
    are independent given the code: channels are not conditioned on each other.

    Attributes
    ----------
    log_weights : Tensor
        Logarithms of the K components' weights, which sum to one: (..., *shape, K), or (K,) for all.
    location, scale : Tensor
        Locations and scales of the components before rounding, in model units, (..., *shape, K).
    levels : int
        L.
    event_dims : int
        Dimensions of one example.
    """

    log_weights: Tensor
    location: Tensor
    scale: Tensor
    levels: int
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture clipped to [0, 1], without rounding, (..., *shape).

        It is within half a level of the mean over the levels, and its cost does not grow with their number.
        """
        # s(softplus(μ/s) − softplus((μ−1)/s)), without the large parts of both terms, which cancel.
        past_first, past_last = (-(self.location - end).abs() / self.scale for end in (0, 1))
        means = self.location.clamp(0, 1) + self.scale * (F.softplus(past_first) - F.softplus(past_last))
        return (self.log_weights.exp() * means).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ log Σ_k w_k (F_k(x + ½ level) − F_k(x − ½ level)), nats.

        Written as σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{b−a}), which subtracts no nearly equal numbers, however
        narrow or distant the component.
        """
        last = self.levels - 1
        level = (x * last).round()[..., None]
        upper = ((level + 0.5) / last - self.location) / self.scale
        lower = ((level - 0.5) / last - self.location) / self.scale
        is_first, is_last = level <= 0, level >= last
        log_mass = (
            torch.where(is_last, 0.0, F.logsigmoid(upper))
            + torch.where(is_first, 0.0, F.logsigmoid(-lower))
            + torch.where(is_first | is_last, 0.0, torch.log(-torch.expm1(-1 / (last * self.scale))))
        )
        return sum_event(torch.logsumexp(self.log_weights + log_mass, -1), self.event_dims)

    def sample(self) -> Tensor:
        """Draw a component and a number from it, and round to levels in model units, (..., *shape)."""
        chosen = _draw_index(self.log_weights.expand_as(self.location))[..., None]
        location, scale = self.location.gather(-1, chosen)[..., 0], self.scale.gather(-1, chosen)[..., 0]
        smallest = torch.finfo(location.dtype).eps
        noise = torch.logit(torch.rand_like(location), eps=smallest)
        last = self.levels - 1
        return ((location + scale * noise).clamp(0, 1) * last).round() / last


def _draw_index(logits: Tensor) -> Tensor:
    """Draw from the categorical distribution over the last axis, (...)."""
    return torch.distributions.Categorical(logits=logits, validate_args=False).sample()  # type: ignore[no-untyped-call]


def _per_number(features: Tensor, count: int) -> Tensor:
    """(..., c·count) → (..., c, count)."""
    # Not -1, which is ambiguous for an empty tensor.
    return features.reshape(*features.shape[:-1], features.shape[-1] // count, count)


def _check_levels(levels: int) -> None:
    if not 2 <= levels <= _MOST_LEVELS:
        raise UsageError(f"levels = {levels}: must be from 2 to {_MOST_LEVELS}; 256 for 8-bit pixels")


class CategoricalHead(nn.Module):
    """Features (..., h, w, c·levels) or (..., d·levels) → :class:`Categorical`.

    The logits of one number are adjacent. The decoder's last layer is ``levels`` times as large as for a
    Bernoulli.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    levels : int
        L, from 2; 256 for 8-bit pixels.

    Raises
    ------
    UsageError
        If ``levels`` is out of range.
    """

    support: tuple[float, float] | None = (0.0, 1.0)
    measure: Measure | None = "mass"

    def __init__(self, shape: tuple[int, ...], *, levels: int = 256):
        super().__init__()
        _check_levels(levels)
        self.levels = levels
        self.spacing: float | None = 1 / (levels - 1)
        self.event_dims = len(shape)
        self.in_shape = widened(shape, levels)

    def forward(self, features: Tensor) -> Categorical:
        """Logits, from features (..., *in_shape)."""
        return Categorical(_per_number(features, self.levels), self.event_dims)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"levels={self.levels}"


class DiscretizedLogisticHead(nn.Module):
    """Features, 2 for each number or 3K for a mixture of K → :class:`DiscretizedLogistic`.

    Each number has K locations, then K raw scales and, if K > 1, K logits of the weights.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    levels : int
        L, from 2; 256 for 8-bit pixels.
    mixtures : int
        K. Where the network's output is 0, locations are spread evenly over [0, 1].
    scale : float, optional
        Initial scale in model units. Default: a tenth, or one level if that is larger.
    min_scale : float, optional
        Lower bound of the scales. Default: a tenth of a level.

    Raises
    ------
    UsageError
        If an option is out of range.

    Examples
    --------
    >>> DiscretizedLogisticHead((32, 32, 3), mixtures=10).in_shape
    (32, 32, 90)
    """

    support: tuple[float, float] | None = (0.0, 1.0)
    measure: Measure | None = "mass"

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        levels: int = 256,
        mixtures: int = 1,
        scale: float | None = None,
        min_scale: float | None = None,
    ):
        super().__init__()
        _check_levels(levels)
        if mixtures < 1:
            raise UsageError(f"mixtures = {mixtures}: must be at least 1")
        self.levels = levels
        self.mixtures = mixtures
        self.spacing: float | None = 1 / (levels - 1)
        self.min_scale = 0.1 * self.spacing if min_scale is None else min_scale
        check_above("min_scale", self.min_scale, 0)
        self.start = max(0.1, self.spacing) if scale is None else scale
        check_above("scale", self.start, self.min_scale)
        self.event_dims = len(shape)
        self._count = 2 if mixtures == 1 else 3 * mixtures
        self.in_shape = widened(shape, self._count)
        # Different from the start, as equal components would stay equal.
        self.register_buffer("_centres", (torch.arange(mixtures) + 0.5) / mixtures, persistent=False)
        self._centres: Tensor

    def forward(self, features: Tensor) -> DiscretizedLogistic:
        """Locations, scales and weights, from features (..., *in_shape)."""
        numbers = _per_number(features, self._count)
        location, raw, *logits = torch.split(numbers, self.mixtures, -1)
        return DiscretizedLogistic(
            F.log_softmax(logits[0], -1) if logits else features.new_zeros(1),
            location + self._centres,
            softplus_from(raw, self.start, self.min_scale),
            self.levels,
            self.event_dims,
        )

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"levels={self.levels}, mixtures={self.mixtures}, min_scale={self.min_scale:.4g}"

"""Columns of real numbers: Gaussian, log-normal, Student's t and mixtures, of standardised values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from elboroom.config.columns import MIXTURE_COMPONENTS, Column
from elboroom.probability.columns.between import log_mass_of_student_t, student_t_between
from elboroom.probability.columns.family import ColumnFamily
from elboroom.probability.columns.points import (
    CENTRED,
    Placing,
    Points,
    along_first,
    log_normal_step,
    normal_grid,
)
from elboroom.probability.location_scale import StudentT
from elboroom.probability.parameters import softplus_from
from elboroom.probability.truncated import log_normal_mass, truncated_normal

LEAST_SCALE = 1e-3
"""Lower bound of the scale of a standardised number, without which a constant would have infinite density."""
_START_SCALE, _START_COMPONENT_SCALE = 1.0, 0.5
_START_DF, _LEAST_DF = 4.0, 1.0
_LOG_2PI = math.log(2 * math.pi)
_SINH_STEP, _SINH_REACH = 0.25, 48  # points of Student's t lie at sinh of equal steps, up to e^12
# Logarithms of positive numbers that are put out; float32 ends at 88.
_LARGEST_LOG = 80.0


class NumberColumns(ColumnFamily):
    """Columns of numbers: a distribution of y, which a monotone function makes of x or of log x.

    Here y is (x − location) / scale, or that of log x for columns that are ``logged``.
    """

    logged: Tensor
    least_scale = LEAST_SCALE

    def __init__(self, columns: Sequence[Column], features: int, of_scale: int):
        count = len(columns)
        super().__init__(columns, [features] * count, [1] * count, of_scale)
        self.register_buffer("logged", torch.tensor([c.logged for c in columns]), persistent=False)
        # The median of a log-normal: a missing cell needs a value in the support.
        self.fill.copy_(self._exp(self.location))

    def standardized(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The number y and log dy/dx of x (..., g), both (..., g)."""
        u = torch.where(self.logged, torch.where(self.logged, x, 1.0).log(), x)
        y, log_slope = self._to_y(u)
        return y, torch.where(self.logged, log_slope - u, log_slope)

    def original(self, y: Tensor) -> Tensor:
        """The inverse of :meth:`standardized`, (..., g)."""
        return self._exp(self._from_y(y))

    def encode(self, x: Tensor) -> Tensor:
        """Standardised numbers, y."""
        return self.standardized(x)[0]

    def ends(self, *x: Tensor) -> tuple[Tensor, ...]:
        """Y of ends of intervals (..., g), in float64; they may be infinite, or not in the support."""
        us = [torch.where(self.logged, end.double().clamp(min=0).log(), end.double()) for end in x]
        return tuple(self._to_y(u)[0] for u in us)

    def values(self, x: Tensor) -> Tensor:
        """Standardised numbers, y."""
        return self.standardized(x)[0]

    def cells(self, values: Tensor) -> Tensor:
        """Numbers in their own units."""
        return self.original(values)

    def _to_y(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return (u - self.location) / self.spread, -self.spread.log()

    def _from_y(self, y: Tensor) -> Tensor:
        return self.location + self.spread * y

    def _exp(self, u: Tensor) -> Tensor:
        bounded = torch.where(self.logged, u, 0.0).clamp(-_LARGEST_LOG, _LARGEST_LOG)
        return torch.where(self.logged, bounded.exp(), u)


class GaussianColumns(NumberColumns):
    """y is normal: the decoder gives its mean and its scale. Of log x this is the log-normal."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, 2, 1)

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Of y, plus log dy/dx (Jacobian)."""
        y, log_slope = self.standardized(x)
        mean, scale = self._mean_and_scale(features)
        return log_standard_normal((y - mean) / scale) - scale.log() + log_slope

    def mean(self, features: Tensor) -> Tensor:
        """Mean; of a log-normal and of quantiles the median."""
        return self.original(self._mean_and_scale(features)[0])

    def sample(self, features: Tensor) -> Tensor:
        """Mean plus noise."""
        mean, scale = self._mean_and_scale(features)
        return self.original(mean + scale * torch.randn_like(mean))

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Φ at the upper end minus Φ at the lower."""
        mean, scale = (value.double() for value in self._mean_and_scale(features))
        return log_normal_mass(*((end - mean) / scale for end in self.ends(low, high)))

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Truncated normal."""
        mean, scale = (value.double() for value in self._mean_and_scale(features))
        drawn = truncated_normal(*((end - mean) / scale for end in self.ends(low, high)))
        return self.original(mean + scale * drawn).to(features.dtype)

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:
        """Of y, by the trapezoidal rule."""
        mean, scale = placing.of(*self._mean_and_scale(features))
        y = normal_grid(mean, scale, placing)
        log_mass = log_standard_normal((y - mean) / scale) - scale.log() + log_normal_step(scale.detach())
        yield Points(placing.members(self.location), y, log_mass)

    def _mean_and_scale(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = features.chunk(2, -1)
        return mean, softplus_from(raw, _START_SCALE, self.least_scale)


class StudentTColumns(NumberColumns):
    """y has Student's t distribution: the decoder gives location, scale and degrees of freedom (above 1)."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, 3, 2)

    def encode(self, x: Tensor) -> Tensor:
        """asinh(y): linear near 0, and outliers do not drown the other columns."""
        return self.standardized(x)[0].asinh()

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Of y, plus log dy/dx (Jacobian)."""
        y, log_slope = self.standardized(x)
        return self._of_y(features).log_prob(y) + log_slope

    def mean(self, features: Tensor) -> Tensor:
        """Location, which is the mean."""
        return self.original(self._of_y(features).mean)

    def sample(self, features: Tensor) -> Tensor:
        """Location plus noise."""
        return self.original(self._of_y(features).sample())

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """By scipy."""
        return log_mass_of_student_t(self._of_y(features), *self.ends(low, high))

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """By scipy."""
        drawn = student_t_between(self._of_y(features), *self.ends(low, high))
        return self.original(drawn.to(features.dtype))

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:
        """Of y = location + scale · sinh v, by the trapezoidal rule for v, wherever a tail ends."""
        p = self._of_y(features)
        mean, scale, df = placing.of(p.mean, p.scale, p.df)
        p = StudentT(mean, scale, df, 0)
        with torch.no_grad():
            steps = torch.arange(-_SINH_REACH, _SINH_REACH + 1, device=features.device, dtype=features.dtype)
            v = _SINH_STEP * (along_first(steps, p.mean) + placing.offset)
            y, log_step = p.mean + p.scale * v.sinh(), (_SINH_STEP * p.scale).log() + v.cosh().log()
        yield Points(placing.members(self.location), y, p.log_prob(y) + log_step)

    def seen(self, values: Tensor, members: Tensor) -> Tensor:  # noqa: ARG002
        """asinh(y)."""
        return values.asinh()

    def _of_y(self, features: Tensor) -> StudentT:
        mean, raw, raw_df = features.chunk(3, -1)
        scale = softplus_from(raw, _START_SCALE, self.least_scale)
        return StudentT(mean, scale, softplus_from(raw_df, _START_DF, _LEAST_DF), 0)


class MixtureColumns(NumberColumns):
    """y has a mixture of normal distributions: the decoder gives weights, means and scales.

    Means start from the ``knots`` of a column, if it has any: quantiles of its training data.
    """

    start: Tensor

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, 3 * MIXTURE_COMPONENTS, MIXTURE_COMPONENTS)
        even = torch.linspace(-1.5, 1.5, MIXTURE_COMPONENTS)
        starts = [
            (torch.tensor(c.knots) - c.location) / c.scale if len(c.knots) == MIXTURE_COMPONENTS else even
            for c in columns
        ]
        self.register_buffer("start", torch.stack(starts), persistent=False)

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Of y, plus log dy/dx (Jacobian)."""
        y, log_slope = self.standardized(x)
        log_weights, means, scales = self._components(features)
        of_each = log_standard_normal((y[..., None] - means) / scales) - scales.log()
        return torch.logsumexp(log_weights + of_each, -1) + log_slope

    def mean(self, features: Tensor) -> Tensor:
        """Mean; of a mixture of log-normals e to the mean logarithm."""
        log_weights, means, _ = self._components(features)
        return self.original((log_weights.exp() * means).sum(-1))

    def sample(self, features: Tensor) -> Tensor:
        """Draw a component, and from it."""
        log_weights, means, scales = self._components(features)
        chosen = (log_weights - torch.empty_like(log_weights).exponential_().log()).argmax(-1, keepdim=True)
        mean, scale = (of_each.gather(-1, chosen)[..., 0] for of_each in (means, scales))
        return self.original(mean + scale * torch.randn_like(mean))

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Mean over the components."""
        return torch.logsumexp(self._masses(features, *self.ends(low, high)), -1)

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draw a component by its mass in the interval, and from it within."""
        ends = self.ends(low, high)
        masses = self._masses(features, *ends)
        chosen = (masses - torch.empty_like(masses).exponential_().log()).argmax(-1, keepdim=True)
        _, means, scales = self._components(features.double())
        mean, scale = (of_each.gather(-1, chosen)[..., 0] for of_each in (means, scales))
        drawn = truncated_normal(*((end - mean) / scale for end in ends))
        return self.original(mean + scale * drawn).to(features.dtype)

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:
        """Of y, by the trapezoidal rule for each component."""
        parts = (part.movedim(-1, 0) for part in self._components(features))
        log_weights, means, scales = placing.of(*parts)
        y = normal_grid(means, scales, placing)
        of_each = log_standard_normal((y - means) / scales) - scales.log() + log_normal_step(scales.detach())
        yield Points(placing.members(self.location), y.flatten(0, 1), (log_weights + of_each).flatten(0, 1))

    def _masses(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Log-probability of each component together with the interval of y, (..., g, K)."""
        log_weights, means, scales = self._components(features.double())
        ends = [(end[..., None] - means) / scales for end in (low, high)]
        return log_weights + log_normal_mass(*ends)

    def _components(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and scales, each (..., g, K)."""
        parts = features.reshape(*features.shape[:-1], 3, *self.start.shape)
        logits, means, raw = parts.unbind(-3)
        scales = softplus_from(raw, _START_COMPONENT_SCALE, self.least_scale)
        return logits.log_softmax(-1), self.start + means, scales


def log_standard_normal(gap: Tensor) -> Tensor:
    """Log-density of the standard normal."""
    return -0.5 * (gap.square() + _LOG_2PI)

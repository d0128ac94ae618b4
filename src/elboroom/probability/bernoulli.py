"""Likelihoods of numbers between 0 and 1, with one logit for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.probability.parameters import Measure, polynomial, sum_event

# Below this logit the continuous Bernoulli is computed by its series, as the closed form's derivative
# cancels. The terms B₂ₙ ℓ²ⁿ⁻¹ / (2n)! sum to the mean minus ½; five are exact to float64's rounding.
_SMALL_LOGIT = 0.3
_MEAN_SERIES = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
_LOG_SERIES = tuple(term / (2 * n) for n, term in enumerate(_MEAN_SERIES, 1))  # its integral


@dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli distributions with logits (..., *shape).

    For x strictly between 0 and 1 ``log_prob`` is the cross-entropy in common use, which ranks models but is
    not the logarithm of a normalised density (arXiv:1907.06845). For a true likelihood binarise the data, or
    take :class:`ContinuousBernoulli`.
    """

    logits: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Probability of a one, (..., *shape)."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ x log μ + (1 − x) log(1 − μ) in nats, computed from the logits for precision."""
        cross_entropy = F.binary_cross_entropy_with_logits(
            self.logits, x.expand_as(self.logits), reduction="none"
        )
        return -sum_event(cross_entropy, self.event_dims)

    def sample(self) -> Tensor:
        """Draw zeros and ones, (..., *shape)."""
        return torch.bernoulli(self.mean)


@dataclass(frozen=True)
class ContinuousBernoulli:
    """Continuous Bernoulli distributions on [0, 1] (arXiv:1907.06845) with logits (..., *shape).

    With logit ℓ it is the exponential distribution of rate −ℓ truncated at 1: p(x) = ℓ e^{ℓx} / (e^ℓ − 1).

    Examples
    --------
    >>> ContinuousBernoulli(torch.zeros(1), 1).log_prob(torch.tensor([0.3])).item()  # uniform
    0.0
    """

    logits: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """1 / (1 − e^{−ℓ}) − 1/ℓ, (..., *shape); closer to ½ than sigmoid(ℓ)."""
        small, size = self._size()
        series = self.logits * polynomial(torch.where(small, self.logits, 0.0).square(), _MEAN_SERIES)
        off_centre = -1 / torch.expm1(-size) - 1 / size - 0.5
        return 0.5 + torch.where(small, series, self.logits.sign() * off_centre)

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ ℓx − log((e^ℓ − 1)/ℓ), nats."""
        small, size = self._size()
        squared = torch.where(small, self.logits, 0.0).square()
        series = squared * polynomial(squared, _LOG_SERIES)  # log(sinh(ℓ/2) / (ℓ/2))
        # The large part, ℓ or 0, is subtracted from ℓx first, so that no digits are lost.
        largest = torch.where(small, 0.5 * self.logits, F.relu(self.logits))
        rest = torch.where(small, series, torch.log1p(-torch.exp(-size)) - size.log())
        return sum_event((self.logits * x - largest) - rest, self.event_dims)

    def sample(self) -> Tensor:
        """Draw numbers in [0, 1] by the inverse distribution function, (..., *shape)."""
        size = self.logits.abs().clamp(min=1e-12)  # where e^{−ℓ} − 1 is −ℓ, and the draw is uniform
        low = -torch.log1p(torch.rand_like(size) * torch.expm1(-size)) / size
        low = low.clamp(0, 1)
        return torch.where(self.logits > 0, 1 - low, low)

    def _size(self) -> tuple[Tensor, Tensor]:
        """Whether |ℓ| is small; and |ℓ|, or 1 where it is small, so that no branch divides by 0."""
        size = self.logits.abs()
        small = size < _SMALL_LOGIT
        return small, torch.where(small, 1.0, size)


class BernoulliHead(nn.Module):
    """Features of the data's shape, as logits → :class:`Bernoulli`.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    continuous : bool
        Make a :class:`ContinuousBernoulli` instead, a density of grey pixels.
    """

    support: tuple[float, float] | None = (0.0, 1.0)
    spacing: float | None = None  # grey pixels are allowed, and scored by the cross-entropy

    def __init__(self, shape: tuple[int, ...], *, continuous: bool = False):
        super().__init__()
        self.in_shape = shape
        self.family = ContinuousBernoulli if continuous else Bernoulli
        self.measure: Measure | None = "density" if continuous else None

    def forward(self, features: Tensor) -> Bernoulli | ContinuousBernoulli:
        """Logits (..., *shape)."""
        return self.family(features, len(self.in_shape))

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return "continuous=True" if self.family is ContinuousBernoulli else ""

"""Likelihoods of counts: Poisson, negative binomial and the same with extra zeros, as in scvi-tools.

Data are the counts themselves, 0, 1, 2, …, unscaled. The network puts out logarithms of means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.probability.parameters import check_choice, polynomial, sum_event, tame_log, widened

# Where means are drawn from they end here: torch's Poisson sampler counts in 64-bit integers.
_LARGEST_DRAWN_MEAN = 1e9
# log Γ(a) less Stirling's formula in powers of 1/a², times a; within 3e-13 for a ≥ 8.
_LARGE_THETA = 8.0
_STIRLING_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


@dataclass(frozen=True)
class Poisson:
    """Independent Poisson counts by the logarithm of their mean (..., *shape)."""

    log_mean: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Expected counts, (..., *shape)."""
        return self.log_mean.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ x log μ − μ − log x!, nats."""
        matched = sum_event(x * self.log_mean - self.log_mean.exp(), self.event_dims)
        return matched - sum_event(torch.lgamma(x + 1), self.event_dims)

    def sample(self) -> Tensor:
        """Draw counts, (..., *shape)."""
        return torch.poisson(self.mean.clamp(max=_LARGEST_DRAWN_MEAN))


@dataclass(frozen=True)
class NegativeBinomial:
    """Independent counts of mean μ and variance μ + μ²/θ, θ being the inverse dispersion.

    Attributes
    ----------
    log_mean : Tensor
        log μ, (..., *shape).
    log_theta : Tensor
        log θ, of the same shape or one that broadcasts with it.
    event_dims : int
        Of one example.
    """

    log_mean: Tensor
    log_theta: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Expected counts, (..., *shape)."""
        return self.log_mean.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ log Γ(x+θ) − log Γ(θ) − log x! + θ log(θ/(θ+μ)) + x log(μ/(θ+μ)), nats."""
        log_mass = _log_negative_binomial(x, self.log_mean, self.log_theta)
        return sum_event(log_mass, self.event_dims) - sum_event(torch.lgamma(x + 1), self.event_dims)

    def sample(self) -> Tensor:
        """Draw rates from a gamma distribution and counts with these rates, (..., *shape)."""
        theta = self.log_theta.expand_as(self.log_mean).exp()
        rates = torch.distributions.Gamma(theta, torch.ones_like(theta), validate_args=False).sample()
        mean = rates * (self.log_mean - self.log_theta).exp()
        return torch.poisson(mean.clamp(max=_LARGEST_DRAWN_MEAN))


@dataclass(frozen=True)
class ZeroInflatedNegativeBinomial:
    """A negative binomial count, or with a probability of its own a zero (arXiv:1709.02082).

    Attributes
    ----------
    log_mean, log_theta, event_dims
        As :class:`NegativeBinomial`.
    dropout_logits : Tensor
        Of the probability π that the count is lost, (..., *shape).
    """

    log_mean: Tensor
    log_theta: Tensor
    dropout_logits: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Expected counts (1 − π)μ, (..., *shape)."""
        return torch.sigmoid(-self.dropout_logits) * self.log_mean.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ log((1 − π) NB(x) + π [x = 0]), nats."""
        counted = F.logsigmoid(-self.dropout_logits)
        counted = counted + _log_negative_binomial(x, self.log_mean, self.log_theta) - torch.lgamma(x + 1)
        lost = F.logsigmoid(self.dropout_logits)
        return sum_event(torch.where(x == 0, torch.logaddexp(counted, lost), counted), self.event_dims)

    def sample(self) -> Tensor:
        """Draw counts and lose some, (..., *shape)."""
        kept = torch.bernoulli(torch.sigmoid(-self.dropout_logits))
        return kept * NegativeBinomial(self.log_mean, self.log_theta, self.event_dims).sample()


def _log_negative_binomial(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-mass of each number but for −log x!, (..., *shape).

    log Γ(x+θ) − log Γ(θ) cancels for large θ, in float32 to nothing by θ = 10⁶. There both are taken by
    Stirling's formula and its large parts put together beforehand, so that the Poisson is the limit.
    """
    theta = log_theta.exp()
    large = theta > _LARGE_THETA
    far, near = torch.where(large, theta, _LARGE_THETA), torch.where(large, _LARGE_THETA, theta)
    log_sum = torch.logaddexp(log_theta, log_mean)  # log(θ + μ)
    matched = x * (log_mean - log_sum)
    missed = theta * F.softplus(log_mean - log_theta)  # −θ log(θ/(θ+μ))
    by_gamma = torch.lgamma(x + near) - torch.lgamma(near)
    by_stirling = (
        (far - 0.5) * torch.log1p(x / far)
        + x * ((x + far).log() - 1)
        + _stirling_rest(x + far)
        - _stirling_rest(far)
    )
    return matched - missed + torch.where(large, by_stirling, by_gamma)


def _stirling_rest(a: Tensor) -> Tensor:
    return polynomial(a.square().reciprocal(), _STIRLING_SERIES) / a


class PoissonHead(nn.Module):
    """Features of the data's own shape, taken as logarithms of means → :class:`Poisson`.

    Beyond e^±15 the logarithm is bent (:func:`~elboroom.probability.parameters.tame_log`), here and below.
    """

    support: tuple[float, float] | None = (0.0, math.inf)
    spacing: float | None = 1.0

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.in_shape = shape

    def forward(self, features: Tensor) -> Poisson:
        """Logarithms of means (..., *shape)."""
        return Poisson(tame_log(features), len(self.in_shape))


class NegativeBinomialHead(nn.Module):
    """Features → :class:`NegativeBinomial`, or the same with extra zeros.

    Along the last axis stand the logarithms of the means, then those of θ if it is the network's, then the
    logits of dropout if zeros are inflated.

    Parameters
    ----------
    shape : tuple of int
        Of one example.
    dispersion : {"feature", "network"}
        "feature": one θ for each number of an example, learned, the same for all examples (scvi-tools'
        "gene"). "network": the decoder puts out one for each number ("gene-cell").
    zero_inflated : bool
        Give a :class:`ZeroInflatedNegativeBinomial`.

    Raises
    ------
    UsageError
        If ``dispersion`` is neither.

    Examples
    --------
    >>> NegativeBinomialHead((2000,), zero_inflated=True).in_shape
    (4000,)
    """

    support: tuple[float, float] | None = (0.0, math.inf)
    spacing: float | None = 1.0

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        dispersion: Literal["feature", "network"] = "feature",
        zero_inflated: bool = False,
    ):
        super().__init__()
        check_choice("dispersion", dispersion, ("feature", "network"))
        self.dispersion = dispersion
        self.zero_inflated = zero_inflated
        self.event_dims = len(shape)
        self._parts = 1 + (dispersion == "network") + zero_inflated
        self.in_shape = widened(shape, self._parts)
        self.log_theta = nn.Parameter(torch.zeros(shape)) if dispersion == "feature" else None

    def forward(self, features: Tensor) -> NegativeBinomial | ZeroInflatedNegativeBinomial:
        """Means, θ and dropout, from features (..., *in_shape)."""
        log_mean, *rest = features.chunk(self._parts, dim=-1)
        log_mean = tame_log(log_mean)
        log_theta = tame_log(rest.pop(0) if self.log_theta is None else self.log_theta)
        if self.zero_inflated:
            return ZeroInflatedNegativeBinomial(log_mean, log_theta, rest[0], self.event_dims)
        return NegativeBinomial(log_mean, log_theta, self.event_dims)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"dispersion={self.dispersion!r}, zero_inflated={self.zero_inflated}"

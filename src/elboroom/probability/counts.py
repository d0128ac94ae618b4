"""Likelihoods of counts: Poisson, negative binomial and zero-inflated negative binomial, as in scvi-tools.

Data are the counts 0, 1, 2, …, unscaled. The network's outputs are logarithms of means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.probability.parameters import (
    Measure,
    check_choice,
    in_double,
    polynomial,
    sum_event,
    tame_log,
    widened,
)

# Means are limited to this when counts are drawn: torch's Poisson sampler uses 64-bit integers.
_LARGEST_DRAWN_MEAN = 1e9
_LOG_2PI = math.log(2 * math.pi)
# Stirling's series for log Γ in powers of 1/a², times a; accurate to 3e-13 for a ≥ 8.
_LARGE = 8.0
_STIRLING_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
# Where log μ and log x differ by less, the sum of x log(μ/x) and x − μ is of second order.
_NEAR = 1.0


@dataclass(frozen=True)
class Poisson:
    """Independent Poisson counts with the logarithms of their means, (..., *shape)."""

    log_mean: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Expected counts, (..., *shape)."""
        return self.log_mean.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ x log μ − μ − log x!, nats, with a relative error of about 1e-6 for counts of any size."""
        return _summed(_log_poisson(x, self.log_mean), self.event_dims, self.log_mean)

    def sample(self) -> Tensor:
        """Draw counts, (..., *shape)."""
        return torch.poisson(self.mean.clamp(max=_LARGEST_DRAWN_MEAN))


@dataclass(frozen=True)
class NegativeBinomial:
    """Independent negative binomial counts of mean μ and variance μ + μ²/θ, with inverse dispersion θ.

    Attributes
    ----------
    log_mean : Tensor
        log μ, (..., *shape).
    log_theta : Tensor
        log θ, of the same shape or one that broadcasts with it.
    event_dims : int
        Dimensions of one example.
    """

    log_mean: Tensor
    log_theta: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Expected counts, (..., *shape)."""
        return self.log_mean.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ log Γ(x+θ) − log Γ(θ) − log x! + θ log(θ/(θ+μ)) + x log(μ/(θ+μ)), nats, as :class:`Poisson`."""
        log_mass = _log_negative_binomial(x, self.log_mean, self.log_theta)
        return _summed(log_mass, self.event_dims, self.log_mean)

    def sample(self) -> Tensor:
        """Draw rates from a gamma distribution and counts with these rates, (..., *shape)."""
        theta = self.log_theta.expand_as(self.log_mean).exp()
        rates = torch.distributions.Gamma(theta, torch.ones_like(theta), validate_args=False).sample()
        mean = rates * (self.log_mean - self.log_theta).exp()
        return torch.poisson(mean.clamp(max=_LARGEST_DRAWN_MEAN))


@dataclass(frozen=True)
class ZeroInflatedNegativeBinomial:
    """A zero with probability π, otherwise a negative binomial count (arXiv:1709.02082).

    Attributes
    ----------
    log_mean, log_theta, event_dims
        As :class:`NegativeBinomial`.
    dropout_logits : Tensor
        Logits of π, (..., *shape).
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
        """Σ log((1 − π) NB(x) + π [x = 0]), nats, as :class:`Poisson`."""
        (logits,) = in_double(self.dropout_logits)
        counted = F.logsigmoid(-logits) + _log_negative_binomial(x, self.log_mean, self.log_theta)
        log_mass = torch.where(x == 0, torch.logaddexp(counted, F.logsigmoid(logits)), counted)
        return _summed(log_mass, self.event_dims, self.log_mean)

    def sample(self) -> Tensor:
        """Draw counts, and replace each by 0 with probability π, (..., *shape)."""
        kept = torch.bernoulli(torch.sigmoid(-self.dropout_logits))
        return kept * NegativeBinomial(self.log_mean, self.log_theta, self.event_dims).sample()


def _summed(log_mass: Tensor, event_dims: int, like: Tensor) -> Tensor:
    return sum_event(log_mass, event_dims).to(like.dtype)


def _log_poisson(x: Tensor, log_mean: Tensor) -> Tensor:
    """Log-mass of each number, (..., *shape).

    x log μ, μ and log x! are each about x log x and their sum is about ½ log x, which float32 cannot resolve
    for counts above 10⁵. Their large parts are therefore cancelled analytically, and the rest is summed in
    float64.
    """
    x, log_mean = in_double(x, log_mean)
    some = torch.where(x == 0, 1.0, x)
    gap = log_mean - some.log()
    log_mass = -some * (torch.expm1(gap) - gap) - _factorial_rest(some)
    return torch.where(x == 0, -log_mean.exp(), log_mass)


def _log_negative_binomial(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-mass of each number, (..., *shape).

    With R(a) = log Γ(a+1) − a log a + a and n = x + θ it is log(θ/n) + R(n) − R(θ) − R(x) − D, where

        D = θ log((θ+μ)/n) + x log(x(θ+μ)/(nμ)) ≥ 0

    is 0 at μ = x. No term is much larger than the sum, for any counts and θ; for large θ it tends to the
    Poisson (C. Loader, Fast and accurate computation of binomial probabilities, 2000).
    """
    x, log_mean, log_theta = in_double(x, log_mean, log_theta)
    theta, none = log_theta.exp(), x == 0
    some = torch.where(none, 1.0, x)
    log_x, n = some.log(), some + theta
    gap = log_mean - log_x
    near = (gap.abs() < _NEAR) & (32 * theta > some)  # for small θ, D is small beside x and n
    rise = torch.expm1(torch.where(near, gap, 0.0))  # μ/x − 1
    change = rise * some / n  # (θ+μ)/n − 1
    deviance_near = some * (rise - gap) + n * (torch.log1p(change) - change)
    missed, spread = _log1p_exp(log_mean - log_theta), _log1p_exp(log_x - log_theta)
    matched = _log1p_exp(log_theta - log_mean) - _log1p_exp(log_theta - log_x)
    deviance = torch.where(near, deviance_near, theta * (missed - spread) + some * matched)
    rests = _factorial_rest(n) - _factorial_rest(theta) - _factorial_rest(some)
    return torch.where(none, -theta * missed, rests - spread - deviance)


def _log1p_exp(a: Tensor) -> Tensor:
    """log(1 + e^a) in float64; torch's softplus returns a itself from a = 20 on."""
    return F.softplus(a, threshold=40.0)


def _factorial_rest(a: Tensor) -> Tensor:
    """Log Γ(a + 1) − a log a + a, about ½ log 2πa: for large a the terms themselves would cancel."""
    large = a >= _LARGE
    far, near = torch.where(large, a, _LARGE), torch.where(large, 1.0, a)
    series = polynomial(far.square().reciprocal(), _STIRLING_SERIES) / far
    by_stirling = 0.5 * (far.log() + _LOG_2PI) + series
    return torch.where(large, by_stirling, torch.lgamma(near + 1) - near * near.log() + near)


class PoissonHead(nn.Module):
    """Features of the data's shape, as logarithms of means → :class:`Poisson`.

    Logarithms beyond ±15 are damped by :func:`~elboroom.probability.parameters.tame_log`, as in the other
    heads here.
    """

    support: tuple[float, float] | None = (0.0, math.inf)
    spacing: float | None = 1.0
    measure: Measure | None = "mass"

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.in_shape = shape

    def forward(self, features: Tensor) -> Poisson:
        """Logarithms of means (..., *shape)."""
        return Poisson(tame_log(features), len(self.in_shape))


class NegativeBinomialHead(nn.Module):
    """Features → :class:`NegativeBinomial`, or :class:`ZeroInflatedNegativeBinomial`.

    The last axis holds the logarithms of the means, then those of θ if the network gives them, then the
    logits of dropout if zeros are inflated.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    dispersion : {"feature", "network"}
        "feature": one learned θ for each feature, shared by all examples (scvi-tools' "gene"). "network":
        the decoder gives one for each feature of each example ("gene-cell").
    zero_inflated : bool
        Make a :class:`ZeroInflatedNegativeBinomial`.

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
    measure: Measure | None = "mass"

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

"""Counts and Student's t within an interval, where there is no closed form in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from elboroom.probability.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from elboroom.probability.location_scale import StudentT

Counted = Poisson | NegativeBinomial | ZeroInflatedNegativeBinomial
_HALF = 0.5


def log_mass_of_counts(p: Counted, low: Tensor, high: Tensor) -> Tensor:
    """Log-probability that each count lies in [low, high], (g,) each: (..., g), by scipy, in float64."""
    found = _mass_of_counts(_of_counts(p), low, high)
    if isinstance(p, ZeroInflatedNegativeBinomial):
        found = _zeros(p, low) + (1 - _dropout(p)) * found
    with np.errstate(divide="ignore"):
        return torch.as_tensor(np.log(found), device=p.mean.device)


def counts_between(p: Counted, low: Tensor, high: Tensor) -> Tensor:
    """Draw each count within [low, high], (..., g), by scipy's quantile function."""
    distribution = _of_counts(p)
    lower, upper, left, right = _tails(distribution, low, high)
    share = torch.rand(lower.shape, dtype=torch.float64).numpy()
    drawn = np.where(
        lower < _HALF,
        distribution.ppf(lower + share * (upper - lower)),
        distribution.isf(left - share * (left - right)),
    )
    # Where scipy has no quantile, far in a tail, the end next to the other counts has nearly all of the mass.
    drawn = np.where(np.isnan(drawn), np.where(lower < _HALF, high.cpu().numpy(), low.cpu().numpy()), drawn)
    drawn = np.clip(drawn, np.maximum(low.cpu().numpy(), 0), high.cpu().numpy())
    if isinstance(p, ZeroInflatedNegativeBinomial):
        zero = _zeros(p, low)
        total = zero + (1 - _dropout(p)) * _mass_of_counts(distribution, low, high)
        drawn = np.where(torch.rand(lower.shape, dtype=torch.float64).numpy() * total < zero, 0, drawn)
    return torch.as_tensor(drawn, device=p.mean.device)


def _of_counts(p: Counted) -> Any:
    """The counts without extra zeros, as scipy has them."""
    from scipy import stats  # which takes half a second to import

    if isinstance(p, Poisson):
        return stats.poisson(_host(p.mean))
    mean, theta = _host(p.log_mean.double().exp()), _host(p.log_theta.double().exp())
    return stats.nbinom(theta, theta / (theta + mean))


def _tails(distribution: Any, low: Tensor, high: Tensor) -> tuple[Any, Any, Any, Any]:
    """P(x < low), P(x ≤ high), P(x ≥ low), P(x > high)."""
    before, end = low.double().cpu().numpy() - 1, high.double().cpu().numpy()
    return distribution.cdf(before), distribution.cdf(end), distribution.sf(before), distribution.sf(end)


def _mass_of_counts(distribution: Any, low: Tensor, high: Tensor) -> Any:
    lower, upper, left, right = _tails(distribution, low, high)
    return np.where(lower < _HALF, upper - lower, left - right)  # without 1 − 1 in the upper tail


def _dropout(p: ZeroInflatedNegativeBinomial) -> Any:
    return _host(torch.sigmoid(p.dropout_logits.double()))


def _zeros(p: ZeroInflatedNegativeBinomial, low: Tensor) -> Any:
    """Probability of the extra zeros in an interval from ``low`` on."""
    return _dropout(p) * (low.cpu().numpy() <= 0)


def _host(values: Tensor) -> Any:
    return values.double().cpu().numpy()


def log_mass_of_student_t(p: StudentT, low: Tensor, high: Tensor) -> Tensor:
    """Log-probability that each number lies in [low, high], (..., g), by scipy, in float64."""
    low, high, mirrored = _mirrored(p, low, high)
    upper, lower = (_scipy(p, mirrored).logcdf(end.double().cpu().numpy()) for end in (high, low))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(np.isneginf(lower), upper, upper + np.log(-np.expm1(lower - upper)))
    return torch.as_tensor(found, device=p.mean.device)


def student_t_between(p: StudentT, low: Tensor, high: Tensor) -> Tensor:
    """Draw each number within [low, high], (..., g), by scipy's quantile function."""
    low, high, mirrored = _mirrored(p, low, high)
    distribution = _scipy(p, mirrored)
    bottom, top = (distribution.cdf(end.double().cpu().numpy()) for end in (low, high))
    share = torch.rand(bottom.shape, dtype=torch.float64).numpy()
    drawn = torch.as_tensor(distribution.ppf(bottom + share * (top - bottom)), device=p.mean.device)
    drawn = torch.minimum(torch.maximum(drawn, low), high)
    return torch.where(mirrored, 2 * p.mean.double() - drawn, drawn)


def _mirrored(p: StudentT, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror intervals above the mean, where 1 − F would round to 0; and which they were."""
    mirrored = low > p.mean
    twice = 2 * p.mean.double()
    return torch.where(mirrored, twice - high, low), torch.where(mirrored, twice - low, high), mirrored


def _scipy(p: StudentT, like: Tensor) -> Any:
    from scipy import stats

    df, mean, scale = (value.double().cpu().expand(like.shape).numpy() for value in (p.df, p.mean, p.scale))
    return stats.t(df, mean, scale)

"""Diagnostics of importance-sampling estimates: error, bias, effective sample size and Pareto k̂.

An estimate of log p(x) is the logarithm of the mean of k weights w = p(x, z)/q(z|x). If q has lighter tails
than the posterior, most samples miss the region that matters and a few weights dominate the mean. The error
is then larger than the samples show, and only the tail of the weights reveals it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNRELIABLE = 0.7
"""Above this Pareto k̂ the estimate is unreliable at any affordable k (arXiv:1507.02646 §3.2.4)."""
# Least number of largest weights to which a generalised Pareto distribution is fitted.
_FEWEST = 5
# Its shape is shrunk towards ½ with the strength of this many weights (arXiv:1507.02646 appendix C).
_PRIOR_WEIGHTS = 10
_PRIOR_SHAPE = 0.5
# Log-weights that differ by less count as equal, given float32's rounding of sums over many dimensions.
_EQUAL = 1e-4
# Numbers in memory at a time while the tails are fitted: 64 MB.
_AT_ONCE = 8_000_000


def log_mean_error(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Standard error of log(mean of weights) and its bias downwards, from (k, b): (b,) each, nats.

    The error is the jackknife's, from the k means that leave one weight out. If one weight dominates, it is
    larger than that of the delta method, the relative error of the mean. The bias is the log-mean of all
    samples minus the average log-mean of their two halves, which to first order is its own bias; at least 0.
    NaN for k = 1.

    Examples
    --------
    >>> error, bias = log_mean_error(torch.tensor([[0.0], [0.0], [0.0], [0.0]]))
    >>> error.item(), bias.item()
    (0.0, 0.0)
    """
    k = len(log_weights)
    if k == 1 or not log_weights.numel():
        nan = torch.full_like(log_weights[0], torch.nan)
        return nan, nan
    log_sum = torch.logsumexp(log_weights, 0)
    shares = torch.exp(log_weights - log_sum)
    lost = -torch.log1p(-shares.clamp(max=0.5))
    # If one weight is more than half of the sum, the rest is summed without it to keep precision.
    largest = log_weights.argmax(0, keepdim=True)
    rest = torch.logsumexp(log_weights.scatter(0, largest, -torch.inf), 0)
    heavy = shares.gather(0, largest) > 0.5
    lost = lost.scatter(0, largest, torch.where(heavy, log_sum - rest, lost.gather(0, largest)))
    error = ((k - 1) * lost.var(0, correction=0)).sqrt()
    half = k // 2
    halves = [
        torch.logsumexp(part, 0) - math.log(len(part)) for part in (log_weights[:half], log_weights[half:])
    ]
    bias = log_sum - math.log(k) - (half * halves[0] + (k - half) * halves[1]) / k
    return error, bias.clamp(min=0)


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(Σw)² / Σw² of weights (k, b): (b,), from 1 if one dominates to k if all are equal.

    Examples
    --------
    >>> effective_sample_size(torch.tensor([[0.0, 0.0], [0.0, -99.0]])).tolist()
    [2.0, 1.0]
    """
    return 1 / log_weights.softmax(0).square().sum(0)


def pareto_k(log_weights: Tensor) -> Tensor:
    """Shape k̂ of a generalised Pareto distribution fitted to the largest weights, (k, b) → (b,).

    About 1/k̂ moments of the weights are finite (arXiv:1507.02646). Below ½ their variance is finite and
    errors fall with the square root of the number of samples. Up to 0.7 estimates converge at a useful rate.
    Above it they do not at any affordable number of samples, and no error can be given.

    The distribution is fitted to the min(k/5, 3√k) largest weights, minus the largest of the others, as by
    Zhang and Stephens (2009), with the paper's weak prior at ½. NaN for fewer than 21 samples, which leave a
    tail of fewer than five; 0 if all weights are equal.

    Examples
    --------
    >>> heavy = -torch.arange(1, 1001).div(1001).log()  # quantiles of 1/u: shape 1 without the far tail
    >>> round(pareto_k(heavy[:, None]).item(), 2)
    0.87
    """
    k, b = log_weights.shape
    tail = math.ceil(min(k / 5, 3 * math.sqrt(k)))
    if tail < _FEWEST or not b:
        return torch.full_like(log_weights[0], torch.nan)
    rows = max(1, _AT_ONCE // (tail * _grid_size(tail)))
    pieces = [log_weights[:, i : i + rows].double() for i in range(0, b, rows)]
    return torch.cat([_tail_shape(piece, tail) for piece in pieces]).to(log_weights.dtype)


def _tail_shape(log_weights: Tensor, tail: int) -> Tensor:
    """k̂ from the ``tail`` largest of (k, b), (b,)."""
    top = log_weights.topk(tail + 1, dim=0).values.flip(0)
    # Only ratios matter: the weight at the cutoff is set to 1.
    excess = torch.expm1((top[1:] - top[0]).clamp(max=500.0))
    constant = top[-1] - top[0] < _EQUAL
    shape = _generalised_pareto_shape(torch.where(constant, 1.0, excess))
    n = tail
    shape = (n * shape + _PRIOR_WEIGHTS * _PRIOR_SHAPE) / (n + _PRIOR_WEIGHTS)
    return torch.where(constant, 0.0, shape)


def _grid_size(n: int) -> int:
    return 30 + math.isqrt(n)


def _generalised_pareto_shape(excess: Tensor) -> Tensor:
    """Shape of a generalised Pareto distribution fitted to sorted excesses (n, b) ≥ 0, (b,).

    Zhang and Stephens (2009): the mean of θ = −shape/scale over a grid, weighted by its profile likelihood.
    """
    n = len(excess)
    excess = excess.clamp(min=torch.finfo(excess.dtype).tiny)
    quartile = excess[max(int(n / 4 + 0.5), 1) - 1]
    m = _grid_size(n)
    steps = torch.arange(1, m + 1, dtype=excess.dtype, device=excess.device)[:, None]
    theta = 1 / excess[-1] + (1 - torch.sqrt(m / (steps - 0.5))) / (3 * quartile)  # (m, b)
    theta = torch.where(theta == 0, 1e-12 / excess[-1], theta)  # the limit of shape/θ

    def shape_at(theta: Tensor) -> Tensor:
        return torch.log1p(-theta[..., None, :] * excess).mean(-2)

    shapes = shape_at(theta)
    log_profile = n * (torch.log(-theta / shapes) - shapes - 1)
    weights = log_profile.softmax(0)
    return shape_at((theta * weights).sum(0))

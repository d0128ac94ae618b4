"""Likelihoods of counts in float32, against 60 digits: log p loses nothing where its terms are large.

The bound is on |error of log p| / |log p|: 1e-6, a few roundings of float32 of the result (6e-8), the inputs
being taken as the float32 numbers that they are.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from elboroom.probability import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial

mp: Any = pytest.importorskip("mpmath", reason="mpmath, which comes with torch, gives the reference")

RELATIVE = 1e-6
COUNTS = (0.0, 1.0, 2.0, 7.0, 8.0, 9.0, 40.0, 900.0, 1e5, 3e6, 1e8, 1e12)
STEPS = (-5.0, -1.0, 0.0, 0.3, 4.0)  # of log μ: so many standard deviations from the count, and so many nats
LOG_THETAS = (-84.0, -7.0, 0.0, 2.0, 2.2, 5.0, 12.0, 40.0, 84.0)


def means_of(count: float) -> list[float]:
    near = math.log(count) if count else 0.0
    spread = 1 / math.sqrt(max(count, 1))
    return [*(near + step * spread for step in STEPS), *(near + step for step in STEPS), -84.0, 84.0]


def cases(*, thetas: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, log μ and log θ, (n, 1) each, to differentiate."""
    rows = [
        (count, log_mean, log_theta)
        for count in COUNTS
        for log_mean in means_of(count)
        for log_theta in (LOG_THETAS if thetas else (0.0,))
    ]
    x, log_mean, log_theta = torch.tensor(rows, dtype=torch.float32)[..., None].unbind(1)
    return x, log_mean.requires_grad_(), log_theta.requires_grad_()


def exact_poisson(x: float, log_mean: float) -> Any:
    return x * mp.mpf(log_mean) - mp.exp(log_mean) - mp.loggamma(mp.mpf(x) + 1)


def exact_negative_binomial(x: float, log_mean: float, log_theta: float) -> Any:
    mean, theta = mp.exp(log_mean), mp.exp(log_theta)
    chosen = mp.loggamma(x + theta) - mp.loggamma(theta) - mp.loggamma(mp.mpf(x) + 1)
    return chosen - theta * mp.log1p(mean / theta) - x * mp.log1p(theta / mean)


def assert_relative(found: Tensor, expected: list[Any], arguments: Any) -> None:
    off = [
        (float(abs((mp.mpf(one) - exact) / exact)), one, float(exact), given)
        for one, exact, given in zip(found.tolist(), expected, arguments, strict=True)
    ]
    assert found.isfinite().all()
    assert max(off)[0] < RELATIVE, max(off)


def test_poisson() -> None:
    x, log_mean, _ = cases(thetas=False)
    given = list(zip(x[:, 0].tolist(), log_mean[:, 0].tolist(), strict=True))
    log_p = Poisson(log_mean, 1).log_prob(x)
    assert log_p.dtype == torch.float32
    with mp.workdps(60):
        assert_relative(log_p, [exact_poisson(*one) for one in given], given)
        log_p.sum().backward()
        for (count, m), slope in zip(given, log_mean.grad[:, 0].tolist(), strict=True):  # type: ignore[index]
            exact = count - mp.exp(m)
            # Beside it what float64 rounds in log x, where count and mean cancel.
            assert abs(slope - exact) < 1e-6 * abs(exact) + 1e-14 * count, (count, m)


def test_negative_binomial() -> None:
    x, log_mean, log_theta = cases()
    given = list(zip(*(v[:, 0].tolist() for v in (x, log_mean, log_theta)), strict=True))
    log_p = NegativeBinomial(log_mean, log_theta, 1).log_prob(x)
    with mp.workdps(60):
        assert_relative(log_p, [exact_negative_binomial(*one) for one in given], given)
        log_p.sum().backward()
        for (count, m, t), by_mean, by_theta in zip(
            given,
            log_mean.grad[:, 0].tolist(),  # type: ignore[index]
            log_theta.grad[:, 0].tolist(),  # type: ignore[index]
            strict=True,
        ):
            mean, theta = mp.exp(m), mp.exp(t)
            slope = theta * (count - mean) / (theta + mean)
            shape = mp.digamma(count + theta) - mp.digamma(theta) - mp.log1p(mean / theta)
            bend = theta * (shape + (mean - count) / (theta + mean))
            # Beside the slopes themselves, what float64 rounds in counts and θ that cancel in them.
            rounded = 1e-12 * min(max(count, mean), theta) + 1e-11
            assert abs(by_mean - slope) < 1e-6 * abs(slope) + rounded, (count, m, t)
            assert abs(by_theta - bend) < 1e-6 * abs(bend) + rounded, (count, m, t)


@pytest.mark.parametrize("logit", [-90.0, -2.0, 3.0, 90.0])
def test_zero_inflated_negative_binomial(logit: float) -> None:
    x, log_mean, log_theta = cases()
    keep = (log_theta.detach().abs() < 50)[:, 0] & (log_mean.detach().abs() < 50)[:, 0]
    x, log_mean, log_theta = (v.detach()[keep].requires_grad_() for v in (x, log_mean, log_theta))
    logits = torch.full_like(log_mean, logit).detach().requires_grad_()
    given = list(zip(*(v[:, 0].tolist() for v in (x, log_mean, log_theta)), strict=True))
    log_p = ZeroInflatedNegativeBinomial(log_mean, log_theta, logits, 1).log_prob(x)
    with mp.workdps(60):
        lost, kept = 1 / (1 + mp.exp(-logit)), 1 / (1 + mp.exp(logit))
        expected = [
            mp.log(kept) + exact_negative_binomial(*one)
            if one[0]
            else mp.log(kept * mp.exp(exact_negative_binomial(*one)) + lost)
            for one in given
        ]
        # A certain zero has a log-probability of 0, to which float32 can only be near.
        some = [i for i, exact in enumerate(expected) if abs(exact) > 1e-30]
        assert_relative(log_p[some], [expected[i] for i in some], [given[i] for i in some])
    log_p.sum().backward()
    for parameter in (log_mean, log_theta, logits):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_the_counts_that_were_wrong() -> None:
    """Poisson at its mean: −½ log 2πμ, to 1/12μ. float32 sums of x log μ − μ − log x! miss by nats."""
    for count in (1e5, 3e6):
        log_mean = torch.tensor([[math.log(count)]], dtype=torch.float64)
        log_p = Poisson(log_mean, 1).log_prob(torch.full((1, 1), count))
        assert log_p.item() == pytest.approx(-0.5 * math.log(2 * math.pi * count), abs=1e-6)


@pytest.mark.parametrize("count", [-1.0, float("nan")])
def test_what_is_no_count_has_no_probability(count: float) -> None:
    zero = torch.zeros(1, 1)
    for p in (Poisson(zero, 1), NegativeBinomial(zero, zero, 1)):
        assert p.log_prob(torch.tensor([[count]])).isnan().all()

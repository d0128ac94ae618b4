"""What importance weights say of their own mean, against brute force and exact distributions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats

from elboroom.evaluation.reliability import verdict
from elboroom.probability import importance
from elboroom.probability.importance import effective_sample_size, log_mean_error, pareto_k


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(31)
        yield


def psis_shape(log_weights: np.ndarray) -> float:
    """k̂ of one set of weights, step by step after arXiv:1507.02646 and Zhang and Stephens (2009)."""
    weights = np.sort(np.exp(log_weights - log_weights.max()))
    size = len(weights)
    tail = math.ceil(min(0.2 * size, 3 * math.sqrt(size)))
    x = weights[-tail:] - weights[-tail - 1]
    points = 30 + int(math.sqrt(tail))
    quartile = x[int(tail / 4 + 0.5) - 1]
    thetas = [1 / x[-1] + (1 - math.sqrt(points / (i - 0.5))) / 3 / quartile for i in range(1, points + 1)]
    profile = []
    for theta in thetas:
        k = -np.log1p(-theta * x).mean()  # their k is minus the shape
        profile.append(tail * (math.log(theta / k) + k - 1))
    chances = [1 / sum(math.exp(other - one) for other in profile) for one in profile]
    theta = sum(c * t for c, t in zip(chances, thetas, strict=True))
    shape = float(np.log1p(-theta * x).mean())
    return (tail * shape + 10 * 0.5) / (tail + 10)


@pytest.mark.parametrize("size", [21, 100, 1000])
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_k_is_the_papers(size: int, spread: float) -> None:
    log_weights = spread * torch.randn(size, 6, dtype=torch.float64) - 300
    expected = [psis_shape(column) for column in log_weights.numpy().T]
    np.testing.assert_allclose(pareto_k(log_weights), expected, rtol=1e-7)


@pytest.mark.parametrize("shape", [-0.4, 0.2, 0.5, 0.7, 1.0, 1.6])
def test_k_finds_the_shape_of_exact_draws(shape: float) -> None:
    """Of any tail of a generalised Pareto distribution the shape is that of the whole."""
    draws = stats.genpareto.rvs(shape, size=(4000, 100), random_state=3)
    k = pareto_k(torch.from_numpy(1 + draws).log())
    # Of a tail of n = 190 weights the error is (1 + k)/√n, and the prior draws it to ½ by 10/200.
    towards_half = 0.05 * (0.5 - shape)
    error = (1 + shape) / math.sqrt(190)
    assert abs(float(k.mean()) - shape - towards_half) < 5 * error / 10 + 0.02
    assert 0.5 * error < float(k.std()) < 1.5 * error


def test_k_where_there_is_no_tail() -> None:
    equal = torch.full((100, 2), -7.0) + 1e-6 * torch.randn(100, 2)
    assert pareto_k(equal).tolist() == [0.0, 0.0]
    assert pareto_k(torch.randn(20, 3)).isnan().all()
    assert not pareto_k(torch.randn(21, 3)).isnan().any()
    assert pareto_k(torch.randn(50, 0)).shape == (0,)


def test_k_of_one_weight_that_carries_all_is_large_and_finite() -> None:
    log_weights = torch.randn(1000, 2)
    log_weights[17] = torch.tensor([60.0, 5000.0])
    k = pareto_k(log_weights)
    assert k.isfinite().all()
    assert (k > 0.7).all()


def test_k_of_ties_is_finite() -> None:
    two_values = torch.zeros(200, 3)
    two_values[:43] = torch.tensor([1.0, 0.01, 300.0])  # fills the tail of 43
    assert pareto_k(two_values).isfinite().all()


def test_batches_of_tails_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    log_weights = 2 * torch.randn(60, 9)
    whole = pareto_k(log_weights)
    monkeypatch.setattr(importance, "_AT_ONCE", 1)
    assert torch.equal(pareto_k(log_weights), whole)


def test_effective_sample_size() -> None:
    log_weights = 2 * torch.randn(50, 4, dtype=torch.float64)
    w = np.exp(log_weights.numpy())
    np.testing.assert_allclose(effective_sample_size(log_weights - 900), w.sum(0) ** 2 / (w**2).sum(0))
    assert effective_sample_size(torch.zeros(50, 1)).item() == pytest.approx(50)


@pytest.mark.parametrize("size", [2, 3, 40])
def test_the_error_is_the_jackknifes(size: int) -> None:
    log_weights = 2 * torch.randn(size, 5, dtype=torch.float64)
    log_weights[0, 0] = 30.0  # one that carries all
    w = np.exp(log_weights.numpy())
    left_out = np.log([np.delete(w, i, 0).mean(0) for i in range(size)])
    expected = np.sqrt((size - 1) / size * ((left_out - left_out.mean(0)) ** 2).sum(0))
    error, bias = log_mean_error(log_weights - 500)
    np.testing.assert_allclose(error, expected, rtol=1e-9)
    half = size // 2
    halves = half * np.log(w[:half].mean(0)) + (size - half) * np.log(w[half:].mean(0))
    np.testing.assert_allclose(bias, np.log(w.mean(0)) - halves / size, rtol=1e-8, atol=1e-12)
    assert (bias >= 0).all()


def test_a_weight_that_others_vanish_beside_leaves_its_whole_distance() -> None:
    """Without it the mean is e^200 times smaller: float32 would take log 0 of what it leaves."""
    log_weights = torch.zeros(100, 1)
    log_weights[3] = 200.0
    error, bias = log_mean_error(log_weights)
    # 99 of 100 means are alike and one is 200 − log 99 nats below: a standard deviation of 200·√0.0099.
    assert error.item() == pytest.approx(math.sqrt(99 * 0.0099) * (200 - math.log(99)), rel=1e-3)
    assert bias.isfinite().all()


@pytest.mark.parametrize("spread", [0.5, 1.5, 2.5])
def test_the_error_is_the_spread_of_estimates_where_that_of_the_delta_method_is_not(spread: float) -> None:
    """Weights e^N(0, s²), of mean e^{s²/2}: the larger s, the fewer carry the mean."""
    k, repeats = 100, 20_000
    log_weights = spread * torch.randn(k, repeats, dtype=torch.float64)
    estimates = torch.logsumexp(log_weights, 0) - math.log(k)
    error, bias = log_mean_error(log_weights)
    shares = log_weights.softmax(0)
    delta = (shares * k).std(0) / math.sqrt(k)
    found, true = (float(v.square().mean().sqrt()) for v in (error, estimates - estimates.mean()))
    # A root mean square of 20,000 draws is good to 1 %.
    assert found == pytest.approx(true, rel=0.15)
    missed = spread**2 / 2 - float(estimates.mean())
    if spread < 1:
        assert float(bias.mean()) == pytest.approx(missed, rel=0.15)
    if spread > 2:
        assert float(delta.square().mean().sqrt()) < 0.75 * true
        assert 0.2 * missed < float(bias.mean()) < missed


@pytest.mark.parametrize("size", [100, 1000])
@pytest.mark.parametrize(("width", "reliable"), [(0.5, False), (1.0, True), (1.5, True)])
def test_a_q_that_is_too_narrow_is_found_out_and_one_that_is_too_wide_is_well(
    width: float, reliable: bool, size: int
) -> None:
    """Log-weights of N(0, I) over N(0, width² I) in two dimensions, at draws of the second."""
    noise = torch.randn(size, 400, 2, dtype=torch.float64)
    log_weights = (0.5 * noise.square() * (1 - width**2) + math.log(width)).sum(-1)
    share = float((pareto_k(log_weights) > 0.7).double().mean())
    assert (verdict(share) is None) is reliable
    assert share < 0.02 if reliable else share > 0.3
    error, _ = log_mean_error(log_weights)
    estimates = torch.logsumexp(log_weights, 0) - math.log(size)  # of log 1
    if width == 0.5:  # of infinite variance, and the error is still of the right size
        assert float(error.square().mean().sqrt()) == pytest.approx(float(estimates.std()), rel=0.25)


def test_one_sample_has_no_error() -> None:
    for found in log_mean_error(torch.randn(1, 3)):
        assert found.isnan().all()

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.objectives import total_correlation
from elboroom.objectives.total_correlation import Estimator, batch_log_weights
from elboroom.probability import DiagonalGaussian

from .given import FLOAT64, assert_equal, gaussian, gradients, terms_of

N = 6
ESTIMATORS = get_args(Estimator)


def densities(posterior: DiagonalGaussian, z: Tensor) -> np.ndarray:
    """q(zᵢ|xₙ) by scipy-free arithmetic: (codes, examples)."""
    mean, scale = posterior.mean.detach().numpy(), posterior.scale.detach().numpy()
    standardised = (z.detach().numpy()[:, None] - mean) / scale
    return np.exp(-0.5 * (standardised**2).sum(-1)) / (scale * np.sqrt(2 * np.pi)).prod(-1)


@pytest.mark.parametrize("M", range(2, N + 1))
def test_stratified_weights_are_unbiased_over_all_batches(M: int) -> None:
    """Every batch of M of the N examples that holds the code's own, and no other, counts once."""
    terms = terms_of(gaussian(N, 2))
    q = densities(terms.posterior, terms.z[0])
    weights = batch_log_weights(N, M, "stratified").exp().numpy()
    for i in range(N):
        batches = [batch for batch in itertools.combinations(range(N), M) if i in batch]
        estimates = [weights[batch.index(i)] @ q[i, list(batch)] for batch in batches]
        assert len(estimates) == math.comb(N - 1, M - 1)
        assert_equal(np.mean(estimates), q[i].mean(), **FLOAT64)


def test_stratified_weights_are_the_papers_in_the_mean_over_orders() -> None:
    """1/N for the code's own example, 1/(M−1) for all others but the last, which gets (N−M+1)/(N(M−1))."""
    M = 4
    papers = np.zeros((M, M))
    for others in itertools.permutations(range(1, M)):
        papers[0, 0] += 1 / N
        papers[0, list(others[:-1])] += 1 / (M - 1)
        papers[0, others[-1]] += (N - M + 1) / (N * (M - 1))
    assert_equal(batch_log_weights(N, M, "stratified").exp()[0], papers[0] / math.factorial(M - 1), **FLOAT64)


@pytest.mark.parametrize("M", range(1, N + 1))
def test_weights_by_their_definition(M: int) -> None:
    assert_equal(batch_log_weights(N, M, "weighted").exp(), np.full((M, M), 1 / (N * M)), **FLOAT64)
    stratified = batch_log_weights(N, M, "stratified").exp()
    if M > 1:
        assert_equal(stratified.sum(1), np.ones(M), **FLOAT64)
    assert_equal(stratified.diagonal(), np.full(M, 1 / N), **FLOAT64)


def test_the_weighted_estimate_is_below_the_truth_in_mean() -> None:
    """Jensen's inequality over all batches, as the paper derives it."""
    terms = terms_of(gaussian(N, 2))
    q = densities(terms.posterior, terms.z[0])
    for i in range(N):
        batches = [batch for batch in itertools.combinations(range(N), 3) if i in batch]
        estimates = [np.log(q[i, list(batch)].sum() / (N * 3)) for batch in batches]
        assert np.mean(estimates) < np.log(q[i].mean())


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_penalty_is_the_double_loop(estimator: Estimator, num_samples: int) -> None:
    terms = terms_of(gaussian(5, 3), num_samples)
    weights = batch_log_weights(100, 5, estimator).exp().numpy()
    values = []
    for z in terms.z:
        joint = densities(terms.posterior, z)
        for i in range(5):
            value = np.log(weights[i] @ joint[i])
            for j in range(3):
                one = DiagonalGaussian(terms.posterior.mean[:, [j]], terms.posterior.scale[:, [j]])
                value -= np.log(weights[i] @ densities(one, z[:, [j]])[i])
            values.append(value)
    assert_equal(total_correlation(100, estimator)(terms), np.mean(values), **FLOAT64)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_whole_data_set_finds_the_total_correlation_of_a_gaussian(rho: float) -> None:
    """Codes N(0, C) as means N(0, C − 0.16 I) and noise N(0, 0.16 I): −½ log(1 − ρ²)."""
    n = 1500
    covariance = torch.tensor([[0.84, rho], [rho, 0.84]])
    mean = torch.randn(n, 2) @ torch.linalg.cholesky(covariance).T
    terms = terms_of(DiagonalGaussian(mean, torch.full((n, 2), 0.4)))
    # the log-densities' standard error is about 1/√n = 0.02, their bias a kernel estimate's, below 0.02
    assert total_correlation(n)(terms).item() == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.06)


def test_the_estimators_differ_by_constants_for_far_apart_codes() -> None:
    """Where each code is of its own example alone, q(z) is one term: its log-weight, d + 1 times."""
    posterior = DiagonalGaussian(torch.arange(4.0)[:, None].expand(4, 3) * 1e3, torch.ones(4, 3))
    terms = terms_of(posterior)
    assert_equal(total_correlation(50)(terms), (3 - 1) * math.log(50), **FLOAT64)
    assert_equal(total_correlation(50, "weighted")(terms), (3 - 1) * math.log(50 * 4), **FLOAT64)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_batch_of_one_is_a_constant(estimator: Estimator) -> None:
    posterior = gaussian(1, 3)
    found = gradients(
        lambda: total_correlation(50, estimator)(terms_of(posterior)), posterior.mean, posterior.scale
    )
    for gradient in found:
        assert_equal(gradient, np.zeros((1, 3)), atol=1e-12)


def test_a_batch_larger_than_the_data_set_stands_for_itself() -> None:
    assert_equal(batch_log_weights(2, 4, "stratified").exp(), np.full((4, 4), 0.25), **FLOAT64)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_finite_in_float32_for_narrow_posteriors(estimator: Estimator) -> None:
    mean = torch.randn(64, 40, dtype=torch.float32, requires_grad=True)
    scale = torch.full((64, 40), 1e-3, dtype=torch.float32, requires_grad=True)
    terms = terms_of(DiagonalGaussian(mean, scale))
    for gradient in gradients(lambda: total_correlation(10**6, estimator)(terms), mean, scale):
        assert gradient.isfinite().all()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="dataset_size = 0"):
        total_correlation(0)
    with pytest.raises(UsageError, match="estimator = 'stratifed': must be 'stratified' or 'weighted'"):
        total_correlation(10, "stratifed")  # type: ignore[arg-type]


def test_a_posterior_that_does_not_factorise_is_refused() -> None:
    @dataclasses.dataclass
    class Full:
        mean: Tensor

    terms: Terms = dataclasses.replace(terms_of(gaussian(3, 2)), posterior=Full(torch.zeros(3, 2)))
    with pytest.raises(UsageError, match="Full does not; use the diagonal Gaussian, or a critic"):
        total_correlation(10)(terms)

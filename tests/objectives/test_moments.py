from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.objectives import code_norm, decorrelation
from elboroom.probability import DiagonalGaussian, FullGaussian, StandardNormal
from elboroom.probability.choice import POSTERIORS

from .given import FLOAT64, Deterministic, assert_equal, assert_mean, gaussian, terms_of


def by_hand(covariance: np.ndarray, diagonal: float) -> float:
    off = sum(covariance[i, j] ** 2 for i in range(len(covariance)) for j in range(len(covariance)) if i != j)
    return off + diagonal * sum((covariance[i, i] - 1) ** 2 for i in range(len(covariance)))


def test_the_first_variant_is_of_the_covariance_of_the_means() -> None:
    terms = terms_of(gaussian(20, 3))
    covariance = np.cov(terms.posterior.mean.detach().numpy().T, ddof=0)
    assert_equal(decorrelation("I")(terms), by_hand(covariance, 10.0), **FLOAT64)
    assert_equal(decorrelation("I", diagonal=0.5)(terms), by_hand(covariance, 0.5), **FLOAT64)


def test_the_second_variant_is_of_the_covariance_of_the_codes() -> None:
    posterior = gaussian(4, 3)
    terms = terms_of(posterior, 200_000)
    penalty = decorrelation("II")(terms)
    exact = np.cov(posterior.mean.detach().numpy().T, ddof=0) + np.diag(posterior.variance.mean(0).detach())
    assert_equal(penalty, by_hand(exact, 1.0), **FLOAT64)
    # variances of 800,000 codes have a relative error of √(2/n) = 0.16 %: five of them, of sums of size 10
    drawn = np.cov(terms.z.detach().reshape(-1, 3).numpy().T)
    np.testing.assert_allclose(drawn, exact, atol=0.03)


def test_the_second_variant_counts_how_dimensions_covary() -> None:
    """q = N(0, [[1, .9], [.9, 1]]): off the diagonal 2 · 0.9², and the diagonal is 1 already."""
    factor = np.linalg.cholesky([[1, 0.9], [0.9, 1]])
    scale = factor.diagonal()
    full = FullGaussian(
        torch.zeros(5, 2), torch.tensor(scale).expand(5, 2), torch.tensor(factor / scale).expand(5, 2, 2)
    )
    assert_equal(decorrelation("II")(terms_of(full)), 2 * 0.9**2, **FLOAT64)


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_second_variant_of_every_posterior_is_of_its_codes_or_refused(name: str) -> None:
    d, b = 3, 4
    head: Any = POSTERIORS[name](d)
    features = torch.randn(b, *head.in_shape)
    features[:, :d] *= 0.3  # the means: what is off the diagonal is to come from within the examples
    posterior = head(features)
    if name not in ("diagonal", "full", "householder"):
        with pytest.raises(UsageError, match="has none; use 'I', or a Gaussian posterior"):
            decorrelation("II")(terms_of(posterior))
        return
    terms = terms_of(posterior, 200_000)
    # Covariances of 800,000 codes are off by 0.3 % of the variances, which are below 2.
    drawn = np.cov(terms.z.detach().reshape(-1, d).numpy().T)
    assert_equal(decorrelation("II", diagonal=0.5)(terms), by_hand(drawn, 0.5), atol=0.03)
    if name != "diagonal":
        of_means = np.cov(posterior.mean.detach().numpy().T, ddof=0)
        assert by_hand(drawn, 0.0) > by_hand(of_means, 0.0) + 0.1  # the variances add nothing to this


def test_variances_alone_are_no_covariance() -> None:
    @dataclasses.dataclass
    class Unknown:
        mean: Tensor
        variance: Tensor

    terms = terms_of(gaussian(5, 3))
    posterior = Unknown(terms.posterior.mean, terms.posterior.variance)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="Unknown has none"):
        decorrelation("II")(dataclasses.replace(terms, posterior=posterior))


def test_whitened_codes_pay_nothing() -> None:
    q, _ = torch.linalg.qr(torch.randn(50, 4) - torch.randn(1, 4))
    centred = q - q.mean(0)
    factor = torch.linalg.cholesky(torch.linalg.inv(centred.T @ centred / 50))
    terms = terms_of(DiagonalGaussian(centred @ factor, torch.ones(50, 4)))
    assert_equal(decorrelation("I")(terms), 0.0, atol=1e-12)


def test_a_batch_of_one_has_a_finite_gradient() -> None:
    posterior = gaussian(1, 3)
    decorrelation("II")(terms_of(posterior)).backward()
    assert posterior.mean.grad.isfinite().all()


def test_the_codes_norm_is_minus_log_the_normal_prior_up_to_its_constant() -> None:
    terms = terms_of(gaussian(6, 3), 4)
    prior = StandardNormal(3)
    expected = (prior.log_prob(torch.zeros(3)) - prior.log_prob(terms.z)).mean()
    assert_equal(code_norm(terms), expected, **FLOAT64)
    mean, scale = terms.posterior.mean, terms.posterior.scale  # type: ignore[attr-defined]
    draws = torch.stack([code_norm(terms_of(terms.posterior)) for _ in range(500)])
    assert_mean(draws.detach()[:, None], (0.5 * (mean**2 + scale**2).sum(-1).mean()).detach()[None])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="variant = 'i'"):
        decorrelation("i")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="diagonal = -1"):
        decorrelation("I", diagonal=-1)
    terms = dataclasses.replace(terms_of(gaussian(3, 2)), posterior=Deterministic(torch.zeros(3, 2)))
    assert_equal(decorrelation("I")(terms), by_hand(np.zeros((2, 2)), 10.0))
    with pytest.raises(UsageError, match="Deterministic has none; use 'I'"):
        decorrelation("II")(terms)

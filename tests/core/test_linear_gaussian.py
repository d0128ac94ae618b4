"""The flagship: a VAE whose log p(x), posterior and every bound are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.decomposition import PCA
from torch import Tensor, distributions

from .known import FLOAT64, LinearGaussian, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("float64")

WRONG = {"shift": 0.2, "widen": 1.3}  # wider than the truth, so that the weights have a variance


def gap(truth: LinearGaussian, *, shift: float, widen: float) -> float:
    """log p(x) − ELBO = KL(q(z|x) ‖ p(z|x)), the same for every x."""
    scale = torch.from_numpy(truth.posterior_scale)
    q, p = distributions.Normal(shift, widen * scale), distributions.Normal(0.0, scale)
    return float(distributions.kl_divergence(q, p).sum())


@pytest.fixture
def truth() -> LinearGaussian:
    return LinearGaussian.example()


@pytest.mark.parametrize("num_samples", [1, 2, 50])
def test_with_the_exact_posterior_every_weight_is_the_evidence(
    truth: LinearGaussian, num_samples: int
) -> None:
    x = truth.observe(8)
    terms = truth.vae()(torch.from_numpy(x), num_samples)
    exact = np.broadcast_to(truth.marginal.logpdf(x), (num_samples, 8))
    assert_equal(terms.log_weights, exact, **FLOAT64)


@pytest.mark.parametrize("num_samples", [1, 2, 50])
def test_with_the_exact_posterior_nll_is_exact_and_knows_it(truth: LinearGaussian, num_samples: int) -> None:
    x = truth.observe(8)
    nll = truth.vae().nll(x, num_samples)
    assert_equal(nll.value, -truth.marginal.logpdf(x), **FLOAT64)
    if num_samples > 1:
        assert_equal(nll.stderr, np.zeros(8), atol=1e-12)


def test_nll_is_the_score_of_sklearns_pca() -> None:
    # PCA's probabilistic model (Tipping and Bishop 1999): W's columns are the components times the root of
    # their variance beyond the noise
    x = np.random.default_rng(0).normal(size=(300, 7)) @ np.random.default_rng(1).normal(size=(7, 7))
    pca = PCA(n_components=3).fit(x)
    weight = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    vae = LinearGaussian(weight, pca.mean_, float(np.sqrt(pca.noise_variance_))).vae()
    # PCA goes through a matrix inverse of condition number 1e2, ours through W's own axes
    assert_equal(-vae.nll(x, 2).value, pca.score_samples(x), rtol=1e-10)
    assert_equal(vae.embed(x), pca.transform(x) * _shrinkage(pca), rtol=1e-10, atol=1e-10)


def _shrinkage(pca: PCA) -> np.ndarray:
    """E[z|x] over PCA's coordinates: √(λ − σ²)/λ."""
    variance: np.ndarray = pca.explained_variance_
    return np.sqrt(variance - pca.noise_variance_) / variance


def test_elbo_of_the_exact_posterior_is_the_evidence_in_mean(truth: LinearGaussian) -> None:
    # elbo() takes the rate in closed form, so its distortion alone is noisy
    x = truth.observe(4)
    draws = torch.stack([truth.vae().elbo(x, 10) for _ in range(1000)])
    assert_mean(draws, truth.marginal.logpdf(x))


def test_elbo_of_a_wrong_posterior_falls_short_by_its_divergence(truth: LinearGaussian) -> None:
    x = truth.observe(4)
    vae = truth.vae(**WRONG)
    elbo = truth.marginal.logpdf(x) - gap(truth, **WRONG)
    assert_mean(torch.stack([vae.elbo(x, 10) for _ in range(1000)]), elbo)
    # and the importance-weighted bound with one sample is the ELBO in mean
    assert_mean(vae(torch.from_numpy(x), 10_000).log_weights, elbo)


def test_the_bound_tightens_with_k_and_stays_a_bound(truth: LinearGaussian) -> None:
    vae, evidence = truth.vae(**WRONG), truth.marginal.logpdf(truth.observe(1))
    copies = np.repeat(truth.observe(1), 4000, 0)  # independent estimates for the same x
    values = {k: -vae.nll(copies, k).value for k in (1, 2, 8, 64)}
    assert_mean(values[1][:, None], evidence - gap(truth, **WRONG))
    for few, many in [(1, 2), (2, 8), (8, 64)]:
        assert _lower(values[few], values[many])
    error = values[64].std() / 4000**0.5
    assert values[64].mean() < evidence.item() + 5 * error
    # the bias of log of a mean of k is −var(w)/2k to first order (arXiv:1808.09034);
    # the next order is a hundredth of that here, below the noise
    variance = float(_weight_variance(truth, **WRONG))
    assert values[64].mean().item() == pytest.approx(evidence.item() - variance / 128, abs=5 * error.item())


def _lower(a: Tensor, b: Tensor) -> bool:
    """Whether mean(a) < mean(b) by more than five standard errors of their difference."""
    return bool((b.mean() - a.mean()) > 5 * ((a.var() + b.var()) / len(a)) ** 0.5)


def _weight_variance(truth: LinearGaussian, *, shift: float, widen: float) -> np.ndarray:
    """Of p(z|x)/q(z|x) under q: ∫p²/q − 1, by quadrature over each independent dimension."""
    second_moment = 1.0
    for scale in truth.posterior_scale:
        z = np.linspace(-14, 14, 200_001) * scale
        p = np.exp(-0.5 * (z / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
        q = np.exp(-0.5 * ((z - shift) / (widen * scale)) ** 2) / (widen * scale * np.sqrt(2 * np.pi))
        second_moment *= integrate.trapezoid(p**2 / q, z)
    return np.asarray(second_moment - 1)


def test_nll_of_a_wrong_posterior_finds_the_evidence_within_its_standard_error(truth: LinearGaussian) -> None:
    x = truth.observe(6)
    value, stderr, *_ = truth.vae(**WRONG).nll(x, 20_000)
    assert (np.abs(value.numpy() + truth.marginal.logpdf(x)) < 5 * stderr.numpy()).all()
    assert_equal(stderr, np.full(6, np.sqrt(_weight_variance(truth, **WRONG) / 20_000)), rtol=0.1)


def test_standard_error_is_the_spread_of_repeated_estimates(truth: LinearGaussian) -> None:
    value, stderr, *_ = truth.vae(**WRONG).nll(np.repeat(truth.observe(1), 4000, 0), 200)
    # a standard deviation from 4000 draws has a relative error of 1/√8000 = 1.1 %: five of them
    assert value.std().item() == pytest.approx(stderr.mean().item(), rel=0.056)


def test_distortion_and_rate_of_the_exact_posterior(truth: LinearGaussian) -> None:
    """E_q‖x − b − Wz‖² = ‖x − b − Wμ‖² + tr(W S Wᵀ), so the distortion is known as well."""
    x = truth.observe(3)
    terms = truth.vae()(torch.from_numpy(x), 20_000)
    mean, scale = truth.posterior_mean(x), truth.posterior_scale
    squares = ((x - truth.bias - mean @ truth.weight.T) ** 2).sum(-1) + ((truth.weight * scale) ** 2).sum()
    distortion = squares / (2 * truth.sigma**2) + 3 * np.log(2 * np.pi * truth.sigma**2)
    rate = 0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale)).sum(-1)
    assert_mean(-terms.log_likelihood, distortion)
    assert_equal(terms.distortion, -terms.log_likelihood.mean(0), **FLOAT64)
    assert_equal(terms.rate, rate, **FLOAT64)
    assert_equal(-distortion - rate, truth.marginal.logpdf(x), **FLOAT64)

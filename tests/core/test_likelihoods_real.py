"""Gaussian, Laplace, Student's t and continuous Bernoulli against scipy, torch and their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from elboroom.probability import (
    BernoulliHead,
    ContinuousBernoulli,
    Gaussian,
    GaussianHead,
    Laplace,
    LaplaceHead,
    OptimalGaussian,
    StudentT,
    StudentTHead,
)

from .known import FLOAT64, assert_equal

pytestmark = pytest.mark.usefixtures("float64")

each_scale_shape = pytest.mark.parametrize("shape", [(), (5, 3, 2)], ids=["one", "each"])


def assert_drawn_from(draws: Tensor, cdf: Any) -> None:
    """Kolmogorov and Smirnov's test; a right sampler falls below 1e-4 once in ten thousand seeds."""
    assert stats.kstest(draws.flatten().numpy(), cdf).pvalue > 1e-4


@each_scale_shape
def test_gaussian_is_scipys(shape: tuple[int, ...]) -> None:
    mean, x, scale = torch.randn(5, 3, 2), torch.randn(5, 3, 2), torch.rand(shape) + 0.1
    expected = stats.norm.logpdf(x, mean, scale).sum((1, 2))
    assert_equal(Gaussian(mean, scale, 2).log_prob(x), expected, **FLOAT64)


@each_scale_shape
def test_laplace_is_scipys(shape: tuple[int, ...]) -> None:
    mean, x, scale = torch.randn(5, 3, 2), torch.randn(5, 3, 2), torch.rand(shape) + 0.1
    expected = stats.laplace.logpdf(x, mean, scale).sum((1, 2))
    assert_equal(Laplace(mean, scale, 2).log_prob(x), expected, **FLOAT64)


@each_scale_shape
@pytest.mark.parametrize("df", [0.3, 1.0, 4.0, 15.9, 16.1, 300.0])
def test_student_t_is_scipys(df: float, shape: tuple[int, ...]) -> None:
    mean, x, scale = torch.randn(5, 3, 2), 3 * torch.randn(5, 3, 2), torch.rand(shape) + 0.1
    expected = stats.t.logpdf(x, df, mean, scale).sum((1, 2))
    # scipy subtracts two lgammas, of up to 700 at df = 300: 1e-13 for each of six numbers.
    assert_equal(StudentT(mean, scale, torch.tensor(df), 2).log_prob(x), expected, rtol=1e-11, atol=1e-11)


def test_student_t_of_many_degrees_is_the_gaussian_in_single_precision() -> None:
    x = torch.randn(4, 50, dtype=torch.float32)
    p = StudentT(torch.zeros_like(x), torch.tensor(1.3).float(), torch.tensor(1e8).float(), 1)
    # Fifty terms of float32's 6e-8; lgammas of 1e9 that were subtracted would be off by thousands.
    assert_equal(p.log_prob(x), stats.norm.logpdf(x, 0, 1.3).sum(-1), rtol=1e-5)


def test_gradient_in_the_degrees_of_freedom_is_that_of_differences() -> None:
    for df in (1.5, 15.9, 16.1, 80.0):
        nu = torch.tensor(df, requires_grad=True)
        x = torch.linspace(-3, 3, 7)
        StudentT(torch.zeros(7), torch.tensor(0.7), nu, 1).log_prob(x).backward()
        step = 1e-4 * df
        high, low = (stats.t.logpdf(x, df + s, 0, 0.7).sum() for s in (step, -step))
        # Central differences err by step²; scipy's rounding of 1e-13 is divided by a step of 1e-4.
        assert_equal(nu.grad, (high - low) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("p", "cdf"),
    [
        (Gaussian(torch.full((5000, 1), 0.4), torch.tensor(0.3), 1), stats.norm(0.4, 0.3).cdf),
        (Laplace(torch.full((5000, 1), 0.4), torch.tensor(0.3), 1), stats.laplace(0.4, 0.3).cdf),
        (
            StudentT(torch.full((5000, 1), 0.4), torch.tensor(0.3), torch.tensor(1.5), 1),
            stats.t(1.5, 0.4, 0.3).cdf,
        ),
    ],
    ids=["gaussian", "laplace", "student t"],
)
def test_samples_are_of_the_distribution(p: Any, cdf: Any) -> None:
    assert_drawn_from(p.sample(), cdf)


@pytest.mark.parametrize("head", [GaussianHead, LaplaceHead, StudentTHead])
def test_a_scale_per_pixel_starts_at_scale_and_stays_above_its_bound(head: Any) -> None:
    made = head((2, 1, 3), scale=0.4, learn_scale="pixel", min_scale=0.01)
    features = torch.zeros(3, 2, 1, 6)
    features[1, ..., 3:], features[2, ..., 3:] = -1e3, 1e3
    p = made(features)
    assert_equal(p.scale[0], np.full((2, 1, 3), 0.4), **FLOAT64)
    assert_equal(p.scale[1], np.full((2, 1, 3), 0.01), **FLOAT64)
    # torch's softplus is the identity from 20 on.
    assert_equal(p.scale[2], np.full((2, 1, 3), 1e3 + 0.01 + np.log(np.expm1(0.39))), **FLOAT64)
    assert not hasattr(made, "log_scale")


def test_booleans_are_the_older_spelling() -> None:
    assert GaussianHead((2,), learn_scale=True).learn_scale == "shared"
    assert GaussianHead((2,), learn_scale=False).learn_scale == "none"


def test_learned_degrees_of_freedom_start_at_df_and_stay_above_one() -> None:
    head = StudentTHead((2,), df=3.0, learn_df=True)
    assert_equal(head(torch.zeros(1, 2)).df, 3.0, **FLOAT64)
    with torch.no_grad():
        head.raw_df.fill_(-50.0)  # type: ignore[union-attr]
    assert 1 <= head(torch.zeros(1, 2)).df < 1.001


# The optimal scale.


def test_the_optimal_scale_is_the_maximum_of_the_batchs_likelihood() -> None:
    head = GaussianHead((3, 2), learn_scale="optimal")
    mean, x = torch.randn(4, 5, 3, 2), torch.randn(5, 3, 2)
    p = head(mean)
    assert isinstance(p, OptimalGaussian)
    rms = (x - mean).square().mean().sqrt()
    log_prob = p.log_prob(x)
    assert_equal(log_prob, Gaussian(mean, rms, 2).log_prob(x), **FLOAT64)
    # −D/2 (log 2πσ*² + 1) on average
    assert_equal(log_prob.mean(), -3 * (np.log(2 * np.pi * rms.item() ** 2) + 1), **FLOAT64)
    for other in (0.9 * rms, 1.1 * rms):
        assert Gaussian(mean, other, 2).log_prob(x).sum() < log_prob.sum()


def test_the_optimal_scale_hides_nothing_of_the_gradient() -> None:
    mean, x = torch.randn(5, 6, requires_grad=True), torch.randn(5, 6)
    GaussianHead((6,), learn_scale="optimal")(mean).log_prob(x).sum().backward()
    detached = mean.grad
    # With the scale eliminated the score is −(n/2) log of the mean squared error, plus a constant.
    eliminated = mean.detach().requires_grad_()
    (-15 * (x - eliminated).square().mean().log()).backward()
    assert_equal(detached, eliminated.grad, **FLOAT64)


def test_the_running_scale_is_the_mean_of_what_batches_had() -> None:
    head = GaussianHead((4,), learn_scale="optimal", scale=9.0)
    batches = [torch.randn(7, 4) * size for size in (0.5, 1.0, 2.0)]
    for x in batches:
        head(torch.zeros(7, 4)).log_prob(x)
    expected = np.sqrt(np.mean([x.square().mean() for x in batches]))
    assert_equal(head.log_scale.exp(), expected, **FLOAT64)  # the start of 9 is forgotten
    for _ in range(1500):
        head(torch.zeros(7, 4)).log_prob(torch.full((7, 4), 0.2))
    # (1 − 1/100)^1400 of the first batches is left, under 1e-6.
    assert_equal(head.log_scale.exp(), 0.2, atol=2e-5)


def test_in_evaluation_an_examples_score_depends_on_no_other() -> None:
    head = GaussianHead((4,), learn_scale="optimal")
    head(torch.zeros(9, 4)).log_prob(torch.randn(9, 4))
    head.eval()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    mean, x = torch.randn(9, 4), torch.randn(9, 4)
    together = head(mean).log_prob(x)
    one_by_one = torch.cat([head(mean[i : i + 1]).log_prob(x[i : i + 1]) for i in range(9)])
    assert_equal(together, one_by_one, **FLOAT64)
    assert_equal(together, stats.norm.logpdf(x, mean, before["log_scale"].exp()).sum(-1), **FLOAT64)
    for name, value in head.state_dict().items():
        assert_equal(value, before[name])


def test_a_perfect_reconstruction_is_not_worth_infinity() -> None:
    head = GaussianHead((4,), learn_scale="optimal", min_scale=0.02)
    mean = torch.ones(3, 4, requires_grad=True)
    log_prob = head(mean).log_prob(torch.ones(3, 4))
    assert_equal(log_prob, stats.norm.logpdf(np.zeros((3, 4)), 0, 0.02).sum(-1), **FLOAT64)
    log_prob.sum().backward()
    assert_equal(mean.grad, np.zeros((3, 4)))


# The continuous Bernoulli.

LOGITS = torch.tensor([-200.0, -30.0, -3.0, -0.31, -0.29, -0.1, -1e-4, -1e-9, 0.0], dtype=torch.float64)
LOGITS = torch.cat([LOGITS, -LOGITS.flip(0)])


def exact_log_density(logit: float, x: float) -> float:
    """log of ℓ e^{ℓx} / (e^ℓ − 1), with numpy's accurate expm1."""
    return 0.0 if logit == 0 else logit * x - np.log(np.expm1(logit) / logit)


def test_continuous_bernoulli_is_its_definition() -> None:
    x = torch.rand(len(LOGITS))
    expected = [
        exact_log_density(logit, value) for logit, value in zip(LOGITS.tolist(), x.tolist(), strict=True)
    ]
    assert_equal(ContinuousBernoulli(LOGITS[:, None], 1).log_prob(x[:, None]), expected, **FLOAT64)


def test_continuous_bernoulli_is_torchs() -> None:
    logits, x = 3 * torch.randn(200, 3), torch.rand(200, 3)
    theirs = torch.distributions.ContinuousBernoulli(logits=logits)
    p = BernoulliHead((3,), continuous=True)(logits)
    # torch cuts its Taylor series at a width of 0.001 around one half, off by 1e-12 at most.
    assert_equal(p.log_prob(x), theirs.log_prob(x).sum(-1), rtol=1e-9, atol=1e-9)
    assert_equal(p.mean, theirs.mean, rtol=1e-9, atol=1e-9)


def test_mean_of_the_continuous_bernoulli_is_the_derivative_of_its_normaliser() -> None:
    logits = LOGITS.clone().requires_grad_()
    # d/dℓ (ℓx − log((e^ℓ − 1)/ℓ)) = x − mean
    ContinuousBernoulli(logits[:, None], 1).log_prob(torch.zeros(len(LOGITS), 1)).sum().backward()
    mean = ContinuousBernoulli(LOGITS[:, None], 1).mean[:, 0]
    # Just past the series the derivative loses a digit: 1/(e^0.3 − 1) is seven times what 1/0.3 leaves of it.
    assert_equal(logits.grad, -mean, rtol=1e-13, atol=1e-14)
    assert_equal(mean[8:10], [0.5, 0.5])
    assert_equal(mean + mean.flip(0), np.ones(len(LOGITS)), **FLOAT64)


def test_continuous_bernoulli_of_huge_logits_in_single_precision() -> None:
    logits = torch.tensor([[1e4], [-1e4], [1e4], [-1e4]], dtype=torch.float32)
    log_prob = ContinuousBernoulli(logits, 1).log_prob(torch.tensor([[1.0], [0.0], [0.0], [1.0]]).float())
    # At its own end the density is |ℓ|; at the other e^{−|ℓ|} |ℓ|. float32 rounds 1e4 at 5e-4.
    assert_equal(log_prob[:2], np.log([1e4, 1e4]), rtol=1e-6)
    assert_equal(log_prob[2:], np.log(1e4) - np.array([1e4, 1e4]), rtol=1e-6)


@pytest.mark.parametrize("logit", [-40.0, -1.0, -1e-13, 0.0, 1e-3, 2.0])
def test_continuous_bernoulli_samples_are_of_the_distribution(logit: float) -> None:
    draws = ContinuousBernoulli(torch.full((5000, 1), logit), 1).sample()
    tiny = abs(logit) < 1e-9
    assert_drawn_from(draws, lambda x: x if tiny else np.expm1(logit * x) / np.expm1(logit))

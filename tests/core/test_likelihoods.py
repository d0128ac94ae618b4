from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import special, stats

from elboroom.probability import Bernoulli, BernoulliHead, Gaussian, GaussianHead

from .known import FLOAT32, FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("float64")


def test_bernoulli_log_prob_is_scipys() -> None:
    logits, x = torch.randn(5, 7) * 3, torch.bernoulli(torch.full((5, 7), 0.5))
    expected = stats.bernoulli.logpmf(x.numpy(), special.expit(logits.numpy())).sum(-1)
    assert_equal(Bernoulli(logits, 1).log_prob(x), expected, **FLOAT64)


def test_bernoulli_log_prob_of_soft_targets_is_the_cross_entropy() -> None:
    logits, x = torch.randn(4, 3, 2), torch.rand(4, 3, 2)
    mu = special.expit(logits.numpy())
    expected = (x.numpy() * np.log(mu) + (1 - x.numpy()) * np.log1p(-mu)).sum((1, 2))
    assert_equal(Bernoulli(logits, 2).log_prob(x), expected, **FLOAT64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_of_extreme_logits_is_finite_and_right(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4], [-1e4], [1e4], [-1e4]], dtype=dtype, requires_grad=True)
    log_prob = Bernoulli(logits, 1).log_prob(torch.tensor([[1.0], [0.0], [0.0], [1.0]], dtype=dtype))
    assert_equal(log_prob, [0.0, 0.0, -1e4, -1e4])  # exp(−1e4) is 0 in both, so there is nothing to round
    log_prob.sum().backward()
    assert_equal(logits.grad, [[0.0], [0.0], [-1.0], [1.0]])


def test_bernoulli_sums_to_one_over_all_outcomes() -> None:
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))
    logits = (2 * torch.randn(8)).expand(256, 8)
    assert_equal(Bernoulli(logits, 1).log_prob(outcomes).exp().sum(), 1.0, **FLOAT64)


def test_bernoulli_samples_are_zeros_and_ones_with_the_mean_as_their_mean() -> None:
    p = Bernoulli(torch.tensor([-2.0, 0.0, 1.0]).expand(20_000, 3), 1)
    draws = p.sample()
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert_mean(draws, special.expit([-2.0, 0.0, 1.0]))


@pytest.mark.parametrize("scale", [0.5**0.5, 0.1, 30.0])
def test_gaussian_log_prob_is_scipys(scale: float) -> None:
    mean, x = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    p = GaussianHead((3, 2), scale=scale)(mean)
    assert_equal(p.log_prob(x), stats.norm.logpdf(x, mean, scale).sum((1, 2)), **FLOAT64)


def test_gaussian_of_variance_one_half_has_the_squared_error_as_distortion() -> None:
    mean, x = torch.randn(4, 9), torch.randn(4, 9)
    log_prob = GaussianHead((9,))(mean).log_prob(x)
    assert_equal(-log_prob, (x - mean).square().sum(-1) + 4.5 * np.log(np.pi), **FLOAT64)


def test_gradient_of_a_learned_scale_is_analytic() -> None:
    # d/d(log σ) Σ −½((x−μ)/σ)² − log σ  =  Σ ((x−μ)/σ)² − 1
    head = GaussianHead((6,), scale=0.4, learn_scale=True)
    (parameter,) = head.parameters()
    mean, x = torch.randn(3, 6), torch.randn(3, 6)
    head(mean).log_prob(x).sum().backward()
    assert_equal(parameter.grad, (((x - mean) / 0.4) ** 2 - 1).sum(), **FLOAT64)


def test_best_learned_scale_is_the_root_mean_square_error() -> None:
    mean, x = torch.zeros(50, 6), torch.randn(50, 6) * 1.7
    best = x.square().mean().sqrt()
    p = Gaussian(mean, best.requires_grad_(), 1)
    p.log_prob(x).sum().backward()
    assert_equal(best.grad, 0.0, atol=1e-11)  # a sum of 300 terms of size 1 that cancel


def test_a_fixed_scale_is_no_parameter_but_is_saved() -> None:
    head = GaussianHead((6,), scale=0.4)
    assert list(head.parameters()) == []
    assert_equal(head.state_dict()["log_scale"], np.log(0.4))


def test_sigmoid_mean() -> None:
    features = torch.tensor([[-800.0, -1.0, 0.0, 2.0, 800.0]])
    assert_equal(
        GaussianHead((5,), mean="sigmoid")(features).mean, special.expit(features.numpy()), **FLOAT64
    )


def test_gaussian_samples_have_its_mean_and_variance() -> None:
    mean = torch.tensor([-1.0, 0.0, 5.0]).expand(20_000, 3)
    draws = Gaussian(mean, torch.tensor(0.3), 1).sample()
    assert_mean(draws, [-1.0, 0.0, 5.0])
    assert_mean((draws - mean).square(), [0.09] * 3)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 1)])
@pytest.mark.parametrize("head", [BernoulliHead, GaussianHead])
def test_codes_of_any_leading_shape_broadcast_against_a_batch(
    head: type[BernoulliHead | GaussianHead], shape: tuple[int, ...]
) -> None:
    k, b = 4, 3
    features, x = torch.randn(k, b, *shape), torch.bernoulli(torch.full((b, *shape), 0.5))
    log_prob = head(shape)(features).log_prob(x)
    one_by_one = [head(shape)(features[i, j]).log_prob(x[j]).item() for i in range(k) for j in range(b)]
    assert_equal(log_prob, np.reshape(one_by_one, (k, b)), **FLOAT64)


@pytest.mark.parametrize("head", [BernoulliHead, GaussianHead])
def test_heads_keep_single_precision(head: type[BernoulliHead | GaussianHead]) -> None:
    p64 = head((40,))(torch.randn(3, 40))
    p32 = head((40,)).float()(getattr(p64, "logits", p64.mean).float())
    x = torch.bernoulli(torch.full((3, 40), 0.5))
    log_prob = p32.log_prob(x.float())
    assert log_prob.dtype == p32.mean.dtype == p32.sample().dtype == torch.float32
    assert_equal(log_prob, p64.log_prob(x), **FLOAT32)

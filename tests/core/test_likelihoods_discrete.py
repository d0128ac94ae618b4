"""Levels and counts against scipy, brute force and their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from elboroom.probability import (
    Categorical,
    CategoricalHead,
    DiscretizedLogistic,
    DiscretizedLogisticHead,
    NegativeBinomial,
    NegativeBinomialHead,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from elboroom.probability.parameters import tame_log

from .known import FLOAT32, FLOAT64, assert_equal

pytestmark = pytest.mark.usefixtures("float64")

PIXELS = torch.arange(256, dtype=torch.float64) / 255


def assert_drawn_from(p: Any, values: Tensor) -> None:
    """Chi-square test of a likelihood of many codes alike for one number each, with these as its values.

    Values expected under ten times are taken together; a right sampler falls below 1e-4 once in ten
    thousand seeds.
    """
    draws = p.sample().flatten()
    x = torch.zeros_like(draws)
    x[: len(values)] = values
    chances = p.log_prob(x[:, None]).exp()[: len(values)].numpy()
    observed = np.array([draws.sub(v).abs().lt(1e-9).sum().item() for v in values])
    assert observed.sum() == len(draws)
    expected = len(draws) * chances / chances.sum()
    rare = expected < 10
    observed, expected = (np.append(v[~rare], v[rare].sum()) for v in (observed, expected))
    kept = expected > 0
    assert stats.chisquare(observed[kept], expected[kept]).pvalue > 1e-4


def test_levels_of_8_bit_pixels_come_back_from_single_precision() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    logits = 50 * torch.eye(256)  # picks out the level by its own row
    log_prob = Categorical(logits[:, None].float(), 1).log_prob((pixels.float() / 255)[:, None])
    assert_equal(log_prob, np.zeros(256), atol=1e-6)  # log(1 + 255 e⁻⁵⁰), rounded


def test_most_levels_come_back_from_single_precision() -> None:
    level = torch.arange(2**16)
    x = level.float() / (2**16 - 1)
    assert (x * (2**16 - 1)).round().long().equal(level)


def test_categorical_is_scipys() -> None:
    logits, level = torch.randn(2, 4, 3, 2, 7), torch.randint(7, (4, 3, 2))
    chances = special.softmax(logits.numpy(), -1)
    expected = np.log(np.take_along_axis(chances, level.numpy()[None, ..., None], -1)).sum((2, 3, 4))
    p = Categorical(logits, 2)
    assert_equal(p.log_prob(level / 6), expected, **FLOAT64)
    assert_equal(p.mean, chances @ (np.arange(7) / 6), **FLOAT64)


def test_levels_of_one_number_stand_side_by_side() -> None:
    features = torch.randn(2, 3, 2, 3 * 5)
    assert_equal(CategoricalHead((3, 2, 3), levels=5)(features).logits, features.reshape(2, 3, 2, 3, 5))


def test_categorical_samples_are_of_the_distribution() -> None:
    assert_drawn_from(Categorical(torch.randn(5).expand(5000, 1, 5), 1), torch.arange(5.0) / 4)


# The discretised logistic.


def logistic(location: float, scale: float, levels: int = 256) -> DiscretizedLogistic:
    """One number, scored at each of the levels."""
    return DiscretizedLogistic(
        torch.zeros(1), torch.full((1, 1), location), torch.full((1, 1), scale), levels, 1
    )


@pytest.mark.parametrize("location", [-0.3, 0.0, 0.5, 0.83, 1.2])
@pytest.mark.parametrize("scale", [0.03, 0.2, 3.0])
def test_a_levels_mass_is_scipys_between_its_edges(location: float, scale: float) -> None:
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    expected = np.diff(stats.logistic.cdf(edges, location, scale))
    mass = logistic(location, scale).log_prob(PIXELS[:, None]).exp()
    assert_equal(mass, expected, atol=1e-15)  # scipy's differences of numbers up to 1


@pytest.mark.parametrize("scale", [1e-5, 4e-4, 0.01, 1.0, 1e4])
@pytest.mark.parametrize("location", [-1e3, -0.1, 0.5 / 255, 0.5, 1.0, 1e3])
def test_levels_add_up_to_one_however_narrow_or_far(location: float, scale: float) -> None:
    log_mass = logistic(location, scale).log_prob(PIXELS[:, None])
    assert torch.isfinite(log_mass).all()
    assert_equal(log_mass.exp().sum(), 1.0, **FLOAT64)


def test_a_level_far_in_the_tail_has_its_own_mass() -> None:
    # There the density is e^{−d/s}/s; the difference of two distribution functions would be 0.
    log_mass = logistic(0.1, 1e-3).log_prob(torch.tensor([[204 / 255]]))
    edges = (np.array([203.5, 204.5]) / 255 - 0.1) / 1e-3
    assert_equal(log_mass, [-edges[0] + np.log(-np.expm1(edges[0] - edges[1]))], **FLOAT64)


def test_a_mixture_is_the_weighted_sum_of_its_components() -> None:
    head = DiscretizedLogisticHead((2, 3), mixtures=4, levels=16)
    features, x = torch.randn(5, 2, 36), torch.randint(16, (5, 2, 3)) / 15
    p = head(features)
    location, raw, logits = features.reshape(5, 2, 3, 3, 4).numpy().transpose(3, 0, 1, 2, 4)
    location = location + np.array([0.125, 0.375, 0.625, 0.875])
    least = 0.1 / 15
    scale = np.log1p(np.exp(raw + np.log(np.expm1(0.1 - least)))) + least
    high, low = (special.expit((x.numpy()[..., None] + half / 15 - location) / scale) for half in (0.5, -0.5))
    high[x == 1], low[x == 0] = 1, 0
    expected = np.log((special.softmax(logits, -1) * (high - low)).sum(-1)).sum((1, 2))
    assert_equal(p.log_prob(x), expected, rtol=1e-10)  # the differences of numbers up to 1 in ``expected``


@pytest.mark.parametrize("scale", [1e-3, 0.02, 0.5])
@pytest.mark.parametrize("location", [-40.0, -0.02, 0.5003, 0.99, 1.3, 1e6])
def test_mean_is_within_half_a_level_of_the_levels_mean(location: float, scale: float) -> None:
    p = logistic(location, scale)
    exact = p.log_prob(PIXELS[:, None]).exp() @ PIXELS
    assert abs(p.mean.item() - exact) <= 0.5 / 255
    # From a scale of a few levels on the two are the same to the midpoint rule's error, level² / (96 s).
    assert_equal(p.mean[0], exact, atol=max(0.5 / 255 * (scale < 4 / 255), 1 / (96 * 255**2 * scale)))
    single = DiscretizedLogistic(p.log_weights.float(), p.location.float(), p.scale.float(), 256, 1)
    assert_equal(single.mean, p.mean, **FLOAT32)


def test_mixture_samples_are_of_the_distribution() -> None:
    features = torch.tensor([-0.5, 0.1, 0.4, 0.0, 1.0, 2.0, 0.3, 0.0, -0.4])
    head = DiscretizedLogisticHead((1,), mixtures=3, levels=12)
    assert_drawn_from(head(features.expand(5000, -1)), torch.arange(12.0) / 11)


# Counts.

COUNTS = torch.tensor([0.0, 1.0, 2.0, 7.0, 40.0, 900.0], dtype=torch.float64)
THETAS = [1e-3, 0.3, 2.0, 7.9, 8.1, 50.0, 3000.0]


def test_poisson_is_scipys() -> None:
    log_mean, x = 2 * torch.randn(5, 3, 2), torch.randint(30, (5, 3, 2)).double()
    expected = stats.poisson.logpmf(x, log_mean.exp()).sum((1, 2))
    assert_equal(Poisson(log_mean, 2).log_prob(x), expected, **FLOAT64)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("mean", [1e-3, 0.8, 30.0, 5000.0])
def test_negative_binomial_is_scipys(mean: float, theta: float) -> None:
    p = NegativeBinomial(torch.full((6, 1), mean).log(), torch.tensor([theta]).log(), 1)
    expected = stats.nbinom.logpmf(COUNTS, theta, theta / (theta + mean))
    # scipy subtracts lgammas of up to 2e4 each.
    assert_equal(p.log_prob(COUNTS[:, None]), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("theta", [*THETAS, 1e6, 1e9])
def test_negative_binomial_is_its_product(theta: float) -> None:
    # Γ(x + θ)/(Γ(θ) x!) is the product of (θ + j)/(j + 1) over j < x, whatever θ.
    mean = 12.0
    p = NegativeBinomial(torch.full((6, 1), mean).log(), torch.tensor([theta]).log(), 1)
    expected = [
        np.log((theta + np.arange(x)) / np.arange(1, x + 1)).sum()
        - theta * np.log1p(mean / theta)
        - x * np.log1p(theta / mean)
        for x in COUNTS.tolist()
    ]
    # The reference adds up to 900 logarithms, of up to 20.
    assert_equal(p.log_prob(COUNTS[:, None]), expected, rtol=1e-11, atol=1e-11)


def test_negative_binomial_of_large_theta_is_poisson_in_single_precision() -> None:
    log_mean, x = torch.tensor([[1.0, 2.0, 3.0]]).float(), torch.tensor([[3.0, 9.0, 30.0]]).float()
    log_theta = torch.full((3,), np.log(1e8)).float().requires_grad_()
    log_prob = NegativeBinomial(log_mean, log_theta, 1).log_prob(x)
    # float32 rounds the logs of 1e8 and 30! at 1e-6 and 5e-6; subtracted lgammas would be off by 100.
    assert_equal(log_prob, Poisson(log_mean, 1).log_prob(x), atol=1e-4)
    log_prob.sum().backward()
    assert_equal(log_theta.grad, np.zeros(3), atol=1e-4)  # of order x²/θ


@pytest.mark.parametrize("theta", [0.3, 7.9, 8.1, 400.0])
def test_gradients_of_the_negative_binomial_are_analytic(theta: float) -> None:
    log_mean = torch.full((6, 1), 2.0, requires_grad=True)
    log_theta = torch.tensor([theta]).log().expand(6, 1).clone().requires_grad_()
    NegativeBinomial(log_mean, log_theta, 1).log_prob(COUNTS[:, None]).sum().backward()
    mean, x = np.exp(2.0), COUNTS.numpy()[:, None]
    assert_equal(log_mean.grad, theta * (x - mean) / (theta + mean), rtol=1e-10, atol=1e-10)
    slope = special.digamma(x + theta) - special.digamma(theta) - np.log1p(mean / theta)
    # Digammas of order 6 cancel to 1/θ, here and in what they are compared with.
    assert_equal(log_theta.grad, theta * (slope + (mean - x) / (theta + mean)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("logit", [-800.0, -2.0, 1.0, 800.0])
@pytest.mark.parametrize("theta", [0.3, 20.0])
def test_zero_inflation_is_a_mixture_with_zero(theta: float, logit: float) -> None:
    log_mean, log_theta = torch.full((6, 1), 1.5), torch.tensor([theta]).log()
    p = ZeroInflatedNegativeBinomial(log_mean, log_theta, torch.full((6, 1), logit), 1)
    log_mass = stats.nbinom.logpmf(COUNTS, theta, theta / (theta + np.exp(1.5)))
    kept, lost = special.log_expit([-logit, logit])
    expected = np.where(COUNTS == 0, np.logaddexp(kept + log_mass, lost), kept + log_mass)
    assert_equal(p.log_prob(COUNTS[:, None]), expected, rtol=1e-11, atol=1e-11)
    assert_equal(p.mean, np.full((6, 1), special.expit(-logit) * np.exp(1.5)), **FLOAT64)


@pytest.mark.parametrize("theta", [0.4, 30.0])
def test_counts_drawn_are_of_the_distribution(theta: float) -> None:
    log_mean, log_theta = torch.full((5000, 1), 4.0).log(), torch.tensor([theta]).log()
    for p in (
        Poisson(log_mean, 1),
        NegativeBinomial(log_mean, log_theta, 1),
        ZeroInflatedNegativeBinomial(log_mean, log_theta, torch.full((5000, 1), -1.0), 1),
    ):
        assert_drawn_from(p, torch.arange(300.0))


def test_theta_is_one_per_feature_or_the_networks() -> None:
    head = NegativeBinomialHead((4,))
    assert head.log_theta is not None
    with torch.no_grad():
        head.log_theta.copy_(torch.arange(4.0))
    p = head(torch.zeros(2, 4))
    assert_equal(p.log_theta, np.arange(4.0))
    own = NegativeBinomialHead((4,), dispersion="network", zero_inflated=True)(torch.arange(12.0)[None])
    assert isinstance(own, ZeroInflatedNegativeBinomial)
    assert_equal(own.log_mean, np.arange(4.0)[None])
    assert_equal(own.log_theta, np.arange(4.0, 8.0)[None])
    assert_equal(own.dropout_logits, np.arange(8.0, 12.0)[None])


def test_logarithms_are_bent_smoothly() -> None:
    raw = torch.tensor([-1e6, -15.001, -14.999, 0.0, 3.0, 14.999, 15.001, 1e6], requires_grad=True)
    bent = tame_log(raw)
    bent.sum().backward()
    slow = 15 + np.log1p(1e6 - 15)
    assert_equal(bent[[0, 2, 3, 4, 5, 7]], [-slow, -14.999, 0, 3, 14.999, slow], **FLOAT64)
    assert raw.grad is not None
    assert_equal(raw.grad[[1, 2, 3, 5, 6]], [1 / 1.001, 1, 1, 1, 1 / 1.001], **FLOAT64)
    assert (raw.grad > 0).all()

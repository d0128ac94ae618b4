"""The power spherical distribution against numerical integration and its moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.probability import PowerSpherical, PowerSphericalHead, UniformSphere, rate
from elboroom.probability.posteriors import unit_vector
from elboroom.probability.spherical import log_area

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("seeded_float64")

# adaptive quadrature asked for 1e-10
QUAD = {"rtol": 1e-9, "atol": 1e-9}


def posterior(d: int, *concentrations: float) -> PowerSpherical:
    return PowerSpherical(unit_vector(torch.randn(len(concentrations), d)), torch.tensor(concentrations))


def at_height(q: PowerSpherical, t: float) -> Tensor:
    """Point z (1, d) with μ·z = t."""
    aside = torch.randn_like(q.mean)
    aside = unit_vector(aside - (aside * q.mean).sum(-1, keepdim=True) * q.mean)
    # unit_vector's nudge of 1e-6 leaves a little of μ
    aside = aside - (aside * q.mean).sum(-1, keepdim=True) * q.mean
    return t * q.mean + math.sqrt(1 - t * t) * aside / aside.norm(dim=-1, keepdim=True)


def over_the_sphere(q: PowerSpherical, f) -> float:
    """∫ f(density, log-density) over the sphere: rings at angle θ have area |S^(d−2)| sin^(d−2) θ dθ."""
    d = q.mean.shape[-1]
    ring = 2.0 if d == 2 else math.exp(log_area(d - 1))

    def at(theta: float) -> float:
        log_q = q.log_prob(at_height(q, math.cos(theta))).item()
        return float(f(math.exp(log_q), log_q) * ring * math.sin(theta) ** (d - 2))

    return float(integrate.quad(at, 0, math.pi, epsabs=1e-10, epsrel=1e-10)[0])


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("concentration", [0.0, 0.7, 12.0])
def test_density_integrates_to_one_and_the_rate_is_log_area_minus_entropy(
    d: int, concentration: float
) -> None:
    q = posterior(d, concentration)
    assert over_the_sphere(q, lambda p, _: p) == pytest.approx(1, abs=1e-9)
    negative_entropy = over_the_sphere(q, lambda p, log_q: p * log_q)
    assert_equal(rate(q, UniformSphere(d), q.mean, q.mean), [negative_entropy + log_area(d)], **QUAD)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_density_is_the_papers(d: int) -> None:
    q = posterior(d, 0.5, 3.0, 40.0)
    z = UniformSphere(d).sample(6)[:, None]
    kappa, beta = q.concentration.numpy(), (d - 1) / 2
    log_c = np.array(
        [math.lgamma(beta + k + beta) - math.lgamma(beta + k) - (2 * beta + k) * math.log(2) for k in kappa]
    ) - beta * math.log(math.pi)
    dots = np.einsum("nid,bd->nb", z.numpy(), q.mean.numpy())
    assert_equal(q.log_prob(z), log_c + kappa * np.log1p(dots), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("d", [2, 3, 6])
def test_samples_lie_on_the_sphere_and_have_their_moments(d: int) -> None:
    q = posterior(d, 0.3, 4.0, 60.0)
    z, log_q = q.rsample_and_log_prob(20_000)
    assert_equal(z.norm(dim=-1), np.ones((20_000, 3)), **FLOAT64)
    # log_prob squares differences of nearly equal points: 1e-16 · κ / spread
    assert_equal(log_q, q.log_prob(z), rtol=1e-8, atol=1e-8)
    beta = (d - 1) / 2
    alpha = beta + q.concentration
    mean_height = (alpha - beta) / (alpha + beta)
    assert_mean(z, mean_height[:, None] * q.mean)
    # E t² from the variance of the beta distribution; aside of the axis all directions are alike
    height_variance = 4 * alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
    second = height_variance + mean_height**2
    axis = q.mean[:, :, None] * q.mean[:, None, :]
    expected = second[:, None, None] * axis + ((1 - second) / (d - 1))[:, None, None] * (torch.eye(d) - axis)
    assert_mean(z[..., :, None] * z[..., None, :], expected)


def test_heights_follow_the_beta_distribution() -> None:
    q = posterior(4, 3.0)
    z, _ = q.rsample_and_log_prob(5_000)
    share = (1 + (z * q.mean).sum(-1))[:, 0] / 2
    # a p-value below 1e-4 comes by chance once in ten thousand seeds
    assert stats.kstest(share.numpy(), stats.beta(1.5 + 3.0, 1.5).cdf).pvalue > 1e-4


@pytest.mark.parametrize("d", [2, 3, 6])
def test_gradients_of_samples_are_those_of_the_expectation(d: int) -> None:
    # E a·z = h(κ) a·μ with h = κ/(κ + 2β): dμ = h a along the sphere, dκ = 2β/(κ + 2β)² a·μ
    a, raw = torch.randn(d), torch.randn(1, d).requires_grad_()
    concentration = torch.tensor([2.5], requires_grad=True)
    n = 20_000
    mean = unit_vector(raw).expand(n, d).detach().requires_grad_()
    kappa = concentration.detach().expand(n).clone().requires_grad_()
    z, _ = PowerSpherical(mean, kappa).rsample_and_log_prob(1)
    by_mean, by_kappa = torch.autograd.grad((z[0] * a).sum(), [mean, kappa])
    mu = mean[0].detach()
    height, two_beta = 2.5 / (2.5 + d - 1), d - 1
    tangent = torch.eye(d) - torch.outer(mu, mu)
    assert_mean(by_mean @ tangent, height * (tangent @ a))
    assert_mean(by_kappa, two_beta / (2.5 + two_beta) ** 2 * (a @ mu))


def test_rate_is_exact_at_the_uniform_and_agrees_with_monte_carlo() -> None:
    q, p = posterior(5, 0.0, 1e-9, 2.0, 300.0), UniformSphere(5)
    z, log_q = q.rsample_and_log_prob(20_000)
    exact = rate(q, p, z, log_q)
    assert exact[0] == 0
    assert (exact >= 0).all()
    assert_mean((log_q - p.log_prob(z))[:, 2:], exact[2:])


def test_float32_keeps_its_digits_at_high_concentration() -> None:
    exact = posterior(3, 1e2, 1e4, 1e6)
    q = PowerSpherical(exact.mean.float(), exact.concentration.float())
    z, log_q = q.rsample_and_log_prob(50)
    expected = rate(exact, UniformSphere(3), z, log_q)
    # float32 rounds the result, at most 13 nats, by 1e-6; the plain formula would lose 0.1
    assert_equal(rate(q, UniformSphere(3), z, log_q), expected, atol=2e-6)
    assert_equal(
        log_q, q.log_prob(z), atol=2e-2
    )  # z moves by 6e-8 of the spread 1.4e-3, 1e-4 of up to 100 nats


def test_the_head_keeps_directions_and_concentrations_in_range() -> None:
    head = PowerSphericalHead(3)
    raw = torch.tensor([[3.0, 0.0, 4.0, -1e4], [0.0, 0.0, -2.0, 0.0], [0.0, 0.0, 0.0, 1e9]])
    q = head(raw)
    assert_equal(q.mean, [[0.6, 0, 0.8], [0, 0, -1], [1, 0, 0]], atol=1e-6)  # nudged by 1e-6
    assert_equal(q.concentration, [0, math.log(2), 1e6], rtol=2e-3)  # bent from 1e9 to 1e6 · (1 − 1e-3)


def test_uniform_samples_are_on_the_sphere_without_a_direction() -> None:
    prior = UniformSphere(3)
    z = prior.sample(20_000)
    assert_equal(z.norm(dim=-1), np.ones(20_000), **FLOAT64)
    assert_mean(z, np.zeros(3))
    assert_mean(z[:, :, None] * z[:, None, :], np.eye(3) / 3)
    assert_equal(prior.log_prob(z[:2]), np.full(2, -math.log(4 * math.pi)), **FLOAT64)
    assert prior.float().sample(2).dtype == torch.float32
    assert prior.state_dict() == {}


@pytest.mark.parametrize("part", [UniformSphere, PowerSphericalHead])
def test_one_dimension_is_no_sphere(part: type) -> None:
    with pytest.raises(UsageError, match="latent_dim = 1: at least 2 is needed"):
        part(1)

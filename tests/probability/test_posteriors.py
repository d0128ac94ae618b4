"""Gaussian posteriors of every covariance, and the one that is a point."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, distributions, nn

from elboroom.errors import UsageError
from elboroom.probability import (
    POSTERIORS,
    Deterministic,
    DeterministicHead,
    DiagonalGaussian,
    FullGaussian,
    FullGaussianHead,
    HouseholderHead,
    StandardNormal,
)
from elboroom.probability.posteriors import rows, unit_vector

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("seeded_float64")

# d = 3, with a covariance that is far from diagonal
HEADS = {"full": lambda: FullGaussianHead(3), "householder": lambda: HouseholderHead(3, steps=2)}


def features(head: nn.Module, b: int = 4) -> Tensor:
    return torch.randn(b, *head.in_shape)  # type: ignore[misc]


def reference(q: FullGaussian) -> distributions.MultivariateNormal:
    return distributions.MultivariateNormal(q.mean, covariance_matrix=q.covariance)


@pytest.mark.parametrize("name", HEADS)
def test_full_covariance_is_torchs_multivariate_normal(name: str) -> None:
    head = HEADS[name]()
    q = head(features(head))
    z, log_q = q.rsample_and_log_prob(6)
    assert z.shape == (6, 4, 3)
    # the reference takes a Cholesky factor of the covariance: condition numbers up to 1e3, so 1e-16 · 1e3
    assert_equal(q.log_prob(z), reference(q).log_prob(z), rtol=1e-11, atol=1e-11)
    assert_equal(log_q, q.log_prob(z), **FLOAT64)
    assert_equal(q.variance, reference(q).variance, **FLOAT64)


@pytest.mark.parametrize("name", HEADS)
def test_full_covariance_samples_have_mean_and_covariance(name: str) -> None:
    head = HEADS[name]()
    q = head(features(head, b=2))
    z, _ = q.rsample_and_log_prob(20_000)
    centred = z - q.mean
    assert_mean(z, q.mean)
    assert_mean(centred[..., :, None] * centred[..., None, :], q.covariance)


def test_full_covariance_gives_every_code_under_every_posterior() -> None:
    head = FullGaussianHead(3)
    q = head(features(head))
    z = torch.randn(2, 5, 1, 3)
    each = [stats.multivariate_normal(m, c) for m, c in zip(q.mean, q.covariance, strict=True)]
    expected = np.stack([one.logpdf(z[:, :, 0].numpy()) for one in each], -1)
    assert_equal(q.log_prob(z), expected, rtol=1e-11, atol=1e-11)


def test_full_covariance_fills_the_lower_triangle_row_by_row() -> None:
    q = FullGaussianHead(3, scale="exp", min_scale=0.0)(torch.tensor([[0.0] * 6 + [1.0, 2.0, 3.0]]))
    assert_equal(q.mixing, [[[1, 0, 0], [1, 1, 0], [2, 3, 1]]])
    assert_equal(q.scale, [[1, 1, 1]])


def test_householder_mixing_is_the_product_of_its_mirrors() -> None:
    head = HouseholderHead(3, steps=2)
    raw = features(head)
    first, second = (
        torch.stack([torch.eye(3) - 2 * torch.outer(v, v) / (v @ v) for v in raw[:, start : start + 3]])
        for start in (6, 9)
    )
    mixing = head(raw).mixing
    # unit_vector nudges by 1e-6, and the random mirrors' normals are longer than a tenth
    assert_equal(mixing, second @ first, atol=1e-4)
    assert_equal(mixing @ mixing.mT, np.broadcast_to(np.eye(3), (4, 3, 3)), **FLOAT64)


def test_diagonal_marginals_are_scipys_and_add_up() -> None:
    q = DiagonalGaussian(torch.randn(4, 3), torch.rand(4, 3) + 0.1)
    z = torch.randn(5, 3)
    marginal = q.marginal_log_prob(z[:, None])
    assert marginal.shape == (5, 4, 3)
    assert_equal(marginal, stats.norm.logpdf(z[:, None].numpy(), q.mean, q.scale), **FLOAT64)
    assert_equal(marginal.sum(-1), q.log_prob(z[:, None]), **FLOAT64)
    assert_equal(q.variance, q.scale**2)


def test_deterministic_repeats_its_code_and_has_no_density() -> None:
    head = DeterministicHead(3)
    code = features(head).requires_grad_()
    q = head(code)
    z, log_q = q.rsample_and_log_prob(5)
    assert_equal(z, np.broadcast_to(code.detach().numpy(), (5, 4, 3)))
    assert_equal(log_q, np.zeros((5, 4)))
    (gradient,) = torch.autograd.grad(z.sum(), code)
    assert_equal(gradient, np.full((4, 3), 5))
    assert not q.stochastic
    assert not hasattr(q, "log_prob")


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_posterior_keeps_the_contract(name: str) -> None:
    head = POSTERIORS[name](3)
    raw = features(head).requires_grad_()
    q = head(raw)
    assert type(q) is head.makes
    assert q.stochastic == (name != "deterministic")
    assert q.mean.shape == (4, 3)
    z, log_q = q.rsample_and_log_prob(2)
    assert z.shape == (2, 4, 3)
    assert log_q.shape == (2, 4)
    (gradient,) = torch.autograd.grad(z.square().sum() + log_q.sum(), raw)
    assert gradient.isfinite().all()
    assert gradient.any(0).sum() >= 3
    assert repr(head)


@pytest.mark.parametrize("name", POSTERIORS)
def test_detached_is_the_same_posterior_without_a_graph(name: str) -> None:
    head = POSTERIORS[name](3)
    q = head(features(head).requires_grad_())
    cut = q.detached()
    assert_equal(cut.mean, q.mean)
    torch.manual_seed(1)
    z, log_q = q.rsample_and_log_prob(2)
    torch.manual_seed(1)
    cut_z, cut_log_q = cut.rsample_and_log_prob(2)
    assert not cut_z.requires_grad
    assert not cut_log_q.requires_grad
    assert_equal(cut_z, z)
    assert_equal(cut_log_q, log_q)
    if hasattr(q, "log_prob"):
        # the path through z is left: what sticking-the-landing needs
        (by_z,) = torch.autograd.grad(cut.log_prob(z).sum(), z)
        assert by_z.abs().sum() > 0
        assert_equal(cut.log_prob(z), q.log_prob(z))


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("size", [0.0, 1e4, -1e4])
def test_float32_stays_finite_at_extremes(name: str, size: float) -> None:
    head = POSTERIORS[name](3).float()
    raw = torch.full((2, *head.in_shape), size, dtype=torch.float32, requires_grad=True)  # type: ignore[misc]
    z, log_q = head(raw).rsample_and_log_prob(100)
    assert z.dtype == log_q.dtype == torch.float32
    assert z.isfinite().all()
    assert log_q.isfinite().all()
    (gradient,) = torch.autograd.grad(z.sum() + log_q.sum(), raw)
    assert gradient.isfinite().all()


def test_rows_of_a_batch() -> None:
    head = FullGaussianHead(2)
    q = head(features(head))
    some = rows(q, torch.tensor([2, 0, 2]))
    assert_equal(some.covariance, q.covariance[[2, 0, 2]])
    assert not some.orthogonal


def test_unit_vectors_are_unit_even_of_zero() -> None:
    raw = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, -1e-9]], requires_grad=True)
    direction = unit_vector(raw)
    assert_equal(direction.norm(dim=-1), np.ones(3), **FLOAT64)
    assert_equal(direction[0], [1, 0])
    assert_equal(direction[1], [0.6, 0.8], atol=1e-6)  # nudged by 1e-6
    (gradient,) = torch.autograd.grad(direction.sum(), raw)
    assert gradient.isfinite().all()


def test_one_dimension_needs_no_mixing() -> None:
    q = FullGaussianHead(1)(torch.tensor([[0.5, 0.3]]))
    scale = math.log1p(math.exp(0.3)) + 1e-6
    assert_equal(q.log_prob(torch.tensor([[2.0]])), stats.norm(0.5, scale).logpdf([2.0]), **FLOAT64)
    assert isinstance(Deterministic(q.mean).mean, Tensor)


@pytest.mark.parametrize("name", ["householder", "planar", "iaf"])
def test_a_chain_of_no_steps_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="steps = 0: at least 1 is needed"):
        POSTERIORS[name](2, steps=0)


def test_the_exact_posterior_of_a_linear_gaussian_model_makes_every_weight_log_p() -> None:
    # W with columns aslant, so that p(z|x) = N(Σ Wᵀx/σ², Σ), Σ = (I + WᵀW/σ²)⁻¹, covaries
    sigma, weight, x = 0.6, torch.tensor([[1.0, 0.8], [0.2, 1.1], [-0.5, 0.7]]), torch.randn(4, 3)
    covariance = torch.linalg.inv(torch.eye(2) + weight.T @ weight / sigma**2)
    factor = torch.linalg.cholesky(covariance)
    scale = factor.diagonal()
    q = FullGaussian(x @ weight @ covariance / sigma**2, scale.expand(4, 2), (factor / scale).expand(4, 2, 2))
    z, log_q = q.rsample_and_log_prob(5)
    log_likelihood = distributions.Normal(z @ weight.T, sigma).log_prob(x).sum(-1)
    log_weights = log_likelihood + StandardNormal(2).log_prob(z) - log_q
    evidence = stats.multivariate_normal(np.zeros(3), weight @ weight.T + sigma**2 * torch.eye(3)).logpdf(x)
    assert_equal(log_weights, np.broadcast_to(evidence, (5, 4)), **FLOAT64)

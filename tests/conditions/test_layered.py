"""Conditions of several layers: a chain of which all is known, and a ladder against brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, distributions, nn

from elboroom.errors import UsageError
from elboroom.models import Chain, HierarchicalVAE, make_chain
from elboroom.models.conditioning import Conditioning
from elboroom.models.hierarchical import layer_log_prior
from elboroom.networks.ladder import Ladder
from elboroom.networks.ladder_parts import LadderEncoder
from elboroom.probability import GaussianHead

from .known import LAYERED, build, images, varied

# float64 rounds at 1.1e-16 relative, and sums of a few dozen terms of size up to 100 keep 1e-12 of it.
EXACT = {"rtol": 1e-12, "atol": 1e-11}
pytestmark = pytest.mark.usefixtures("float64")

# z₁ ~ N(M c, s₁² I₂), z₂ | z₁ ~ N(A z₁ + T c, S²), x | z₂ ~ N(B z₂ + V c + b, σ²). A Aᵀ and BᵀB are diagonal,
# so that p(z₂|x, c) and p(z₁|z₂, c) are diagonal too.
RNG = np.random.default_rng(11)
M, T, V = RNG.normal(size=(2, 2)), RNG.normal(size=(3, 2)), RNG.normal(size=(5, 2))
A = np.array([[1.5, 0.0], [0.0, 0.6], [0.0, 0.0]])
B = np.linalg.qr(RNG.normal(size=(5, 3)))[0] * [2.0, 0.7, 1.2]
BIAS = RNG.normal(size=5)
S1, S, SIGMA = 1.3, np.array([0.5, 0.8, 1.1]), 0.6
VARIANCE2 = S1**2 * np.diag(A @ A.T) + S**2  # of z₂ given c
CONDITIONS = RNG.normal(size=(6, 2))
WRONG = {"shift": 0.15, "widen": 1.2}


def marginal(c: np.ndarray[Any, Any]) -> Any:
    """p(x|c) of one condition (C,)."""
    mean = B @ (A @ M + T) @ c + V @ c + BIAS
    return stats.multivariate_normal(mean, B @ np.diag(VARIANCE2) @ B.T + SIGMA**2 * np.eye(5))


X = np.stack([marginal(c).rvs(random_state=i) for i, c in enumerate(CONDITIONS)])
EVIDENCE = np.array([marginal(c).logpdf(x) for x, c in zip(X, CONDITIONS, strict=True)])


def affine(weight: np.ndarray[Any, Any], bias: object, scale: object | None = None) -> nn.Linear:
    """weight·h + bias, and if it is a mean, the raw scale beside it: σ = exp(raw/2) + 1e-6."""
    if scale is not None:
        raw = np.broadcast_to(2 * np.log(np.asarray(scale) - 1e-6), len(weight))
        weight, bias = np.concatenate([weight, 0 * weight]), np.concatenate([bias, raw])  # type: ignore[list-item]
    layer = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.as_tensor(bias))
    return layer


def linear_vae(*, shift: float = 0.0, widen: float = 1.0) -> HierarchicalVAE:
    """The model above with its exact posterior, or one moved by ``shift`` and ``widen`` times as wide."""
    variance2 = 1 / (1 / VARIANCE2 + (B**2).sum(0) / SIGMA**2)
    up = (B / SIGMA**2 * variance2).T  # of x − b − V c
    from_prior = (variance2 / VARIANCE2)[:, None] * (A @ M + T)
    variance1 = 1 / (1 / S1**2 + (A**2 / S[:, None] ** 2).sum(0))
    top = (A / S[:, None] ** 2 * variance1).T  # of z₂ − T c
    told_top = variance1[:, None] * M / S1**2 - top @ T
    chain = Chain(
        (2, 3),
        [affine(np.concatenate([top, told_top], 1), np.full(2, shift), widen * variance1**0.5)],
        [affine(np.concatenate([A, T], 1), np.zeros(3), S)],
        affine(np.concatenate([B, V], 1), BIAS),
        conditioned_parts=("encoder", "decoder", "prior"),
        condition_dim=2,
    )
    conditioning = Conditioning("vectors", 2, shape=(5,))
    encoder = affine(up, shift - up @ BIAS, widen * variance2**0.5)
    prior: Any = chain.top
    with torch.no_grad():
        assert conditioning.to_input is not None
        # The encoder gets x + K c, and so K says what is taken off x and what the prior adds.
        conditioning.to_input.weight.copy_(torch.from_numpy(np.linalg.pinv(up) @ from_prior - V))
        prior.mean.weight.copy_(torch.from_numpy(M))
        prior.log_scale.bias.fill_(math.log(S1))
    likelihood = GaussianHead((5,), scale=SIGMA)
    return HierarchicalVAE(encoder, chain, shape=(5,), likelihood=likelihood, conditioning=conditioning)


def assert_close(actual: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(actual.detach(), expected, **EXACT)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_samples", [1, 3])
def test_with_the_exact_posterior_every_weight_is_the_evidence(num_samples: int) -> None:
    vae = linear_vae()
    terms = vae(torch.from_numpy(X), num_samples, CONDITIONS)
    assert_close(terms.log_weights, np.tile(EVIDENCE, (num_samples, 1)))
    assert_close(vae.nll(X, num_samples, condition=CONDITIONS).value, -EVIDENCE)
    assert_close(vae.given(CONDITIONS[2]).nll(X[2:3], num_samples).value, -EVIDENCE[2:3])


def test_a_wrong_posterior_bounds_the_evidence_and_nll_finds_it() -> None:
    vae = linear_vae(**WRONG)
    elbo = torch.stack([vae.elbo(X, 20, condition=CONDITIONS) for _ in range(100)]).mean(0)
    assert (elbo.numpy() < EVIDENCE).all()
    value, stderr, *_ = vae.nll(X, 20_000, condition=CONDITIONS)
    assert ((value + torch.from_numpy(EVIDENCE)).abs() < 5 * stderr).all()
    assert (stderr < 0.02).all()  # so that the line above says something


def test_samples_have_the_models_own_moments() -> None:
    z = linear_vae().prior.given(torch.from_numpy(CONDITIONS[:2])).sample(100_000)
    for c, drawn in zip(CONDITIONS, (z[::2], z[1::2]), strict=False):
        mean = np.concatenate([M @ c, (A @ M + T) @ c])
        exact = np.block([[S1**2 * np.eye(2), S1**2 * A.T], [S1**2 * A, S1**2 * A @ A.T + np.diag(S**2)]])
        # five standard errors, of means and covariances of numbers with variances up to 4.1
        np.testing.assert_allclose(drawn.detach().mean(0), mean, atol=5 * (4.1 / 50_000) ** 0.5)
        np.testing.assert_allclose(torch.cov(drawn.T.detach()), exact, atol=5 * 4.1 * (2 / 50_000) ** 0.5)


def test_carried_codes_keep_their_place_in_each_layer() -> None:
    vae, z = linear_vae(), torch.randn(6, 5)
    to = CONDITIONS[::-1].copy()
    moved = vae.carried(z, CONDITIONS, to).numpy()
    top, low = z[:, :2].numpy(), z[:, 2:].numpy()
    above = to @ M.T + (top - CONDITIONS @ M.T)
    below = above @ A.T + to @ T.T + (low - top @ A.T - CONDITIONS @ T.T)
    np.testing.assert_allclose(moved, np.concatenate([above, below], 1), **EXACT)  # type: ignore[arg-type]


def test_lower_layers_follow_from_what_is_given_and_the_condition() -> None:
    vae, above = linear_vae(), np.random.default_rng(0).normal(size=(6, 2))
    expected = np.concatenate([above, above @ A.T + CONDITIONS @ T.T], 1)
    assert_close(vae.complete(above, condition=CONDITIONS), expected)
    assert_close(vae.given(CONDITIONS[1]).complete(above[1:2]), expected[1:2])


# A ladder, and what holds for both


def layered(name: str, **fields: Any) -> HierarchicalVAE:
    vae = varied(build(**LAYERED[name], **fields))
    assert isinstance(vae, HierarchicalVAE)
    return vae


@pytest.mark.parametrize("name", LAYERED)
def test_one_pass_agrees_with_prior_and_decoder(name: str) -> None:
    vae, x, labels = layered(name), images().x[:4], np.array([0, 1, 1, 0])
    seen = vae.as_input(x)
    terms = vae(seen, 3, labels)
    c = vae.condition_vectors(labels, 4)
    prior = vae.prior_given(c)
    assert_close(terms.log_prior, prior.log_prob(terms.z).detach())
    assert_close(terms.log_likelihood, vae.generate(terms.z, labels).log_prob(seen).detach())
    assert_close(terms.generate(terms.z).mean, terms.likelihood.mean.detach())
    other = vae(seen, 3, 1 - labels)
    assert not torch.allclose(other.rates, terms.rates)
    one = vae.given(1)
    assert_close(one.prior.log_prob(terms.z[:, 1]), prior.log_prob(terms.z)[:, 1].detach())
    assert_close(one.embed(x), vae.embed(x, 1))


@pytest.mark.parametrize("name", LAYERED)
def test_codes_in_units_of_the_prior_and_back(name: str) -> None:
    vae = layered(name)
    hierarchy: Any = vae.decoder
    c = torch.eye(2)
    standard = torch.randn(6, vae.latent_dim)
    with torch.no_grad():
        z = hierarchy.place(standard, c)
        back, log_scale = hierarchy.standardize(z, c)
        density = distributions.Normal(0.0, 1.0).log_prob(standard) - log_scale
        expected = torch.stack([density[:, layer].sum(1) for layer in vae.layers])
        torch.testing.assert_close(back, standard, **EXACT)
        torch.testing.assert_close(layer_log_prior(hierarchy, z, c), expected, **EXACT)
        # A jacobian that is triangular, its diagonal the scales: the change of variables itself.
        jacobian: Any = torch.autograd.functional.jacobian(
            lambda s: hierarchy.place(s, c[:1])[0], standard[:1]
        )
        torch.testing.assert_close(jacobian[:, 0].logdet(), log_scale[0].sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", LAYERED)
def test_the_same_for_another_label_and_back(name: str) -> None:
    vae, x, labels = layered(name), images().x[:5], np.array([0, 1, 1, 0, 1])
    codes = vae.embed(x, labels)
    moved = vae.carried(codes, labels, 1 - labels)
    assert not torch.allclose(moved, codes)
    assert_close(vae.carried(moved, 1 - labels, labels), codes)
    assert_close(vae.carried(codes, labels, labels), codes)


@pytest.mark.parametrize("name", LAYERED)
def test_only_the_parts_that_are_named_are_told(name: str) -> None:
    x = images().x[:2]
    for parts in [("encoder",), ("decoder", "prior")]:
        vae = layered(name, condition_parts=parts)
        z = torch.zeros(1, vae.latent_dim)
        assert torch.equal(vae.decode(z, 0).mean, vae.decode(z, 1).mean) is ("decoder" not in parts)
        assert hasattr(vae.prior, "given") is ("prior" in parts)
        told = "encoder" in parts or name == "ladder"  # whose posterior is seen from its prior
        assert torch.allclose(vae.embed(x, 0), vae.embed(x, 1)) is not told


def test_nll_of_a_ladder_finds_the_evidence_of_a_brute_force_integral() -> None:
    """Two layers of one number each on a 1×1 grid: log ∫ p(z|c) p(x|z, c) dz by the trapezoidal rule."""
    shape = (2, 2, 1)
    fields = {"levels": 1, "width": 4}
    vae = HierarchicalVAE(
        LadderEncoder(shape, **fields),
        Ladder(shape, layers=(2,), z_channels=1, condition_dim=3, **fields),
        shape=shape,
        conditioning=Conditioning("vectors", 3, shape=shape),
    )
    hierarchy: Any = vae.decoder
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    x, c = torch.bernoulli(torch.full((4, *shape), 0.4)), torch.randn(4, 3)
    line = torch.linspace(-7, 7, 141)
    standard = torch.cartesian_prod(line, line)
    density = distributions.Normal(0.0, 1.0).log_prob(standard).sum(1) + 2 * math.log(14 / 140)
    exact = []
    for one, told in zip(x, c, strict=True):
        with torch.no_grad():
            z = hierarchy.place(standard, told[None])
            exact.append(torch.logsumexp(density + vae.decode(z, told).log_prob(one[None]), 0))
    value, stderr, *_ = vae.nll(x, 5000, condition=c)
    # the rule itself is exact to far below 1e-6 for smooth integrands that vanish at the ends
    assert ((value + torch.stack(exact)).abs() < 5 * stderr + 1e-6).all()
    assert (value + torch.stack(exact).flip(0)).abs().max() > 0.05  # so that conditions matter


@pytest.mark.parametrize("name", LAYERED)
def test_it_starts_as_if_it_were_told_nothing(name: str) -> None:
    vae, x = build(**LAYERED[name]), images().x[:3]
    top = vae.layers[-1] if name == "chain" else slice(None)  # the networks above it read c beside z
    assert torch.equal(vae.embed(x, 0)[:, top], vae.embed(x, 1)[:, top])
    assert torch.equal(vae.complete(torch.zeros(1, 0), condition=0)[:, :2], torch.zeros(1, 2))


def test_parts_that_do_not_fit_are_refused() -> None:
    told = Conditioning("labels", 2, shape=(8, 8, 1))
    with pytest.raises(UsageError, match=r"made with a condition for neither .* for decoder and prior; make"):
        HierarchicalVAE(
            LadderEncoder((8, 8, 1), width=4), Ladder((8, 8, 1), width=4), shape=(8, 8, 1), conditioning=told
        )
    vae = make_chain((4,), latent_dims=(2, 3), hidden=[[8], [8]])
    with pytest.raises(UsageError, match="takes no condition"):
        vae.complete(torch.zeros(1, 2), condition=1)

"""A two-layer linear-Gaussian chain, of which everything is known exactly; and the nets of the IWAE paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models import Chain, HierarchicalVAE, make_chain
from elboroom.probability import GaussianHead

# float64 rounds at 1.1e-16 relative; sums of a few dozen terms of size up to 100, with two digits to spare.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-12}

# z₁ ~ N(0, I₂), z₂ | z₁ ~ N(A z₁, s² I₃), x | z₂ ~ N(B z₂ + c, σ² I₅). A Aᵀ, AᵀA and BᵀB are diagonal, so
# that p(z₂|x) and p(z₁|z₂) are diagonal too; and p(z₁, z₂|x) = p(z₂|x) p(z₁|z₂), as the chain infers.
A = np.array([[1.5, 0.0], [0.0, 0.6], [0.0, 0.0]])
S = np.array([0.5, 0.8, 1.1])
B = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 3)))[0] * [2.0, 0.7, 1.2]
C = np.random.default_rng(4).normal(size=5)
SIGMA = 0.6
VARIANCE2 = np.diag(A @ A.T) + S**2  # of z₂
EVIDENCE = stats.multivariate_normal(C, B @ np.diag(VARIANCE2) @ B.T + SIGMA**2 * np.eye(5))


def x_of(n: int) -> Tensor:
    return torch.from_numpy(np.reshape(EVIDENCE.rvs(n, random_state=5), (n, -1)))


def evidence(x: Tensor) -> Tensor:
    return torch.from_numpy(np.atleast_1d(EVIDENCE.logpdf(x.numpy())))


def affine(weight: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> nn.Linear:
    """Mean weight·h + bias and the raw scale that the head turns into ``scale``: σ = exp(raw/2) + 1e-6."""
    raw = 2 * np.log(scale - 1e-6)
    layer = nn.Linear(weight.shape[1], 2 * len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.concatenate([weight, np.zeros_like(weight)])))
        layer.bias.copy_(torch.from_numpy(np.concatenate([bias, raw])))
    return layer


def linear_vae(*, shift: float = 0.0, widen: float = 1.0) -> HierarchicalVAE:
    """The model above with its exact posterior, or one moved by ``shift`` and ``widen`` times as wide."""
    scale2 = (1 / VARIANCE2 + (B**2).sum(0) / SIGMA**2) ** -0.5
    up = (B / SIGMA**2 * scale2**2).T
    scale1 = (1 + (A**2 / S[:, None] ** 2).sum(0)) ** -0.5
    top = (A / S[:, None] ** 2 * scale1**2).T
    decoder = nn.Linear(3, 5)
    with torch.no_grad():
        decoder.weight.copy_(torch.from_numpy(B))
        decoder.bias.copy_(torch.from_numpy(C))
    chain = Chain(
        (2, 3),
        [affine(top, np.full(2, shift), widen * scale1)],
        [affine(A, np.zeros(3), S)],
        decoder,
    )
    encoder = affine(up, shift - up @ C, widen * scale2)
    return HierarchicalVAE(encoder, chain, shape=(5,), likelihood=GaussianHead((5,), scale=SIGMA))


WRONG = {"shift": 0.15, "widen": 1.2}


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """Five standard errors: passed by chance once in 1.7 million comparisons."""
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_samples", [1, 3])
def test_with_the_exact_posterior_every_weight_is_the_evidence(num_samples: int) -> None:
    vae, x = linear_vae(), x_of(7)
    terms = vae(x, num_samples)
    torch.testing.assert_close(terms.log_weights, evidence(x).expand(num_samples, 7), **FLOAT64)
    nll = vae.nll(x, num_samples)
    torch.testing.assert_close(nll.value, -evidence(x), **FLOAT64)


@pytest.mark.usefixtures("float64")
def test_the_elbo_is_the_evidence_less_the_divergence() -> None:
    x = x_of(4)
    exact = torch.stack([linear_vae().elbo(x, 20) for _ in range(200)])
    assert_mean(exact, evidence(x))
    # KL(q ‖ p(z|x)) = KL of the lower layer + E KL of the upper, each of normals with the same means but for
    # the shift; the upper's means are exact given z₂, so it is the same for every z₂
    scale2 = (1 / VARIANCE2 + (B**2).sum(0) / SIGMA**2) ** -0.5
    scale1 = (1 + (A**2 / S[:, None] ** 2).sum(0)) ** -0.5
    scale = np.concatenate([scale1, scale2])
    ratio, moved = WRONG["widen"], WRONG["shift"] / scale
    gap = (0.5 * (ratio**2 + moved**2 - 1) - math.log(ratio)).sum()
    vae = linear_vae(**WRONG)
    elbo = torch.stack([vae.elbo(x, 20) for _ in range(200)])
    assert_mean(elbo, evidence(x) - gap)
    assert (elbo.mean(0) < evidence(x)).all()


@pytest.mark.usefixtures("float64")
def test_the_importance_estimate_converges_to_the_evidence() -> None:
    x, vae = x_of(5), linear_vae(**WRONG)
    value, stderr, *_ = vae.nll(x, 20_000)
    assert ((value + evidence(x)).abs() < 5 * stderr).all()
    assert (stderr < 0.02).all()
    # and is a bound that tightens with k, in mean over 2,000 estimates
    copies = x[:1].repeat(2000, 1)
    one, eight = (-vae.nll(copies, k).value.mean() for k in (1, 8))
    assert one < eight < evidence(x[:1]).item()


@pytest.mark.usefixtures("float64")
def test_rates_are_of_layers_and_add_up() -> None:
    """I(x; z) by layers for the exact posterior: each rate against its Gaussian form, by hand."""
    vae, x = linear_vae(), x_of(3)
    terms = vae(x, 20_000)
    assert terms.rates.shape == (2, 3)
    torch.testing.assert_close(terms.rates.sum(0), terms.rate, **FLOAT64)
    distortion = -terms.log_likelihood
    assert_mean(distortion + terms.rate, -evidence(x))
    # the top: E over z₂ ~ q(z₂|x) of ½ Σ(μ₁(z₂)² + σ₁² − 1 − log σ₁²)
    scale1 = (1 + (A**2 / S[:, None] ** 2).sum(0)) ** -0.5
    scale2 = (1 / VARIANCE2 + (B**2).sum(0) / SIGMA**2) ** -0.5
    top = (A / S[:, None] ** 2 * scale1**2).T
    mean2 = (x.numpy() - C) @ (B / SIGMA**2 * scale2**2)
    squares = (mean2 @ top.T) ** 2 + (top**2 * scale2**2).sum(1)
    expected = 0.5 * (squares + scale1**2 - 1 - 2 * np.log(scale1)).sum(1)
    # 20,000 draws; the closed form given z₂ leaves a relative noise well below 5 %
    np.testing.assert_allclose(terms.rates[0].detach(), expected, rtol=0.05)


@pytest.mark.usefixtures("float64")
def test_samples_have_the_models_own_moments() -> None:
    vae = linear_vae()
    z = vae.prior.sample(50_000).detach()
    covariance = torch.cov(z.T)
    exact = np.block([[np.eye(2), A.T], [A, A @ A.T + np.diag(S**2)]])
    # 5 standard errors of a covariance of numbers with variances up to 2.5
    np.testing.assert_allclose(covariance, exact, atol=5 * 2.5 * 2**0.5 / 50_000**0.5)
    joint = stats.multivariate_normal(np.zeros(5), exact)
    np.testing.assert_allclose(vae.prior.log_prob(z[:50]).detach(), joint.logpdf(z[:50]), rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_lower_layers_follow_from_what_is_given() -> None:
    vae = linear_vae()
    above = torch.randn(6, 2)
    z = vae.complete(above)
    torch.testing.assert_close(z[:, vae.layers[0]], above)
    np.testing.assert_allclose(z[:, vae.layers[1]], above @ torch.from_numpy(A).T, rtol=1e-12)
    drawn = vae.complete(above.repeat(5000, 1)[:, :2], temperature=1.0)[:, vae.layers[1]]
    spread = (drawn.reshape(5000, 6, 3) - z[:, vae.layers[1]]).std((0, 1))
    np.testing.assert_allclose(spread, S, rtol=5 / (2 * 30_000) ** 0.5)
    assert vae.complete(torch.zeros(3, 0)).abs().sum() == 0
    with pytest.raises(UsageError, match=r"got upper layers of shape \(6, 1\).* 0, 2 or 5"):
        vae.complete(above[:, :1])


def test_the_nets_are_those_of_the_paper() -> None:
    vae = make_chain((784,))

    def widths(net: nn.Module) -> list[int]:
        return [layer.out_features for layer in net if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]

    chain = vae.decoder
    assert isinstance(chain, Chain)
    assert widths(vae.encoder) == [200, 200, 200]  # two hidden layers, and mean and scale of 100
    assert widths(chain.inference[0]) == [100, 100, 100]  # … and of 50
    assert widths(chain.generation[0]) == [100, 100, 200]
    assert widths(chain.decoder) == [200, 200, 784]
    assert vae.latent_dim == 150


@pytest.mark.parametrize("latent_dims", [(3,), (2, 3), (2, 3, 4)], ids=str)
def test_every_use_of_a_vae(latent_dims: tuple[int, ...]) -> None:
    vae = make_chain((4, 2, 1), latent_dims=latent_dims, hidden=[[8]] * len(latent_dims))
    x = torch.rand(5, 4, 2, 1)
    terms = vae(x, 6)
    assert terms.z.shape == (6, 5, sum(latent_dims))
    assert terms.rates.shape == (len(latent_dims), 5)
    torch.testing.assert_close(terms.log_prior, vae.prior.log_prob(terms.z), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(terms.log_likelihood, vae.generate(terms.z).log_prob(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(vae.embed(x), vae.embed(x))
    assert vae.reconstruct(x).shape == x.shape
    assert vae.sample(3).shape == (3, 4, 2, 1)
    assert vae.interpolate(x[0], x[1], 4).shape == (4, 4, 2, 1)
    assert vae.nll(x, 50).value.shape == (5,)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="one list of widths for each of the 2"):
        make_chain((4,), latent_dims=(2, 3), hidden=[[8]])
    with pytest.raises(UsageError, match="for 3 layers; give 2 of each"):
        Chain((1, 2, 3), [], [], nn.Identity())

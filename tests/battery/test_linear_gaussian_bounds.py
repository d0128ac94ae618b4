"""Every bound, posterior and prior beside the exact log p(x) of a decoder x = W z + b + σ noise."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from elboroom.config import ObjectiveConfig
from elboroom.config.bounds import BOUNDS as ROWS
from elboroom.config.fitting import HAVE
from elboroom.config.posteriors import posteriors_with
from elboroom.config.priors import priors_for
from elboroom.models.chain import make_chain
from elboroom.models.vae import VAE
from elboroom.objectives import choice
from elboroom.probability import LIKELIHOODS, POSTERIORS, PRIORS
from elboroom.probability.choice import CODE_PRIORS, QUANTIZERS

from .combinations import few_samples

_KNOWN = Path(__file__).parents[1] / "core" / "known.py"
_SPEC = importlib.util.spec_from_file_location("elboroom_battery_known", _KNOWN)
assert _SPEC is not None
assert _SPEC.loader is not None
known = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = known  # where dataclasses looks
_SPEC.loader.exec_module(known)

D, d = 6, 2
WEIGHTS, COPIES, SAMPLES = 10_000, 1000, 4
PAIRS = [(posterior, prior) for posterior in posteriors_with("noise") for prior in priors_for(posterior)]
each_pair = pytest.mark.parametrize(("posterior", "prior"), PAIRS)


@pytest.fixture(autouse=True)
def _double_and_seeded() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        yield
    torch.set_default_dtype(before)


TRUTH = known.LinearGaussian.example()
X = torch.from_numpy(TRUTH.observe(1))


@cache
def compose(posterior: str, prior: str) -> tuple[VAE, float]:
    """The truth's decoder, another prior, and log p(x); the posterior is near the truth's, and wider."""
    near = TRUTH.vae(shift=0.2, widen=1.6)
    head: Any = POSTERIORS[posterior](d)
    encoder = nn.Linear(D, math.prod(head.in_shape))
    with torch.no_grad():
        encoder.weight.mul_(0.1)
        encoder.bias.normal_(0, 0.15)
        if posterior != "power_spherical":  # first the mean and scale of a Gaussian, then how it is bent
            encoder.weight[: 2 * d] = near.encoder.weight
            encoder.bias[: 2 * d] = near.encoder.bias
    sizes: dict[str, dict[str, Any]] = {"mixture": {"components": 3}}
    sizes["vamp"] = {"components": 3, "shape": (D,)}
    made = PRIORS[prior](d, **sizes.get(prior, {}))
    likelihood = LIKELIHOODS["gaussian"]((D,), scale=TRUTH.sigma)
    parts: dict[str, Any] = {"posterior": head, "likelihood": likelihood}
    vae = VAE(encoder, near.decoder, made, shape=(D,), **parts).double()
    with torch.no_grad():  # flows start as nothing; no part stays at its start
        for part in (made, head):
            for weight in part.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return vae, evidence(vae, posterior, prior)


def decoded(mean: Tensor, covariance: Tensor) -> Any:
    """p(x) where z is a Gaussian, (..., D)."""
    weight, bias = torch.from_numpy(TRUTH.weight), torch.from_numpy(TRUTH.bias)
    noise = TRUTH.sigma**2 * torch.eye(D)
    return MultivariateNormal(mean @ weight.T + bias, weight @ covariance @ weight.T + noise)


def at_codes(z: Tensor) -> Tensor:
    """Log p(x|z) of codes (n, d), (n,)."""
    weight, bias = torch.from_numpy(TRUTH.weight), torch.from_numpy(TRUTH.bias)
    p: Any = MultivariateNormal(z @ weight.T + bias, TRUTH.sigma**2 * torch.eye(D))
    return p.log_prob(X)


def evidence(vae: VAE, posterior: str, prior: str) -> float:
    """log p(x): in closed form for Gaussians and mixtures of them, else by a sum over a grid of codes."""
    if prior == "normal":
        return float(TRUTH.marginal.logpdf(X.numpy()))
    if prior in ("mixture", "vamp") and posterior != "power_spherical":
        mixture = vae.prior.mixture()
        one = mixture.components
        covariance = torch.diag_embed(one.variance) if not hasattr(one, "covariance") else one.covariance
        shares = Categorical(logits=mixture.log_weights)
        whole: Any = MixtureSameFamily(shares, decoded(one.mean, covariance))
        return float(whole.log_prob(X))
    if prior in ("sphere", "vamp"):  # around the circle a sum converges faster than any power of its steps
        angles = torch.arange(2000) * (2 * math.pi / 2000)
        z, cell = torch.stack([angles.cos(), angles.sin()], -1), math.log(2 * math.pi / 2000)
    else:  # a spline's density is continuous, with kinks in its slope: the sum's error is below 1e-3
        axis = torch.linspace(-6, 6, 121)
        z, cell = torch.cartesian_prod(axis, axis), 2 * math.log(12 / 120)
    return float(torch.logsumexp(at_codes(z) + vae.prior.log_prob(z), 0) + cell)


def bounds_for(posterior: str) -> list[str]:
    """Names of those that fit; where beta weighs something else than the rate, log p(x) is not bounded."""
    return [
        name
        for name, row in ROWS.items()
        if row.beta_weighs == "the rate" and (row.need is None or posterior in HAVE[row.need])
    ]


def bound_of(name: str) -> Callable[..., Tensor]:
    return choice.BOUNDS[name](ObjectiveConfig(bound=name, **few_samples(name)), 1)


@each_pair
@torch.no_grad()
def test_importance_weights_have_the_evidence_as_their_mean(posterior: str, prior: str) -> None:
    """E_q[w] = p(x) to the noise, on either side: a wrong density of q or p shifts it."""
    vae, exact = compose(posterior, prior)
    weights = (vae(X, WEIGHTS).log_weights - exact).exp()
    known.assert_mean(weights, np.ones(1))
    assert weights.std() < 10  # else the noise could not be trusted


@each_pair
@torch.no_grad()
def test_no_bound_exceeds_the_evidence(posterior: str, prior: str) -> None:
    vae, exact = compose(posterior, prior)
    for name in bounds_for(posterior):
        terms = vae(X.expand(COPIES, D), SAMPLES)
        drawn = bound_of(name)(terms, torch.tensor(1.0))
        error = float(drawn.std()) / COPIES**0.5
        assert drawn.mean().item() <= exact + 5 * error, name
        assert drawn.mean().item() > exact - 30, name  # near enough to mean something


@pytest.mark.parametrize("prior", ["uniform", "autoregressive"])
@pytest.mark.parametrize("quantizer", ["vq", "fsq"])
@torch.no_grad()
def test_the_elbo_of_a_quantiser_is_below_the_sum_over_its_codes(quantizer: str, prior: str) -> None:
    options: dict[str, Any] = {"codebook_size": 5} if quantizer == "vq" else {"levels": (3,)}
    head: Any = QUANTIZERS[quantizer]((2, 1), **options)
    made: Any = CODE_PRIORS[prior](head)
    near = TRUTH.vae()
    encoder = nn.Sequential(nn.Linear(D, 2), nn.Unflatten(1, (2, 1)))
    likelihood = LIKELIHOODS["gaussian"]((D,), scale=TRUTH.sigma)
    parts: dict[str, Any] = {"posterior": head, "likelihood": likelihood}
    vae = VAE(encoder, near.decoder, made, shape=(D,), **parts).double().eval()
    entries = torch.arange(head.codebook_size)
    indices = torch.cartesian_prod(entries, entries)
    log_prior = made.log_prob(head.codes_of(indices))
    assert float(torch.logsumexp(log_prior, 0)) == pytest.approx(0, abs=1e-6)  # codebooks are float32
    exact = torch.logsumexp(at_codes(head.codes_of(indices).double()) + log_prior, 0)
    assert vae.elbo(X).item() < float(exact)


@torch.no_grad()
def test_a_chain_of_linear_layers_has_its_evidence_as_the_mean_weight() -> None:
    """With scales that depend on nothing, x is a Gaussian."""
    likelihood: Any = LIKELIHOODS["gaussian"]((D,), scale=0.6)
    vae = make_chain((D,), latent_dims=(1, d), hidden=((), ()), likelihood=likelihood).double()
    chain: Any = vae.decoder
    layers = (chain.generation[0], chain.decoder)
    down, out = (next(m for m in net.modules() if isinstance(m, nn.Linear)) for net in layers)
    down.weight[d:] = 0
    scale = chain.heads[1](torch.cat([torch.zeros(d), down.bias[d:]])[None]).scale[0]
    between = down.weight[:d] @ down.weight[:d].T + torch.diag(scale**2)
    mean = out.weight @ down.bias[:d] + out.bias
    marginal: Any = MultivariateNormal(mean, out.weight @ between @ out.weight.T + 0.36 * torch.eye(D))
    exact = marginal.log_prob(X)
    known.assert_mean((vae(X, WEIGHTS).log_weights - exact).exp(), np.ones(1))
    for name in bounds_for("chain"):
        drawn = bound_of(name)(vae(X.expand(COPIES, D), SAMPLES), torch.tensor(1.0))
        assert drawn.mean().item() <= float(exact) + 5 * float(drawn.std()) / COPIES**0.5, name

"""What one does with a VAE, how it is built and the terms it yields."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import distributions, nn

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, StandardNormal

from .known import FLOAT32, FLOAT64, assert_equal
from .uses import each_shape, small

# Deterministic codes and pictures


@each_shape
def test_embed_is_the_posterior_mean_at_every_call(shape: tuple[int, ...]) -> None:
    vae, x = small(shape), torch.rand(4, *shape)
    assert_equal(vae.embed(x), vae.encode(x).mean)
    assert_equal(vae.embed(x), vae.embed(x))
    assert vae.embed(x).shape == (4, 3)


@each_shape
def test_reconstruct_decodes_the_embedding(shape: tuple[int, ...]) -> None:
    vae, x = small(shape), torch.rand(4, *shape)
    assert_equal(vae.reconstruct(x), vae.decode(vae.embed(x)).mean)
    assert vae.reconstruct(x).shape == (4, *shape)


@each_shape
@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.usefixtures("float64")  # an untrained model's pictures differ by little
def test_interpolation_ends_at_the_reconstructions(shape: tuple[int, ...], steps: int) -> None:
    vae, x = small(shape), torch.rand(2, *shape)
    path = vae.interpolate(x[0], x[1], steps)
    assert path.shape == (steps, *shape)
    assert_equal(path[[0, -1]], vae.reconstruct(x), **FLOAT64)


@pytest.mark.usefixtures("float64")
def test_interpolation_is_straight_in_codes() -> None:
    vae, x = small(), torch.rand(2, 5, 3, 1)
    a, b = vae.embed(x)
    path = vae.interpolate(x[0], x[1], 5)
    assert_equal(path[2], vae.decode((a + b) / 2).mean, **FLOAT64)
    assert_equal(path[1], vae.decode(0.75 * a + 0.25 * b).mean, **FLOAT64)


@pytest.mark.parametrize("leading", [(), (2,), (2, 4)], ids=str)
def test_decode_takes_codes_of_any_leading_shape(leading: tuple[int, ...]) -> None:
    vae, z = small(), torch.randn(*leading, 3)
    mean = vae.decode(z).mean
    one_by_one = torch.stack([vae.decode(code).mean for code in z.reshape(-1, 3)])
    assert_equal(mean, one_by_one.reshape(*leading, 5, 3, 1), **FLOAT32)


# Samples


@each_shape
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("observe", [False, True])
def test_samples_have_the_shape_of_the_data(shape: tuple[int, ...], likelihood: str, observe: bool) -> None:
    vae = small(shape, likelihood=likelihood)
    assert vae.sample(0, observe=observe).shape == (0, *shape)
    assert vae.sample(3, observe=observe).shape == (3, *shape)


def test_a_bernoulli_is_observed_as_zeros_and_ones() -> None:
    vae = small()
    assert set(vae.sample(20, observe=True).unique().tolist()) == {0.0, 1.0}
    means = vae.sample(20)
    assert ((means > 0) & (means < 1)).all()


def test_samples_are_decoded_draws_from_the_prior() -> None:
    vae = small()
    torch.manual_seed(1)
    pictures = vae.sample(4)
    torch.manual_seed(1)
    assert_equal(pictures, vae.decode(vae.prior.sample(4)).mean)


def test_observing_adds_the_likelihoods_noise() -> None:
    vae = small((2000,), likelihood="gaussian", likelihood_scale=0.3)
    torch.manual_seed(1)
    pictures = vae.sample(50)
    torch.manual_seed(1)
    noise = vae.sample(50, observe=True) - pictures
    # 1e5 draws: the relative error of a standard deviation is 1/√2e5 = 0.22 %, five times that
    assert noise.std().item() == pytest.approx(0.3, rel=0.011)


# Terms


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.usefixtures("float64")
def test_terms_are_what_torchs_distributions_say(likelihood: str) -> None:
    vae, x = small(likelihood=likelihood), torch.bernoulli(torch.full((4, 5, 3, 1), 0.5))
    terms = vae(x, num_samples=3)
    mean, raw = vae.encoder(x).chunk(2, -1)
    q = distributions.Normal(mean, nn.functional.softplus(raw) + 1e-6)
    p = distributions.Normal(torch.zeros(3), 1.0)
    out = vae.decoder(terms.z.reshape(12, 3)).reshape(3, 4, 5, 3, 1)
    of_x = (
        distributions.Bernoulli(logits=out)
        if likelihood == "bernoulli"
        else distributions.Normal(out, 0.5**0.5)
    )
    log_likelihood = of_x.log_prob(x).sum((2, 3, 4))
    rate = distributions.kl_divergence(q, p).sum(-1)
    assert_equal(terms.log_likelihood, log_likelihood, **FLOAT64)
    assert_equal(terms.log_q, q.log_prob(terms.z).sum(-1), **FLOAT64)
    assert_equal(terms.rate, rate, **FLOAT64)
    assert_equal(terms.distortion, -log_likelihood.mean(0), **FLOAT64)
    weights = log_likelihood + p.log_prob(terms.z).sum(-1) - q.log_prob(terms.z).sum(-1)
    assert_equal(terms.log_weights, weights, **FLOAT64)
    assert terms.log_weights is terms.log_weights  # computed once
    assert terms.distortion is terms.distortion


def test_terms_are_differentiable_in_every_parameter() -> None:
    vae = small(likelihood="gaussian", learn_scale=True)
    terms = vae(torch.rand(4, 5, 3, 1), 2)
    (terms.distortion + terms.rate).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in vae.parameters())
    assert all(p.grad.abs().sum() > 0 for p in vae.parameters() if p.grad is not None)


def test_elbo_is_minus_distortion_minus_rate() -> None:
    vae, x = small(), torch.rand(4, 5, 3, 1)
    torch.manual_seed(1)
    elbo = vae.elbo(x, 3)
    torch.manual_seed(1)
    terms = vae(x, 3)
    assert_equal(elbo, -(terms.distortion + terms.rate))


# Building


def test_build_is_the_composition_that_it_says() -> None:
    vae = VAE.build(shape=(4, 3, 1), hidden=[8, 5], latent_dim=2)
    assert [tuple(p.shape) for p in vae.encoder.parameters()] == [(8, 12), (8,), (5, 8), (5,), (4, 5), (4,)]
    assert [tuple(p.shape) for p in vae.decoder.parameters()] == [(5, 2), (5,), (8, 5), (8,), (12, 8), (12,)]
    assert isinstance(vae.prior, StandardNormal)
    assert isinstance(vae.posterior, DiagonalGaussianHead)


@pytest.mark.parametrize(("decoder_hidden", "widths"), [(None, [5, 8]), ([7], [7]), ([], [])])
def test_the_decoder_mirrors_the_encoder_unless_told(decoder_hidden: Any, widths: list[int]) -> None:
    vae = VAE.build(shape=(6,), hidden=[8, 5], decoder_hidden=decoder_hidden)
    assert [m.out_features for m in vae.decoder if isinstance(m, nn.Linear)] == [*widths, 6]


def test_build_hands_every_field_to_its_part() -> None:
    vae = VAE.build(
        shape=(6,),
        latent_dim=3,
        scale=16,
        activation="tanh",
        normalization="layer",
        posterior_scale="exp",
        likelihood="gaussian",
        likelihood_scale=0.2,
        output="sigmoid",
    )
    for net in (vae.encoder, vae.decoder):
        assert sum(isinstance(m, nn.Tanh) for m in net) == sum(isinstance(m, nn.LayerNorm) for m in net) == 2
    assert (vae.scale, vae.latent_dim, vae.posterior.scale, vae.likelihood.mean) == (16, 3, "exp", "sigmoid")
    assert_equal(vae.likelihood.log_scale.exp(), 0.2, **FLOAT32)


def test_the_configuration_rebuilds_the_model() -> None:
    vae = VAE.build(shape=(6,), hidden=[5], normalization="batch")
    again = VAE.build(vae.config)
    again.load_state_dict(vae.state_dict())
    x = torch.rand(3, 6)
    assert again.config == vae.config
    assert vae.config is not None
    assert vae.config.scale == 255
    assert_equal(again.embed(x), vae.embed(x))
    assert VAE.build(vae.config, latent_dim=5).latent_dim == 5


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "shape is not set"),
        ({"shape": (3,), "laten_dim": 4}, "did you mean 'latent_dim'?"),
        ({"shape": (3, 0)}, "shape = 0"),
    ],
)
def test_what_cannot_be_built_is_an_error(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        VAE.build(**fields)
    assert text in str(error.value)

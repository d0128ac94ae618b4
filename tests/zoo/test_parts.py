"""A configuration reaches its parts; what one does with a model fits where its codes are."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from elboroom import pictures
from elboroom.config import ModelConfig
from elboroom.config.bounds import BOUNDS as BOUND_ROWS
from elboroom.config.model import LikelihoodName, PosteriorName, PriorName
from elboroom.config.penalties import PENALTIES as PENALTY_ROWS
from elboroom.latent import arrays, paths, targets
from elboroom.models.vae import VAE
from elboroom.objectives.choice import BOUNDS, PENALTIES
from elboroom.probability import LIKELIHOODS, POSTERIORS, PRIORS
from elboroom.probability.choice import CODE_PRIORS, QUANTIZERS

from .small import build, images, small


def test_every_name_has_its_part_and_every_part_a_name() -> None:
    assert set(get_args(LikelihoodName)) == {"auto", *LIKELIHOODS}
    assert set(get_args(PosteriorName)) == {*POSTERIORS, *QUANTIZERS}
    assert set(get_args(PriorName)) == {"auto", *PRIORS, *CODE_PRIORS}
    assert {*BOUND_ROWS} == {*BOUNDS}
    assert {*PENALTY_ROWS} == {*PENALTIES}


OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("likelihood", {"likelihood": "student_t", "df": 3.0, "learn_df": True}, {"df": 3.0}),
    ("likelihood", {"likelihood": "laplace", "learn_scale": "pixel"}, {"learn_scale": "pixel"}),
    ("likelihood", {"likelihood": "gaussian", "likelihood_scale": 0.2, "output": "sigmoid"}, {"start": 0.2}),
    ("likelihood", {"likelihood": "categorical", "levels": 16}, {"levels": 16}),
    ("likelihood", {"likelihood": "discretized_logistic", "levels": 16, "mixtures": 3}, {"mixtures": 3}),
    ("likelihood", {"likelihood": "negative_binomial", "dispersion": "network"}, {"dispersion": "network"}),
    ("likelihood", {"likelihood": "zero_inflated_negative_binomial"}, {"zero_inflated": True}),
    ("posterior", {"posterior": "householder", "posterior_steps": 3}, {"steps": 3}),
    ("posterior", {"posterior": "planar"}, {"steps": 8}),
    ("posterior", {"posterior": "iaf", "posterior_context": 5}, {"in_shape": (2 * 2 + 5,)}),
    (
        "posterior",
        {"posterior": "vq", "code_grid": (3, 4), "code_channels": 5, "codebook_size": 7, "codebook_depth": 2},
        {"in_shape": (3, 4, 5), "codebook_size": 7, "num_indices": 24, "latent_dim": 60, "commitment": 1.0},
    ),
    ("posterior", {"posterior": "fsq", "code_grid": (3,), "fsq_levels": (5, 3)}, {"in_shape": (3, 2)}),
    ("prior", {"prior": "flow", "prior_steps": 2, "prior_hidden": (8,)}, {"latent_dim": 2}),
    ("prior", {"posterior": "fsq", "prior": "autoregressive"}, {"latent_dim": 64}),
]


@pytest.mark.parametrize(("part", "fields", "expected"), OPTIONS, ids=lambda value: str(value)[:40])
def test_build_hands_every_option_to_its_part(
    part: str, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    vae = VAE.build(shape=(6,), hidden=(8,), **fields)
    made = getattr(vae, part)
    assert {name: getattr(made, name) for name in expected} == expected
    assert vae.sample(2).shape == (2, 6)


def test_mixtures_and_pseudo_inputs_are_as_many_as_asked() -> None:
    assert len(VAE.build(shape=(6,), prior="mixture", prior_components=4).prior.logits) == 4
    assert len(VAE.build(shape=(6,), prior="mixture").prior.logits) == 10
    vamp = VAE.build(shape=(6,), prior="vamp", prior_components=4, likelihood="gaussian").prior
    assert (vamp.raw_inputs.shape, vamp.support) == ((4, 6), None)
    counts = VAE.build(shape=(6,), prior="vamp", prior_components=4, likelihood="poisson")
    assert torch.isfinite(counts.prior.pseudo_inputs).all()


def test_a_vamp_prior_is_bound_to_the_models_own_encoder_and_kept_once() -> None:
    vae = VAE.build(shape=(6,), hidden=(8,), prior="vamp", prior_components=4)
    assert [name for name in vae.state_dict() if name.startswith("prior")] == ["prior.raw_inputs"]
    z = torch.randn(3, 2)
    components = vae.infer(vae.prior.pseudo_inputs)
    by_hand = torch.stack([components.log_prob(one) for one in z]).exp().mean(1).log()
    torch.testing.assert_close(vae.prior.log_prob(z), by_hand)


def test_the_vamp_priors_inputs_are_encoded_once_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, seen = build(small("vamp")), []
    infer = vae.infer
    vae.prior.bind(lambda x: seen.append(len(x)) or infer(x))  # type: ignore[func-returns-value]
    terms = vae(torch.rand(3, 12, 12, 1), 4)
    _ = terms.rate, terms.log_weights
    assert seen == [5]
    vae.nll(images(3), 50)
    assert seen == [5, 5]


def test_the_decoder_of_rae_sn_does_not_stretch() -> None:
    """A trained one's power iteration has converged: no two codes are decoded farther apart than they are."""
    vae = VAE.build(shape=(6,), hidden=(8,), decoder_norm="spectral", activation="identity")
    vae.train()
    z = torch.randn(20, 2)
    for _ in range(200):
        vae.decoder(z)
    vae.eval()
    with torch.no_grad():
        out = vae.decoder(z)
    assert (torch.cdist(out, out) <= torch.cdist(z, z) * (1 + 1e-4)).all()  # converged up to 1e-4
    assert "decoder.0.parametrizations.weight.original" in vae.state_dict()


# Codes on a sphere


@pytest.fixture
def spherical() -> VAE:
    return build(small("svae"))


def test_codes_stay_on_the_sphere(spherical: VAE) -> None:
    x = images(2)
    ends = spherical.embed(x)
    torch.testing.assert_close(ends.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(spherical.decode(3 * ends).mean, spherical.decode(ends).mean)
    middle = torch.nn.functional.normalize(ends.mean(0), dim=0)
    torch.testing.assert_close(spherical.interpolate(x[0], x[1], 3)[1], spherical.decode(middle).mean)
    refined = targets.refine(spherical, x, steps=5)
    torch.testing.assert_close(refined.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("name", ["linear", "spherical", "dense"])
@pytest.mark.parametrize("prior", ["sphere", "vamp"])
def test_walks_stay_on_the_sphere(name: str, prior: str) -> None:
    less = {"prior_components": 3} if prior == "vamp" else {}
    vae = build(small("svae", prior=prior, **less))
    a, b = vae.embed(images(2))
    path = paths.PATHS[name](vae.prior, lambda: np.zeros((2, 3)))(a, b, 7)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(7))
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)


def test_walks_elsewhere_are_as_they_were() -> None:
    vae = VAE.build(shape=(6,), hidden=(4,))
    a, b = torch.zeros(2), torch.ones(2)
    assert torch.equal(paths.PATHS["linear"](vae.prior, lambda: a)(a, b, 5), paths.linear(a, b, 5))


@pytest.mark.parametrize("name", ["svae", "mixture", "vamp", "vq-vae", "two-layer", "ae"])
def test_every_model_can_be_drawn(name: str) -> None:
    vae = build(small(name))
    state = torch.random.get_rng_state()
    grid = pictures.manifold_grid(vae, 4)
    assert grid.shape == (4, 4, vae.latent_dim)
    assert torch.isfinite(grid).all()
    assert torch.equal(grid, pictures.manifold_grid(vae, 4))
    assert torch.equal(state, torch.random.get_rng_state())
    assert (grid[0, 1:, 0] >= grid[0, :-1, 0]).all()  # grows to the right
    assert np.isfinite(arrays.losses_of(vae, images(4))).all()


def test_quantiles_of_draws_are_those_of_the_prior() -> None:
    """Of a mixture of one component, which is a normal; 500 draws have quartiles within 0.2."""
    vae = VAE.build(shape=(6,), hidden=(4,), prior="mixture", prior_components=1)
    with torch.no_grad():
        vae.prior.mean.fill_(5.0)
    grid = pictures.manifold_grid(vae, 3)
    assert grid[1, 1].tolist() == pytest.approx([5.0, 5.0], abs=0.2)


def test_the_code_of_a_hierarchy_is_that_of_its_layers() -> None:
    chain = VAE.build(shape=(6,), network="chain", chain_dims=(2, 3), chain_hidden=(4, 5))
    assert (chain.latent_dim, chain.config and chain.config.network) == (5, "chain")
    ladder = VAE.build(
        shape=(12, 12, 1),
        network="ladder",
        conv_width=8,
        conv_levels=2,
        ladder_layers=(1, 1),
        ladder_z_channels=2,
    )
    assert ladder.latent_dim == 2 * (3 * 3 + 6 * 6)
    assert VAE.build(ladder.config).state_dict().keys() == ladder.state_dict().keys()


def test_options_that_are_none_are_left_to_the_part() -> None:
    assert ModelConfig(posterior="planar").options("posterior") == {"scale": "softplus"}
    assert ModelConfig().options("prior") == {}

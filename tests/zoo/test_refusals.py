"""What does not go together is refused in one line that says why and what fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elboroom
from elboroom.config import Config, prior_of
from elboroom.config.posteriors import POSTERIORS as Q_ROWS
from elboroom.config.priors import PRIORS as P_ROWS
from elboroom.config.priors import check_prior
from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.evaluation.support import check_support
from elboroom.models.vae import VAE
from elboroom.objectives import recipe
from elboroom.probability import (
    POSTERIORS,
    PRIORS,
    DiagonalGaussianHead,
    StandardNormal,
    UniformCodes,
    UniformSphere,
    VectorQuantizer,
    check_pair,
)
from elboroom.probability.choice import CODE_PRIORS, QUANTIZERS

from .small import build, images, objective_of

# fields, why not, what fits instead
MEANINGLESS: list[tuple[dict[str, Any], str, str]] = [
    ({"prior": "sphere"}, "is over points on a sphere", "posterior = 'power_spherical'"),
    (
        {"posterior": "power_spherical", "latent_dim": 3, "prior": "normal"},
        "gives points on a sphere: their rate is not defined",
        "prior = 'sphere' or 'vamp'",
    ),
    ({"posterior": "vq", "prior": "normal"}, "gives entries of a codebook", "'uniform' or 'autoregressive'"),
    ({"prior": "autoregressive"}, "is over entries of a codebook", "posterior = 'vq' or 'fsq'"),
    ({"posterior": "iaf", "prior": "vamp"}, "has none at any given code", "'normal', 'mixture' or 'flow'"),
    ({"posterior": "deterministic", "prior": "flow"}, "learns from the rate", "prior = 'normal'"),
    ({"prior": "mixture", "beta": 0}, "whose weight is beta = 0", "give a beta above 0"),
    (
        {"posterior": "vq", "bound": "iwae", "num_samples": 50},
        "iwae weights samples by their density, and posterior = 'vq' gives one code",
        "bound = 'elbo'",
    ),
    (
        {"posterior": "deterministic", "bound": "capacity"},
        "drives the rate to a target",
        "'diagonal', 'full'",
    ),
    (
        {"posterior": "planar", "bound": "dreg", "num_samples": 8},
        "density of q(z|x) at given codes",
        "'diagonal', 'full', 'householder' or 'power_spherical'",
    ),
    (
        {"network": "ladder", "bound": "stl"},
        "network = 'ladder' has it only at the codes that it draws itself",
        "bound = 'elbo'",
    ),
    ({"bound": "iwae"}, "with num_samples = 1 is the ELBO", "num_samples = 50"),
    (
        {"bound": "miwae", "num_samples": 20},
        "bound_groups = 8 does not divide num_samples = 20",
        "num_samples = 64",
    ),
    (
        {"posterior": "fsq", "num_samples": 4},
        "gives the same code each time",
        "leave num_samples out",
    ),
    (
        {"posterior": "full", "penalties": {"total_correlation": 1}},
        "takes the density of each dimension by itself",
        "take posterior = 'diagonal', or take the penalty total_correlation_critic",
    ),
    ({"latent_dim": 1, "penalties": {"total_correlation": 1}}, "latent_dim = 1", "give 2 or more"),
    (
        {"posterior": "iaf", "penalties": {"decorrelation_ii": 1}},
        "takes the covariance",
        "'diagonal', 'full' or 'householder'",
    ),
    (
        {"posterior": "power_spherical", "latent_dim": 3, "penalties": {"code_norm": 1}},
        "all of length 1",
        "leave the penalty out",
    ),
    (
        {"likelihood": "laplace", "learn_scale": "optimal"},
        "likelihood = 'gaussian' only",
        "'shared' or 'pixel'",
    ),
    ({"likelihood": "poisson", "learn_scale": "shared"}, "'gaussian', 'laplace' or 'student_t'", "leave it"),
    ({"network": "chain", "latent_dim": 5}, "requires network = 'mlp' or 'conv'", "leave it out"),
    ({"posterior": "vq", "latent_dim": 5}, "and posterior is 'vq'", "leave it out"),
    ({"network": "chain", "posterior": "iaf"}, "and network is 'chain'", "set network = 'mlp'"),
    ({"network": "chain", "chain_dims": (5,)}, "one width for each of the 1", "chain_hidden"),
    ({"codebook_size": 10}, "requires posterior = 'vq'", "leave it out"),
    ({"prior_components": 10}, "requires prior = 'mixture' or 'vamp'", "leave it out"),
    ({"capacity": 5.0}, "requires bound = 'capacity'", "leave it out"),
    ({"elbo_share": 0.1}, "requires bound = 'ciwae'", "leave it out"),
]


@pytest.mark.parametrize(("fields", "why", "instead"), MEANINGLESS, ids=lambda value: str(value)[:60])
def test_a_meaningless_combination_says_why_and_what_fits(
    fields: dict[str, Any], why: str, instead: str
) -> None:
    with pytest.raises(UsageError) as error:
        Config().updated(**fields)
    text = str(error.value)
    assert "\n" not in text
    assert why in text
    assert instead in text


def test_what_the_table_of_priors_says_is_what_the_parts_say() -> None:
    """By name and by class the same pairs are refused, but for priors that nothing would train."""

    def refused(check: Any, *pair: Any) -> bool:
        try:
            check(*pair)
        except ValueError:
            return True
        return False

    makers = {name: lambda _head, make=make: make(4) for name, make in PRIORS.items()}
    makers["vamp"] = lambda _head: PRIORS["vamp"](4, shape=(6,))
    makers |= CODE_PRIORS
    for posterior in [*POSTERIORS, *QUANTIZERS]:
        quantizer = QUANTIZERS.get(posterior)
        head: Any = POSTERIORS[posterior](4) if quantizer is None else quantizer.on_grid((2,))
        for prior, make in makers.items():
            if prior in CODE_PRIORS and posterior not in QUANTIZERS:
                made = make(VectorQuantizer((2, 2), 4))
            else:
                made = make(head)
            untrained = not Q_ROWS[posterior].has_rate and P_ROWS[prior].learned == "from the rate"
            assert refused(check_prior, posterior, prior) == (refused(check_pair, head, made) or untrained), (
                posterior,
                prior,
            )
        assert not refused(check_prior, posterior, prior_of(posterior, "auto"))


def test_parts_composed_in_python_are_checked_too() -> None:
    networks = nn.Linear(5, 4), nn.Linear(2, 5)
    with pytest.raises(UsageError, match="has codes on the sphere only"):
        VAE(*networks, UniformSphere(2), shape=(5,))
    with pytest.raises(UsageError, match="a quantiser requires UniformCodes or AutoregressiveCodes"):
        VAE(*networks, StandardNormal(4), posterior=VectorQuantizer((2, 2), 4), shape=(5,))
    with pytest.raises(UsageError, match="only one of the two has codes from a codebook"):
        check_pair(DiagonalGaussianHead(4), UniformCodes(VectorQuantizer((2, 2), 4)))


def test_structure_is_compared_of_images_only() -> None:
    config = recipe("ms-ssim-vae", hidden=(8,))
    with pytest.raises(UsageError, match=r"examples have shape \(5,\); leave it out"):
        objective_of(config, build(config, (5,)))


@pytest.mark.parametrize("posterior", ["diagonal", "fsq"])
def test_commitment_is_to_codebooks_that_follow(posterior: str) -> None:
    config = recipe("fsq", posterior=posterior, hidden=(8,), penalties={"commitment": 1})
    with pytest.raises(UsageError, match="take posterior = 'vq', or leave the penalty out"):
        objective_of(config, build(config))


# Data and likelihood


def rows(values: list[float], scale: float = 1.0) -> Any:
    from dataclasses import replace

    return replace(load_data(np.array(values, np.float32)[:, None]), scale=scale)


@pytest.mark.parametrize(
    ("values", "scale", "support", "spacing", "text"),
    [
        ([0, 3, 70_000], 1, (0, np.inf), 1.0, None),
        ([0, 2.5], 1, (0, np.inf), 1.0, "contains 2.5, which is 2.5 to the model"),
        ([0, -1], 1, (0, np.inf), 1.0, "outside [0, ∞)"),
        ([0, 128 / 255, 1], 1, (0, 1), 1 / 255, None),
        ([0, 0.3333, 1], 1, (0, 1), 1 / 255, "set pixel_scale = 255"),
        ([0, 255, 7], 255, (0, 1), 1 / 255, None),
        ([0, 255, 7], 256, (0, 1), 1 / 255, "set pixel_scale = 255"),
        ([0, 3, 5], 255, (0, np.inf), 1.0, "set pixel_scale = 1 "),
        ([0, 1.5], 1, (0, 1), None, "outside [0, 1]"),
        ([-7, 1.5], 1, None, None, None),
    ],
)
def test_data_must_be_what_the_likelihood_can_score(
    values: list[float], scale: float, support: Any, spacing: float | None, text: str | None
) -> None:
    data = rows(values, scale)
    if text is None:
        check_support(data, support, "none", spacing)
        return
    with pytest.raises(UsageError) as error:
        check_support(data, support, "none", spacing)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_pixels_of_eight_bits_are_levels_without_a_look() -> None:
    data = load_data(images(4))
    assert data.scale == 255
    check_support(data, (0.0, 1.0), "none", 1 / 255)
    with pytest.raises(UsageError, match="pixel_scale = 1 "):
        check_support(data, (0.0, float("inf")), "none", 1.0)
    check_support(data, (0.0, float("inf")), "stochastic", 1.0)  # drawn as zeros and ones


# Recipes and what is on top of them


def test_options_over_a_recipe_are_checked_with_it() -> None:
    with pytest.raises(UsageError, match="gives one code and no density"):
        recipe("vq-vae", bound="iwae", num_samples=5)


def test_penalties_of_no_model_that_is_there_are_found_in_fit() -> None:
    """The model counts that is trained, not the one that the configuration would have built."""
    vae = VAE.build(shape=(6,), hidden=(4,), posterior="iaf")
    torch.manual_seed(0)
    with pytest.raises(UsageError, match="total_correlation takes the density of each dimension"):
        elboroom.fit(vae, np.eye(6, dtype=np.float32), penalties={"total_correlation": 1}, quiet=True)

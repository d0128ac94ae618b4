"""Recipes: each paper's model as values for a few fields of the configuration.

>>> config = recipe("beta-tcvae", latent_dim=10)
>>> config.objective.penalties, config.model.latent_dim
({'total_correlation': 5.0}, 10)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elboroom.config import Config
from elboroom.errors import UsageError, nearest


@dataclass(frozen=True)
class Recipe:
    """The model of a paper, as overrides of the default configuration.

    Attributes
    ----------
    summary : str
        What distinguishes it, in one line.
    arxiv : tuple of str
        arXiv numbers of its papers.
    fields : mapping of str to any
        Values of fields of the configuration, by field name. They are the paper's own where it states them
        for a distortion summed over dimensions, and otherwise values to start from.
    """

    summary: str
    arxiv: tuple[str, ...]
    fields: Mapping[str, Any]


def _recipe(summary: str, *arxiv: str, **fields: Any) -> Recipe:
    return Recipe(summary, arxiv, fields)


_L1: Mapping[str, Any] = {"likelihood": "laplace", "likelihood_scale": 1.0}
_TOKENIZER: Mapping[str, Any] = {"network": "spatial", **_L1, "critic_start": 0.5}
_DETAIL: Mapping[str, float] = {"gradient_difference": 1.0, "patch_critic": 0.5}
_AUTOENCODER: Mapping[str, Any] = {"posterior": "deterministic", "beta": 0.0}

RECIPES: dict[str, Recipe] = {
    # The weight of the rate.
    "vae": _recipe("maximises the evidence lower bound (ELBO)", "1312.6114", beta=1.0),
    "ae": _recipe("plain autoencoder: no noise and no rate", "2003.05991", **_AUTOENCODER),
    "beta-vae": _recipe("weights the rate by beta = 4", "1804.03599", beta=4.0),
    "annealed-vae": _recipe(
        "raises beta from 0 to 1 over the first 10 epochs",
        "1602.02282",
        beta_schedule="linear",
        beta_ramp=10.0,
    ),
    "cyclical-vae": _recipe(
        "raises beta from 0 to 1 in each cycle of 10 epochs",
        "1903.10145",
        beta_schedule="cyclical",
        beta_ramp=5.0,
        beta_period=10.0,
    ),
    "capacity-vae": _recipe(
        "drives the rate to a target that rises to 25 nats",
        "1804.03599",
        bound="capacity",
        beta=1000.0,
        capacity=25.0,
    ),
    "free-bits-vae": _recipe(
        "leaves half a nat of rate per dimension free of cost", "1606.04934", free_bits=0.5
    ),
    # Importance-weighted bounds and gradient estimators.
    "iwae": _recipe("importance-weighted bound with 50 samples", "1509.00519", bound="iwae", num_samples=50),
    "missing-iwae": _recipe(
        "importance-weighted bound of a table's observed cells",
        "1812.02633",
        bound="iwae",
        num_samples=20,
    ),
    "miwae": _recipe(
        "mean of 8 importance-weighted bounds of 8 samples each",
        "1802.04537",
        bound="miwae",
        num_samples=64,
        bound_groups=8,
    ),
    "piwae": _recipe(
        "iwae, with the gradient of miwae for the encoder",
        "1802.04537",
        bound="piwae",
        num_samples=64,
        bound_groups=8,
    ),
    "ciwae": _recipe(
        "average of the ELBO and the iwae bound", "1802.04537", bound="ciwae", num_samples=64, elbo_share=0.5
    ),
    "dreg": _recipe(
        "iwae, with the doubly reparametrised encoder gradient", "1810.04152", bound="dreg", num_samples=64
    ),
    "stl": _recipe("ELBO with the path gradient (sticking the landing)", "1703.09194", bound="stl"),
    # Penalties.
    "beta-tcvae": _recipe(
        "weights the total correlation by 6", "1802.04942", penalties={"total_correlation": 5.0}
    ),
    "factor-vae": _recipe(
        "penalises the total correlation, estimated by a critic",
        "1802.05983",
        penalties={"total_correlation_critic": 35.0},
    ),
    "dip-vae-i": _recipe(
        "pushes covariance of posterior means towards the identity",
        "1711.00848",
        penalties={"decorrelation_i": 10.0},
    ),
    "dip-vae-ii": _recipe(
        "pushes covariance of codes towards the identity",
        "1711.00848",
        penalties={"decorrelation_ii": 10.0},
    ),
    "info-vae": _recipe(
        "replaces the rate by the MMD between codes and prior",
        "1706.02262",
        beta=0.0,
        penalties={"mmd_rbf": 1000.0},
    ),
    "wae-mmd": _recipe(
        "deterministic codes, matched to the prior by MMD",
        "1711.01558",
        **_AUTOENCODER,
        likelihood="gaussian",
        penalties={"mmd_imq": 10.0},
    ),
    "aae": _recipe(
        "deterministic codes, matched to the prior by a critic",
        "1511.05644",
        **_AUTOENCODER,
        penalties={"prior_critic": 1.0},
    ),
    "rae-l2": _recipe(
        "deterministic, penalties on codes and decoder weights",
        "1903.12436",
        **_AUTOENCODER,
        likelihood="gaussian",
        penalties={"code_norm": 1e-2, "weight_decay": 1e-4},
    ),
    "rae-gp": _recipe(
        "deterministic, penalties on codes and decoder gradients",
        "1903.12436",
        **_AUTOENCODER,
        likelihood="gaussian",
        penalties={"code_norm": 1e-2, "jacobian_norm": 1e-2},
    ),
    "rae-sn": _recipe(
        "deterministic, penalty on codes, spectral norm in decoder",
        "1903.12436",
        **_AUTOENCODER,
        likelihood="gaussian",
        decoder_norm="spectral",
        penalties={"code_norm": 1e-2},
    ),
    "ms-ssim-vae": _recipe(
        "penalises structural dissimilarity of reconstructions",
        "1511.06409",
        penalties={"structural_dissimilarity": 100.0},
    ),
    # Other priors and posteriors.
    "mixture": _recipe("learned mixture of Gaussians as the prior", "1611.02648", prior="mixture"),
    "vamp": _recipe("mixture of posteriors of learned pseudo-inputs as prior", "1705.07120", prior="vamp"),
    "flow-prior": _recipe("spline flow as the prior", "1611.02731", "1906.04032", prior="flow"),
    "full-covariance": _recipe(
        "Gaussian posterior with a full covariance matrix", "1606.04934", posterior="full"
    ),
    "householder": _recipe(
        "Gaussian posterior with a covariance from reflections", "1611.09630", posterior="householder"
    ),
    "planar": _recipe("posterior transformed by planar flows", "1505.05770", posterior="planar"),
    "iaf": _recipe("posterior transformed by inverse autoregressive flows", "1606.04934", posterior="iaf"),
    "svae": _recipe(
        "power spherical posterior, uniform prior on the sphere",
        "1804.00891",
        "2006.04437",
        posterior="power_spherical",
        latent_dim=3,
    ),
    # Quantised codes.
    "vq-vae": _recipe(
        "replaces vectors by the nearest of 512 codebook entries",
        "1711.00937",
        posterior="vq",
        penalties={"commitment": 0.25},
    ),
    "residual-vq": _recipe(
        "vq-vae with 4 codebooks, each for the previous residual",
        "2107.03312",
        posterior="vq",
        codebook_depth=4,
        penalties={"commitment": 0.25},
    ),
    "fsq": _recipe("rounds each number of a code to one of a few levels", "2309.15505", posterior="fsq"),
    # Other likelihoods.
    "sigma-vae": _recipe(
        "Gaussian likelihood with the optimal shared variance",
        "2006.13202",
        likelihood="gaussian",
        learn_scale="optimal",
    ),
    "continuous-bernoulli": _recipe(
        "likelihood with a normalised density on [0, 1]", "1907.06845", likelihood="continuous_bernoulli"
    ),
    "discretized-logistic": _recipe(
        "likelihood of 8-bit pixel levels, a mixture of logistics",
        "1606.04934",
        "1701.05517",
        likelihood="discretized_logistic",
        mixtures=5,
    ),
    # Several stochastic layers.
    "two-layer": _recipe(
        "chain of two stochastic layers, 50 above 100 dimensions",
        "1509.00519",
        network="chain",
        chain_dims=(50, 100),
        chain_hidden=(100, 200),
        activation="tanh",
    ),
    "ladder": _recipe(
        "ladder of stochastic layers with convolutional networks",
        "2007.03898",
        "2011.10650",
        network="ladder",
    ),
    # Sharp images: codes on a grid, penalties on detail, a critic of patches.
    "tokenizer": _recipe(
        "codes on a grid, a tiny rate, and a critic of patches",
        *("2112.10752", "2012.09841"),
        **_TOKENIZER,
        beta=1e-6,
        penalties=_DETAIL,
    ),
    "tokenizer-vq": _recipe(
        "tokenizer whose codes are entries of a codebook",
        *("2012.09841", "1711.00937"),
        **_TOKENIZER,
        posterior="vq",
        penalties={**_DETAIL, "commitment": 0.25},
    ),
    "tokenizer-fsq": _recipe(
        "tokenizer whose codes are rounded to a few levels",
        *("2012.09841", "2309.15505"),
        **_TOKENIZER,
        posterior="fsq",
        penalties=_DETAIL,
    ),
    "vae-gan": _recipe(
        "a critic of patches beside the likelihood",
        "1512.09300",
        "2012.09841",
        network="conv",
        likelihood="gaussian",
        penalties={"patch_critic": 0.5},
    ),
}
"""Name → recipe, in the order of `elboroom recipes`."""


def recipe(name: str, base: Config | None = None, **options: Any) -> Config:
    """Make the configuration of a recipe.

    Parameters
    ----------
    name : str
        A key of ``RECIPES``.
    base : Config, optional
        The configuration that the recipe overrides. Default: all defaults.
    **options
        Fields that override the recipe, such as ``latent_dim=10``.

    Raises
    ------
    UsageError
        If there is no such recipe, or the resulting fields do not go together.

    Examples
    --------
    >>> from elboroom import VAE, fit, load_data
    >>> data = load_data("digits")
    >>> config = recipe("sigma-vae", hidden=[32], epochs=1)
    >>> vae = VAE.build(config.model, shape=data.shape, scale=data.scale)
    >>> history = fit(vae, data, config=config, quiet=True)
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; {nearest(name, RECIPES)}")
    return (base or Config()).updated(**{**RECIPES[name].fields, **options})

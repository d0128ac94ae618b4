"""Papers as compositions: each a few fields of the configuration, trained by the one engine.

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
    """One paper.

    Attributes
    ----------
    summary : str
        What it does, in one line.
    arxiv : tuple of str
        Where it is from.
    fields : mapping of str to any
        Fields of the configuration by their bare names, with values to start from: the papers'
        own, where they state one for a distortion that is a sum.
    """

    summary: str
    arxiv: tuple[str, ...]
    fields: Mapping[str, Any]


def _recipe(summary: str, *arxiv: str, **fields: Any) -> Recipe:
    return Recipe(summary, arxiv, fields)


_AUTOENCODER: Mapping[str, Any] = {"posterior": "deterministic", "beta": 0.0}

RECIPES: dict[str, Recipe] = {
    # The weight of the rate.
    "vae": _recipe("the evidence lower bound as it is", "1312.6114", beta=1.0),
    "ae": _recipe("no noise and no rate: an autoencoder", "2003.05991", **_AUTOENCODER),
    "beta-vae": _recipe("the rate weighted by 4", "1804.03599", beta=4.0),
    "annealed-vae": _recipe(
        "the rate's weight grows from 0 in 10 epochs", "1602.02282", beta_schedule="linear", beta_ramp=10.0
    ),
    "cyclical-vae": _recipe(
        "the rate's weight grows again and again",
        "1903.10145",
        beta_schedule="cyclical",
        beta_ramp=5.0,
        beta_period=10.0,
    ),
    "capacity-vae": _recipe(
        "the rate is led up to 25 nats", "1804.03599", bound="capacity", beta=1000.0, capacity=25.0
    ),
    "free-bits-vae": _recipe(
        "half a nat of each dimension's rate costs nothing", "1606.04934", free_bits=0.5
    ),
    # Bounds on the same importance weights.
    "iwae": _recipe("log of the mean of 50 weights", "1509.00519", bound="iwae", num_samples=50),
    "miwae": _recipe(
        "mean of 8 bounds of 8 weights", "1802.04537", bound="miwae", num_samples=64, bound_groups=8
    ),
    "piwae": _recipe(
        "iwae's gradient for the decoder, miwae's for the encoder",
        "1802.04537",
        bound="piwae",
        num_samples=64,
        bound_groups=8,
    ),
    "ciwae": _recipe("half elbo, half iwae", "1802.04537", bound="ciwae", num_samples=64, elbo_share=0.5),
    "dreg": _recipe(
        "iwae, the encoder's gradient reparametrised twice", "1810.04152", bound="dreg", num_samples=64
    ),
    "stl": _recipe("the elbo's path gradient: no noise where q is exact", "1703.09194", bound="stl"),
    # Penalties beside the bound.
    "beta-tcvae": _recipe(
        "the total correlation weighted by 6", "1802.04942", penalties={"total_correlation": 5.0}
    ),
    "factor-vae": _recipe(
        "the total correlation, by a critic",
        "1802.05983",
        penalties={"total_correlation_critic": 35.0},
    ),
    "dip-vae-i": _recipe(
        "the means' covariance drawn to I", "1711.00848", penalties={"decorrelation_i": 10.0}
    ),
    "dip-vae-ii": _recipe(
        "the codes' covariance drawn to I", "1711.00848", penalties={"decorrelation_ii": 10.0}
    ),
    "info-vae": _recipe(
        "a discrepancy in place of the rate",
        "1706.02262",
        beta=0.0,
        penalties={"mmd_rbf": 1000.0},
    ),
    "wae-mmd": _recipe(
        "codes without noise, as a whole like the prior",
        "1711.01558",
        **_AUTOENCODER,
        likelihood="gaussian",
        penalties={"mmd_imq": 10.0},
    ),
    "aae": _recipe(
        "codes that a critic cannot tell from the prior's",
        "1511.05644",
        **_AUTOENCODER,
        penalties={"prior_critic": 1.0},
    ),
    "rae-l2": _recipe(
        "short codes, and small weights in the decoder",
        "1903.12436",
        **_AUTOENCODER,
        likelihood="gaussian",
        penalties={"code_norm": 1e-2, "weight_decay": 1e-4},
    ),
    "rae-gp": _recipe(
        "short codes, and a decoder of small slope",
        "1903.12436",
        **_AUTOENCODER,
        likelihood="gaussian",
        penalties={"code_norm": 1e-2, "jacobian_norm": 1e-2},
    ),
    "rae-sn": _recipe(
        "short codes, and a decoder that cannot stretch",
        "1903.12436",
        **_AUTOENCODER,
        likelihood="gaussian",
        decoder_norm="spectral",
        penalties={"code_norm": 1e-2},
    ),
    "ms-ssim-vae": _recipe(
        "reconstructions of like structure", "1511.06409", penalties={"structural_dissimilarity": 100.0}
    ),
    # Other priors and posteriors.
    "mixture": _recipe("a learned mixture of Gaussians as prior", "1611.02648", prior="mixture"),
    "vamp": _recipe("the mean posterior of learned inputs as prior", "1705.07120", prior="vamp"),
    "flow-prior": _recipe("a spline flow as prior", "1611.02731", "1906.04032", prior="flow"),
    "full-covariance": _recipe("a posterior whose dimensions covary", "1606.04934", posterior="full"),
    "householder": _recipe("a posterior turned by reflections", "1611.09630", posterior="householder"),
    "planar": _recipe("a posterior bent across planes", "1505.05770", posterior="planar"),
    "iaf": _recipe("a posterior bent number by number", "1606.04934", posterior="iaf"),
    "svae": _recipe(
        "codes on a sphere", "1804.00891", "2006.04437", posterior="power_spherical", latent_dim=3
    ),
    # Codes out of a codebook.
    "vq-vae": _recipe(
        "vectors replaced by the nearest of 512", "1711.00937", posterior="vq", penalties={"commitment": 0.25}
    ),
    "residual-vq": _recipe(
        "the same again for what was left over, 4 deep",
        "2107.03312",
        posterior="vq",
        codebook_depth=4,
        penalties={"commitment": 0.25},
    ),
    "fsq": _recipe("numbers rounded to a few levels", "2309.15505", posterior="fsq"),
    # Other likelihoods.
    "sigma-vae": _recipe(
        "a Gaussian of the scale that fits best", "2006.13202", likelihood="gaussian", learn_scale="optimal"
    ),
    "continuous-bernoulli": _recipe(
        "grey pixels by a true density", "1907.06845", likelihood="continuous_bernoulli"
    ),
    "discretized-logistic": _recipe(
        "8-bit pixels by true probabilities",
        "1606.04934",
        "1701.05517",
        likelihood="discretized_logistic",
        mixtures=5,
    ),
    # Several stochastic layers.
    "two-layer": _recipe(
        "a chain of two stochastic layers, 50 above 100",
        "1509.00519",
        network="chain",
        chain_dims=(50, 100),
        chain_hidden=(100, 200),
        activation="tanh",
    ),
    "ladder": _recipe("a ladder of stochastic layers", "2007.03898", "2011.10650", network="ladder"),
}
"""Name → recipe, in the order in which they are listed."""


def recipe(name: str, base: Config | None = None, **options: Any) -> Config:
    """Lay a recipe's fields over a configuration, and then others.

    Parameters
    ----------
    name : str
        A key of ``RECIPES``.
    base : Config, optional
        What it is laid over; the defaults if not given.
    **options
        Fields by name, such as ``latent_dim=10``.

    Raises
    ------
    UsageError
        If there is no such recipe, or fields do not go together.

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

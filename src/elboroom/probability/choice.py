"""Posteriors, priors and likelihoods by the names that a configuration gives them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from elboroom.config import ModelConfig, prior_of
from elboroom.probability.codes import AutoregressiveCodes, UniformCodes
from elboroom.probability.conditional_prior import ConditionalNormal
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.flows import InverseAutoregressiveHead, PlanarHead
from elboroom.probability.full_gaussian import FullGaussianHead, HouseholderHead
from elboroom.probability.likelihoods import LIKELIHOODS, LikelihoodHead
from elboroom.probability.posteriors import DeterministicHead, DiagonalGaussianHead
from elboroom.probability.priors import MixturePrior, StandardNormal, VampPrior
from elboroom.probability.quantizers import FiniteScalarQuantizer, VectorQuantizer
from elboroom.probability.spherical import PowerSphericalHead, UniformSphere
from elboroom.probability.standardized import StandardizedHead

Shape = tuple[int, ...]

POSTERIORS: dict[str, Callable[..., nn.Module]] = {
    "diagonal": DiagonalGaussianHead,
    "full": FullGaussianHead,
    "householder": HouseholderHead,
    "planar": PlanarHead,
    "iaf": InverseAutoregressiveHead,
    "power_spherical": PowerSphericalHead,
    "deterministic": DeterministicHead,
}
"""Name → head, built from ``latent_dim`` and keywords."""

QUANTIZERS: dict[str, Callable[..., nn.Module]] = {"vq": VectorQuantizer, "fsq": FiniteScalarQuantizer}
"""Name → head, built from the shape of its features and keywords."""

PRIORS: dict[str, Callable[..., nn.Module]] = {
    "normal": StandardNormal,
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
    "sphere": UniformSphere,
}
"""Name → prior, built from ``latent_dim`` and keywords."""

CODE_PRIORS: dict[str, Callable[..., nn.Module]] = {
    "uniform": UniformCodes,
    "autoregressive": AutoregressiveCodes,
}
"""Name → prior, built from a quantiser."""


def likelihood_of(config: ModelConfig, shape: Shape) -> LikelihoodHead:
    """Make the head of p(x|z) for examples of a shape."""
    config = config.without_auto()
    head: Any = LIKELIHOODS[config.likelihood](shape, **config.options("likelihood"))
    return StandardizedHead(head, shape) if config.standardize else head


def posterior_of(config: ModelConfig) -> nn.Module:
    """Make the head of q(z|x)."""
    options = config.options("posterior")
    if config.posterior not in QUANTIZERS:
        return POSTERIORS[config.posterior](config.latent_dim, **options)
    length = config.code_channels
    if config.posterior == "vq":
        options["commitment"] = 1.0  # its weight is the penalty's
    else:
        length = len(config.fsq_levels)
    return QUANTIZERS[config.posterior]((*config.code_grid, length), **options)


def prior_for(config: ModelConfig, posterior: Any, shape: Shape, likelihood: LikelihoodHead) -> nn.Module:
    """Make p(z) for the codes of a posterior head, and of examples like a likelihood's; or p(z|c)."""
    if config.condition != "none" and "prior" in config.condition_parts:
        return ConditionalNormal(posterior.latent_dim, config.condition_dim or 1)
    name = prior_of(config.posterior, config.prior)
    if name in CODE_PRIORS:
        return CODE_PRIORS[name](posterior)
    options = config.options("prior")
    if name == "vamp":
        # Counts have no upper end that pseudo-inputs could be spread up to.
        bounded = likelihood.support is not None and math.isfinite(likelihood.support[1])
        options |= {"shape": shape, "support": likelihood.support if bounded else None}
    return PRIORS[name](posterior.latent_dim, **options)

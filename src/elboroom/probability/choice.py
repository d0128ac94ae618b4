"""Posteriors and priors by the names that a configuration gives them; likelihoods are in ``likelihoods``."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from elboroom.probability.codes import AutoregressiveCodes, UniformCodes
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.flows import InverseAutoregressiveHead, PlanarHead
from elboroom.probability.full_gaussian import FullGaussianHead, HouseholderHead
from elboroom.probability.posteriors import DeterministicHead, DiagonalGaussianHead
from elboroom.probability.priors import MixturePrior, StandardNormal, VampPrior
from elboroom.probability.quantizers import FiniteScalarQuantizer, VectorQuantizer
from elboroom.probability.spherical import PowerSphericalHead, UniformSphere

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

QUANTIZERS: dict[str, type[VectorQuantizer | FiniteScalarQuantizer]] = {
    "vq": VectorQuantizer,
    "fsq": FiniteScalarQuantizer,
}
"""Name → head, built from the shape of its features and keywords, or from a grid by ``on_grid``."""

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

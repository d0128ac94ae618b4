"""Posteriors, likelihoods, priors and the rate between them: all in nats."""

from elboroom.probability.bernoulli import Bernoulli, BernoulliHead, ContinuousBernoulli
from elboroom.probability.choice import POSTERIORS, PRIORS
from elboroom.probability.codes import AutoregressiveCodes, UniformCodes, fit_code_prior
from elboroom.probability.conditional_prior import ConditionalNormal, GivenNormal
from elboroom.probability.counts import (
    NegativeBinomial,
    NegativeBinomialHead,
    Poisson,
    PoissonHead,
    ZeroInflatedNegativeBinomial,
)
from elboroom.probability.discretized import (
    Categorical,
    CategoricalHead,
    DiscretizedLogistic,
    DiscretizedLogisticHead,
)
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.flows import FlowPosterior, InverseAutoregressiveHead, PlanarHead
from elboroom.probability.full_gaussian import FullGaussian, FullGaussianHead, HouseholderHead
from elboroom.probability.likelihoods import LIKELIHOODS, Likelihood, LikelihoodHead
from elboroom.probability.location_scale import (
    Gaussian,
    GaussianHead,
    Laplace,
    LaplaceHead,
    OptimalGaussian,
    StudentT,
    StudentTHead,
)
from elboroom.probability.meters import Meter
from elboroom.probability.posteriors import (
    Deterministic,
    DeterministicHead,
    DiagonalGaussian,
    DiagonalGaussianHead,
    Posterior,
)
from elboroom.probability.priors import MixturePrior, StandardNormal, VampPrior
from elboroom.probability.quantized import Quantized
from elboroom.probability.quantizers import FiniteScalarQuantizer, VectorQuantizer
from elboroom.probability.rates import check_pair, find_closed_form, rate
from elboroom.probability.spherical import PowerSpherical, PowerSphericalHead, UniformSphere

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "AutoregressiveCodes",
    "Bernoulli",
    "BernoulliHead",
    "Categorical",
    "CategoricalHead",
    "ConditionalNormal",
    "ContinuousBernoulli",
    "Deterministic",
    "DeterministicHead",
    "DiagonalGaussian",
    "DiagonalGaussianHead",
    "DiscretizedLogistic",
    "DiscretizedLogisticHead",
    "FiniteScalarQuantizer",
    "FlowPosterior",
    "FlowPrior",
    "FullGaussian",
    "FullGaussianHead",
    "Gaussian",
    "GaussianHead",
    "GivenNormal",
    "HouseholderHead",
    "InverseAutoregressiveHead",
    "Laplace",
    "LaplaceHead",
    "Likelihood",
    "LikelihoodHead",
    "Meter",
    "MixturePrior",
    "NegativeBinomial",
    "NegativeBinomialHead",
    "OptimalGaussian",
    "PlanarHead",
    "Poisson",
    "PoissonHead",
    "Posterior",
    "PowerSpherical",
    "PowerSphericalHead",
    "Quantized",
    "StandardNormal",
    "StudentT",
    "StudentTHead",
    "UniformCodes",
    "UniformSphere",
    "VampPrior",
    "VectorQuantizer",
    "ZeroInflatedNegativeBinomial",
    "check_pair",
    "find_closed_form",
    "fit_code_prior",
    "rate",
]

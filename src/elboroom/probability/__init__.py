"""Posteriors, likelihoods, priors and the rate between them: all in nats."""

from elboroom.probability.likelihoods import Bernoulli, BernoulliHead, Gaussian, GaussianHead, Likelihood
from elboroom.probability.posteriors import DiagonalGaussian, DiagonalGaussianHead, Posterior
from elboroom.probability.priors import StandardNormal
from elboroom.probability.rates import rate

__all__ = [
    "Bernoulli",
    "BernoulliHead",
    "DiagonalGaussian",
    "DiagonalGaussianHead",
    "Gaussian",
    "GaussianHead",
    "Likelihood",
    "Posterior",
    "StandardNormal",
    "rate",
]

"""Objectives: a bound, a scheduled beta and penalties."""

from elboroom.networks.spectral import with_spectral_norm
from elboroom.objectives.bounds import (
    ScheduledBound,
    capacity,
    ciwae,
    dreg,
    elbo,
    iwae,
    miwae,
    piwae,
    sticking_the_landing,
)
from elboroom.objectives.critics import Critic, prior_critic, total_correlation_critic
from elboroom.objectives.free_bits import free_bits
from elboroom.objectives.loss import Loss
from elboroom.objectives.mmd import mmd
from elboroom.objectives.moments import code_norm, decorrelation
from elboroom.objectives.objective import Objective
from elboroom.objectives.recipes import RECIPES, Recipe, recipe
from elboroom.objectives.smooth_decoder import jacobian_norm, weight_decay
from elboroom.objectives.ssim import ms_ssim, structural_dissimilarity
from elboroom.objectives.total_correlation import total_correlation

__all__ = [
    "RECIPES",
    "Critic",
    "Loss",
    "Objective",
    "Recipe",
    "ScheduledBound",
    "capacity",
    "ciwae",
    "code_norm",
    "decorrelation",
    "dreg",
    "elbo",
    "free_bits",
    "iwae",
    "jacobian_norm",
    "miwae",
    "mmd",
    "ms_ssim",
    "piwae",
    "prior_critic",
    "recipe",
    "sticking_the_landing",
    "structural_dissimilarity",
    "total_correlation",
    "total_correlation_critic",
    "weight_decay",
    "with_spectral_norm",
]

"""Models: the VAE, those with several stochastic layers, conditions, and what a forward pass yields."""

from elboroom.models import build as build  # fills the table that VAE.build reads
from elboroom.models.chain import Chain, make_chain
from elboroom.models.hierarchical import HierarchicalPosterior, HierarchicalPrior, HierarchicalVAE
from elboroom.models.vae import VAE

__all__ = [
    "VAE",
    "Chain",
    "HierarchicalPosterior",
    "HierarchicalPrior",
    "HierarchicalVAE",
    "make_chain",
]

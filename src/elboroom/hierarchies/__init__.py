"""VAEs with several stochastic layers: chains (arXiv:1509.00519) and ladders (arXiv:2007.03898)."""

from elboroom.hierarchies.chain import Chain, make_chain
from elboroom.hierarchies.vae import (
    HierarchicalPosterior,
    HierarchicalPrior,
    HierarchicalVAE,
)

__all__ = [
    "Chain",
    "HierarchicalPosterior",
    "HierarchicalPrior",
    "HierarchicalVAE",
    "make_chain",
]

"""elboroom: train, measure and explore variational autoencoders.

>>> import elboroom
>>> vae = elboroom.VAE.build(shape=(8, 8, 1), latent_dim=2, hidden=[32], scale=16)
>>> history = elboroom.fit(vae, "digits", epochs=1, quiet=True)
>>> vae.sample(4).shape
torch.Size([4, 8, 8, 1])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from elboroom import figures, pictures
    from elboroom.comparison import compare
    from elboroom.config import Config, ModelConfig
    from elboroom.data import Dataset, load_data
    from elboroom.evaluation import evaluate
    from elboroom.model import VAE
    from elboroom.objectives import Objective
    from elboroom.objectives.recipes import recipe
    from elboroom.run import Run, load
    from elboroom.training import fit

# Imported at first use, so that the command line answers at once.
_HOME = {
    "Config": "elboroom.config",
    "Dataset": "elboroom.data",
    "ModelConfig": "elboroom.config",
    "Objective": "elboroom.objectives",
    "Run": "elboroom.run",
    "VAE": "elboroom.model",
    "compare": "elboroom.comparison",
    "evaluate": "elboroom.evaluation",
    "figures": "elboroom",
    "fit": "elboroom.training",
    "load": "elboroom.run",
    "load_data": "elboroom.data",
    "pictures": "elboroom",
    "recipe": "elboroom.objectives.recipes",
}

__all__ = [
    "VAE",
    "Config",
    "Dataset",
    "ModelConfig",
    "Objective",
    "Run",
    "compare",
    "evaluate",
    "figures",
    "fit",
    "load",
    "load_data",
    "pictures",
    "recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'elboroom' has no attribute {name!r}")
    home = _HOME[name]
    return import_module(f"elboroom.{name}") if home == "elboroom" else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

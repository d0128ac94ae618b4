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
    from elboroom import (
        config,
        data,
        evaluation,
        exports,
        figures,
        latent,
        models,
        networks,
        objectives,
        scoring,
        tables,
        training,
    )
    from elboroom.comparison import compare
    from elboroom.config import Config, ModelConfig
    from elboroom.data import Dataset, load_data
    from elboroom.evaluation import evaluate
    from elboroom.figures import images as pictures
    from elboroom.models.vae import VAE
    from elboroom.objectives import Objective
    from elboroom.objectives.recipes import recipe
    from elboroom.runs.run import Run, load
    from elboroom.training import Sweep, fit, fit_many

# Imported at first use, so that the command line answers at once. "module:name", or a module by itself.
_HOME = {
    "Config": "elboroom.config:Config",
    "Dataset": "elboroom.data:Dataset",
    "ModelConfig": "elboroom.config:ModelConfig",
    "Objective": "elboroom.objectives:Objective",
    "Run": "elboroom.runs.run:Run",
    "Sweep": "elboroom.training:Sweep",
    "VAE": "elboroom.models.vae:VAE",
    "compare": "elboroom.comparison:compare",
    "config": "elboroom.config",
    "data": "elboroom.data",
    "evaluate": "elboroom.evaluation:evaluate",
    "evaluation": "elboroom.evaluation",
    "exports": "elboroom.exports",
    "figures": "elboroom.figures",
    "fit": "elboroom.training:fit",
    "fit_many": "elboroom.training:fit_many",
    "latent": "elboroom.latent",
    "load": "elboroom.runs.run:load",
    "load_data": "elboroom.data:load_data",
    "models": "elboroom.models",
    "networks": "elboroom.networks",
    "objectives": "elboroom.objectives",
    "pictures": "elboroom.figures.images",
    "recipe": "elboroom.objectives.recipes:recipe",
    "scoring": "elboroom.scoring",
    "tables": "elboroom.tables",
    "training": "elboroom.training",
}

__all__ = [
    "VAE",
    "Config",
    "Dataset",
    "ModelConfig",
    "Objective",
    "Run",
    "Sweep",
    "compare",
    "config",
    "data",
    "evaluate",
    "evaluation",
    "exports",
    "figures",
    "fit",
    "fit_many",
    "latent",
    "load",
    "load_data",
    "models",
    "networks",
    "objectives",
    "pictures",
    "recipe",
    "scoring",
    "tables",
    "training",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'elboroom' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

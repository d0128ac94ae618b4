"""Recipes at a size that trains in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.models.vae import VAE
from elboroom.objectives import RECIPES, Objective, recipe

SHAPE = (12, 12, 1)
EXAMPLES = 24  # three steps of 8


def images(n: int = EXAMPLES, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def small(name: str, **options: Any) -> Config:
    """The recipe with narrow networks and few components, samples and entries."""
    fields = RECIPES[name].fields
    less: dict[str, Any] = {"epochs": 1, "batch_size": 8, "validation": 0.0, "precision": "fp32"}
    if "network" not in fields:
        less["hidden"] = (16,)
    if fields.get("network") == "ladder":
        less["conv_width"] = 8
    if fields.get("prior") == "vamp":
        less["prior_components"] = 5
    if fields.get("posterior") == "vq":
        less |= {"codebook_size": 8, "code_grid": (4,)}
    return recipe(name, **{**less, **options})


def build(config: Config, shape: tuple[int, ...] = SHAPE) -> VAE:
    torch.manual_seed(0)
    return VAE.build(config.model, shape=shape)


def objective_of(config: Config, vae: VAE) -> Objective:
    return Objective.from_config(config.objective, steps_per_epoch=3, vae=vae, examples=EXAMPLES)

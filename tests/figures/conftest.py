"""Small untrained models and data of every shape that has to be drawn."""

from typing import Any

import numpy as np
import pytest
import torch

from elboroom.data.dataset import Dataset
from elboroom.latent.arrays import Numbers
from elboroom.models.vae import VAE

SHAPES: dict[str, tuple[int, ...]] = {
    "grey": (8, 8, 1),
    "colour": (8, 8, 3),
    "tall": (20, 32, 3),
    "flat": (6,),
    "single": (1,),
}


def build(shape: tuple[int, ...], latent_dim: int = 2) -> VAE:
    torch.manual_seed(0)
    likelihood = "bernoulli" if len(shape) == 3 else "gaussian"
    return VAE.build(shape=shape, latent_dim=latent_dim, hidden=[16], likelihood=likelihood)


def examples(shape: tuple[int, ...], n: int = 40) -> Numbers:
    values = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    return values if len(shape) == 3 else values.astype(np.float32) / 50 - 2


def dataset(shape: tuple[int, ...], n: int = 40, labels: bool = True, test: bool = True) -> Dataset:
    split = np.arange(n) % 2 if test else np.zeros(n)
    return Dataset(
        "toy",
        examples(shape, n),
        split=split.astype(np.uint8),
        labels=np.arange(n) // 2 % 3 if labels else None,
        label_names=("red", "green", "blue") if labels else (),
        scale=255.0 if len(shape) == 3 else 1.0,
    )


def history(epochs: int, validation: bool = True) -> list[dict[str, Any]]:
    """Rows as training writes them: −ELBO 100/epoch + 6, with its minimum on validation in epoch 3."""
    rows: list[dict[str, Any]] = []
    for e in range(1, epochs + 1):
        row = {"epoch": e, "step": 10 * e, "distortion": 100 / e, "rate": 6.0, "rate_per_dim": 3.0}
        row |= {"loss": row["distortion"] + 6, "beta": 1.0, "learning_rate": 1e-3, "grad_norm": 1.0}
        row |= {"images_per_second": 1e4, "seconds": 1.0}
        if validation:
            row |= {"val_distortion": 50.0 + abs(e - 3), "val_rate": 7.0, "val_loss": 57.0 + abs(e - 3)}
        rows.append(row)
    return rows


@pytest.fixture
def vae() -> VAE:
    return build((8, 8, 1))


@pytest.fixture
def x() -> Numbers:
    return examples((8, 8, 1))

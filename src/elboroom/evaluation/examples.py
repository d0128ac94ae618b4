"""Examples of a data set as a model takes them: with their conditions, if it wants any."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.data.batches import Binarize
from elboroom.data.conditioned import conditions_of
from elboroom.data.dataset import Dataset, chunks
from elboroom.data.memory import fits
from elboroom.data.rows import take
from elboroom.models.conditioning import Conditioning, Examples
from elboroom.models.vae import VAE, Array


def as_trained(vae: VAE, data: Dataset, binarize: Binarize) -> Dataset:
    """Data with the zeros and ones that the model was trained on, to draw it by or to take examples from.

    Parameters
    ----------
    vae : VAE
        Of the run.
    data : Dataset
        As loaded. What does not fit into memory stays as it is.
    binarize : {"none", "threshold", "stochastic"}
        Of the run. Pixels that it drew anew in each step are drawn once here, from a fixed seed, and only for
        a likelihood of levels: another one scores grey pixels by the mean over such draws.
    """
    drawn = binarize == "stochastic" and getattr(vae.likelihood, "spacing", None) is not None
    if not (drawn or binarize == "threshold") or not fits(data.x.nbytes, torch.device("cpu")):
        return data
    x, noise, start = np.empty(data.x.shape, np.uint8), np.random.default_rng(0), 0
    for rows in chunks(data.x):
        pixels = np.asarray(rows, np.float32) / np.float32(data.scale)
        cut = noise.random(pixels.shape, np.float32) if drawn else None
        x[start : start + len(rows)] = pixels >= 0.5 if cut is None else cut < pixels
        start += len(rows)
    return dataclasses.replace(data, x=x, scale=1.0)


def to_levels(vae: VAE, x: NDArray[np.float32], binarize: Binarize) -> NDArray[np.float32]:
    """Bring an image in model units to values that the model's likelihood can score: the nearest of them.

    Zeros and ones if the run's pixels were cut at one half; levels or whole numbers if the likelihood is one
    of these; else what it is.
    """
    spacing = getattr(vae.likelihood, "spacing", None)
    if binarize == "threshold":
        return (x >= 0.5).astype(np.float32)
    return x if spacing is None else (np.round(x / spacing) * spacing).astype(np.float32)


def examples_of(vae: VAE, data: Dataset, rows: NDArray[np.int64], *, stored: bool = False) -> Array:
    """Some rows of a data set in model units, (n, *shape); of a conditional model with their conditions.

    With ``stored`` they are as the data hold them, for a model of the same scale to divide.

    Raises
    ------
    UsageError
        If the model is conditional and the data have no conditions, or others.
    """
    x = take(data.x, rows) if stored else data.values(rows)
    return x if vae.condition is None else Examples(x, condition_of(vae.condition, data, rows))


def condition_of(wanted: Conditioning, data: Dataset, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Conditions of some rows as they are given to a model's methods.

    Raises
    ------
    UsageError
        If the data have none, or others.
    """
    found = conditions_of(data, wanted)[rows]
    return found if wanted.kind == "vectors" else wanted.labels[found]

"""What the figures of ``story.md`` are made of: MNIST, grey faces at 32×32, and small models of both."""

import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import affine_transform

import elboroom
from elboroom.data.batches import Batches
from elboroom.evaluation.classes import ClassReport, report_classes

Floats = NDArray[np.floating[Any]]
FACES = {"likelihood": "gaussian", "learn_scale": "shared", "output": "sigmoid"}


@functools.cache
def digits(n: int = 10_000) -> elboroom.Dataset:
    """The first n training images of MNIST, and the first 2,000 test images."""
    mnist = elboroom.load_data("mnist")
    rows = np.concatenate([mnist.indices("train")[:n], mnist.indices("test")[:2000]])
    split = (np.arange(len(rows)) >= n).astype(np.uint8)
    assert mnist.labels is not None
    return elboroom.Dataset("MNIST", mnist.x[rows], split, mnist.labels[rows], mnist.label_names, scale=255)


@functools.cache
def faces() -> elboroom.Dataset:
    """Aligned people and dogs, with half the resolution of the file."""
    folder = os.environ.get("ELBOROOM_DATA") or sys.exit("ELBOROOM_DATA names no folder with dogpeople.npz")
    with np.load(Path(folder) / "dogpeople.npz", allow_pickle=False) as file:
        x = file["images"].reshape(-1, 32, 2, 32, 2).mean((2, 4)).round().astype(np.uint8)[..., None]
        labels, split = file["labels"].astype(np.int64), file["split"]
    return elboroom.Dataset("faces", x, split, labels, ("person", "dog"), scale=255)


def some(data: elboroom.Dataset, n: int, seed: int = 0) -> elboroom.Dataset:
    """The data with n of their training examples, and all held-out ones."""
    train = np.random.default_rng(seed).permutation(data.indices("train"))[:n]
    return rows_of(data, np.concatenate([train, data.indices("test")]))


def rows_of(data: elboroom.Dataset, rows: NDArray[np.int64]) -> elboroom.Dataset:
    """The data with these rows only, which may be repeated."""
    assert data.labels is not None
    return elboroom.Dataset(
        data.name, data.x[rows], data.split[rows], data.labels[rows], data.label_names, scale=255
    )


def trained(
    data: elboroom.Dataset, steps: int, *, seed: int = 0, model: dict[str, Any] | None = None, **options: Any
) -> tuple[elboroom.VAE, list[dict[str, Any]]]:
    """A model with one hidden layer of 256, trained for about this many steps of 100 examples; no validation.

    Steps are counted in whole epochs, at least one.
    """
    torch.manual_seed(seed)
    vae = elboroom.VAE.build(shape=data.shape, scale=data.scale, **{"hidden": [256], **(model or {})})
    epochs = max(1, round(steps / -(-len(data.indices("train")) // 100)))
    given = {"epochs": epochs, "batch_size": 100, "validation": 0.0, "lr": 2e-3, "seed": seed, **options}
    return vae, elboroom.fit(vae, data, quiet=True, **given)


def by_class(vae: elboroom.VAE, data: elboroom.Dataset) -> ClassReport:
    """The measures of ``elboroom report``, of the held-out examples."""
    assert data.labels is not None
    parts = data.indices("test"), data.indices("train")
    return report_classes(vae, Batches(data, torch.device("cpu")), data.labels, *parts, data.label_names)


def errors(vae: elboroom.VAE, x: Floats) -> Floats:
    """Squared error per pixel of the reconstruction of each example, (n,)."""
    return np.square(vae.reconstruct(x).numpy() - x).mean((1, 2, 3))


def unexplained(vae: elboroom.VAE, x: Floats) -> float:
    """Squared error of the reconstructions over the variance of the pixels within an example."""
    return float(errors(vae, x).mean() / np.square(contrast(x)).mean())


def contrast(x: Floats) -> Floats:
    """Standard deviation of the pixels of each example, (n,)."""
    return x.std((1, 2, 3))


def fine_share(x: Floats) -> Floats:
    """Share of the variance of each example in the upper half of its cosine spectrum, (n,)."""
    power = np.square(dctn(x[..., 0], axes=(1, 2), norm="ortho"))
    power[:, 0, 0] = 0
    high = np.maximum(*np.ogrid[: x.shape[1], : x.shape[2]]) >= x.shape[1] / 2
    return power[:, high].sum(1) / power.sum((1, 2))


def moved(x: NDArray[np.uint8], seed: int = 0, shift: float = 3, turn: float = 15) -> NDArray[np.uint8]:
    """Images (n, h, w, 1), each shifted by at most so many pixels, turned so many degrees, scaled 10 %."""
    rng, out = np.random.default_rng(seed), np.empty_like(x)
    middle = (np.array(x.shape[1:3]) - 1) / 2
    for i, image in enumerate(x):
        angle, scale = np.deg2rad(rng.uniform(-turn, turn)), rng.uniform(0.9, 1.1)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        offset = middle - matrix @ middle + rng.uniform(-shift, shift, 2)
        out[i, ..., 0] = affine_transform(image[..., 0], matrix, offset, order=1, mode="nearest")
    return out

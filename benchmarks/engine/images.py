"""The images that all programs read: one memory-mapped file for each shape and number."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK = 20_000


def image_file(folder: Path, shape: tuple[int, ...], count: int) -> Path:
    """Write uint8 images (count, *shape) once and return the file.

    MNIST, repeated as often as needed, where ELBOROOM_DATA says where it is; else random pixels, which
    take the same time.
    """
    path = folder / f"{'x'.join(map(str, shape))}-{count}.npy"
    if path.exists():
        return path
    block = _block(shape, count)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, *shape))
    for start in range(0, count, len(block)):
        out[start : start + len(block)] = block[: count - start]
    out.flush()
    return path


def describe_images(shape: tuple[int, ...]) -> str:
    """Describe briefly what :func:`image_file` writes."""
    if _is_mnist(shape):
        return "MNIST, repeated beyond 60,000"
    return "random pixels: the time does not depend on what is in the images"


def read_images(path: str) -> NDArray[np.uint8]:
    """Open the file as a memory map."""
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return images


def _is_mnist(shape: tuple[int, ...]) -> bool:
    return shape == (28, 28, 1) and "ELBOROOM_DATA" in os.environ


def _block(shape: tuple[int, ...], count: int) -> NDArray[np.uint8]:
    if _is_mnist(shape):
        import elboroom

        mnist = elboroom.load_data("mnist")
        return np.ascontiguousarray(mnist.x[mnist.indices("train")])
    few = min(count, max(1, _BLOCK * 784 // math.prod(shape)))
    return np.random.default_rng(0).integers(0, 256, (few, *shape), dtype=np.uint8)

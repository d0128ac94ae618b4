"""Data sets that are drawn by code, of every combination of known factors; no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elboroom.data import rooms, sprites
from elboroom.data.cache import cached, reserve
from elboroom.data.dataset import Dataset, draw_split


@dataclass(frozen=True)
class Drawn:
    """A set of images, one for each combination of its factors; the last factor changes fastest.

    Attributes
    ----------
    factors : mapping of str to int
        How many values each factor has.
    shape : tuple of int
        Of an image, (h, w, c).
    draw : callable
        Fills an array (n, h, w, c) with all images.
    label : str
        The factor that serves as the label.
    label_names : tuple of str
        The names of that factor's values.
    scale : float
        The model sees ``x / scale``.
    version : int
        Raised when the drawing changes, so that cached images are drawn anew.
    """

    factors: Mapping[str, int]
    shape: tuple[int, int, int]
    draw: Callable[[NDArray[np.uint8]], object]
    label: str
    label_names: tuple[str, ...]
    scale: float
    version: int = 1

    def __len__(self) -> int:
        return int(np.prod(tuple(self.factors.values())))


DRAWN = {
    "dsprites": Drawn(
        sprites.FACTORS, (sprites.SIDE, sprites.SIDE, 1), sprites.draw_all, "shape", sprites.SHAPES, 1.0
    ),
    "rooms": Drawn(rooms.FACTORS, (rooms.SIDE, rooms.SIDE, 3), rooms.draw_all, "shape", rooms.SHAPES, 255.0),
}
"""The drawn sets by name."""


def load_drawn(name: str) -> Dataset:
    """Load a drawn set, from the cache if it was drawn before.

    Raises
    ------
    FailureError
        If the cache's disk has no room for it.
    """
    drawn = DRAWN[name]

    def build(scratch: Path | None) -> Dataset:
        shape = (len(drawn), *drawn.shape)
        x = np.zeros(shape, np.uint8) if scratch is None else reserve(scratch / "drawn.npy", shape)
        drawn.draw(x)
        labels = factors_of(name, np.arange(len(drawn)))[drawn.label]
        return Dataset(
            name, x, draw_split(len(x)), labels, drawn.label_names, drawn.scale, origin="drawn by code"
        )

    return cached(f"{name}-{drawn.version}", build)


def factors_of(name: str, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the factors' values of some examples of a drawn set, counted from 0.

    Examples
    --------
    >>> {factor: value.tolist() for factor, value in factors_of("dsprites", np.array([0, 737_279])).items()}
    {'shape': [0, 2], 'scale': [0, 5], 'orientation': [0, 39], 'x': [0, 31], 'y': [0, 31]}
    """
    sizes = DRAWN[name].factors
    return dict(zip(sizes, np.unravel_index(rows, tuple(sizes.values())), strict=True))

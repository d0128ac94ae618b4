"""Arrays of the page: one binary block, compressed, in which every array has a place and a type."""

from __future__ import annotations

import base64
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Format = Literal["int8", "float16", "float32"]
FORMATS: tuple[Format, ...] = ("int8", "float16", "float32")
"""Formats of weights, smallest first."""

_ALIGNED = 8  # bytes; typed arrays of JavaScript begin at multiples of their item size
_LARGEST_INT8 = 127


class Blob:
    """Collects arrays; the page finds each by its number.

    Attributes
    ----------
    index : list of dict
        For each array its ``type``, ``shape``, ``offset`` in bytes, and for int8 weights ``scale``, the
        number of the array of scales, one for each row.

    Examples
    --------
    >>> blob = Blob()
    >>> blob.add(np.zeros((2, 3), np.float32)), blob.add(np.ones(2, np.uint8)), blob.index[1]["offset"]
    (0, 1, 24)
    """

    def __init__(self) -> None:
        self.index: list[dict[str, Any]] = []
        self._pieces: list[bytes] = []
        self._length = 0

    def add(self, array: Array, **more: Any) -> int:
        """Add an array as it is; its number."""
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        entry = {"type": array.dtype.name, "shape": list(array.shape), "offset": self._length, **more}
        self.index.append(entry)
        piece = little.tobytes()
        piece += bytes(-len(piece) % _ALIGNED)
        self._pieces.append(piece)
        self._length += len(piece)
        return len(self.index) - 1

    def add_weight(self, weight: Array, kind: Format) -> int:
        """Add a weight (rows, ...) in a format; its number."""
        if kind != "int8":
            return self.add(weight.astype(kind))
        levels, scale = to_int8(weight)
        return self.add(levels, scale=self.add(scale))

    def packed(self) -> bytes:
        """Everything, compressed by deflate and written in base64."""
        return base64.b64encode(zlib.compress(b"".join(self._pieces), 9))


def to_int8(weight: Array) -> tuple[Array, Array]:
    """Levels −127 to 127 of a weight (rows, ...), and the scale of each row, float32 (rows,).

    Examples
    --------
    >>> levels, scale = to_int8(np.array([[1.0, -0.5], [0.0, 0.0]]))
    >>> levels.tolist(), [round(float(s) * 127, 6) for s in scale]
    ([[127, -64], [0, 0]], [1.0, 0.0])
    """
    flat = np.abs(weight).reshape(len(weight), -1)
    scale = (flat.max(1, initial=0) / _LARGEST_INT8).astype(np.float32)
    by_row = np.where(scale > 0, scale, 1).reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / by_row), -_LARGEST_INT8, _LARGEST_INT8).astype(np.int8), scale


def rounded(weight: Array, kind: Format) -> Array:
    """A weight as the page will read it, float32: rounded to its format and back."""
    if kind == "int8":
        levels, scale = to_int8(weight)
        return levels.astype(np.float32) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return weight.astype(kind).astype(np.float32)

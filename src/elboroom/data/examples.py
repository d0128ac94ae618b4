"""Check arrays of examples and convert them to uint8 or float32."""

from __future__ import annotations

import math

import numpy as np

from elboroom.data.memory import convert
from elboroom.data.rows import Array, chunks, extent
from elboroom.errors import UsageError, shortened


def as_examples(x: Array, name: str, *, missing: bool = False) -> Array:
    """Check an array and convert it to uint8 or float32, never with a cast that wraps around.

    With ``missing``, nan is allowed: a missing cell.

    Raises
    ------
    UsageError
        For a type, shape or value that cannot be used.
    """
    if x.ndim not in ((2, 3, 4) if x.dtype.kind == "f" else (2, 4)) or 0 in x.shape:
        raise UsageError(
            f"{name}: the array has shape {x.shape}; it must be (n, h, w, c) or (n, d), or "
            "(n, t, d) floats, with at least one example"
        )
    if x.dtype == np.bool_:
        return convert(x, np.uint8, name)
    if x.dtype == np.uint8:
        return x  # the values are not read: a memory map may be larger than memory
    if x.dtype.kind in "iu":
        low, high = extent(x)
        if low < 0 or high > 255:
            raise UsageError(
                f"{name}: {x.dtype} values run from {low} to {high}; whole numbers must lie in 0..255, "
                "so pass float32 in the range you want modelled"
            )
        return convert(x, np.uint8, name)
    if x.dtype.kind != "f":
        raise UsageError(
            f"{name}: the array contains {shortened(str(x.dtype))}; it must contain uint8 or float32"
        )
    if x.dtype != np.float32:
        with np.errstate(over="ignore"):  # what does not fit turns infinite, and is reported as such below
            x = convert(x, np.float32, name)
    if not all(map(math.isfinite, extent(x))):
        _refuse_non_finite(x, name, missing=missing)
    return x


def _refuse_non_finite(x: Array, name: str, *, missing: bool) -> None:
    values, rows, first, start = 0, 0, -1, 0
    for part in chunks(x):
        rows_of = part.reshape(len(part), -1)
        bad = np.isinf(rows_of) if missing else ~np.isfinite(rows_of)
        if bad.any():
            bad_rows = np.flatnonzero(bad.any(axis=1))
            first = start + int(bad_rows[0]) if first < 0 else first
            values, rows = values + int(bad.sum()), rows + len(bad_rows)
        start += len(part)
    if values:
        raise UsageError(
            f"{name}: {values} value(s) in {rows} row(s) are nan, infinite or beyond float32, "
            f"the first in row {first} (counting from 0); remove or fill them"
        )

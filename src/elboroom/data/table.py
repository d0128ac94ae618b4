"""Tables of numbers in ``.csv`` files."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.arrays import from_array
from elboroom.data.dataset import Array, Dataset, Skipped
from elboroom.errors import UsageError

_PIXEL = re.compile(r"(pixel|px|p)_?\d+|\d+x\d+", re.IGNORECASE)


@dataclass
class _Rows:
    """What has been read so far."""

    values: list[Array] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def load_csv(path: Path, strict: bool = False) -> Dataset:
    """Load a table: one example a line, separated by commas, semicolons or tabs.

    The first line is a header if none of its cells is a number, or if one says ``label``. That column holds
    labels: whole numbers or words. All others are numbers and become float32 ``(n, d)``. If the header names
    every one of them as a pixel (``pixel0``, ``p0``, ``px0`` or ``1x1``, …) and all are whole numbers 0..255,
    they become uint8 pixels, and an image ``(s, s, 1)`` if their count is a square.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    strict : bool
        Whether a line that cannot be read is an error; if not, it is left out and listed in ``skipped``.

    Raises
    ------
    UsageError
        If the file is empty or no text, no line can be read, or under `strict` any cannot.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.readline()
            delimiter = max(",;\t", key=start.count)
            file.seek(0)
            lines = csv.reader(file, delimiter=delimiter)
            header, rows = _read(lines, path, strict)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not a text table ({error}); save it as UTF-8 CSV") from error
    if not rows.values:
        why = f": {rows.skipped[0].reason}" if rows.skipped else "; it needs at least one line of numbers"
        raise UsageError(f"{path}: holds no row of numbers{why}")
    labels = _labels(rows.labels) if rows.labels else None
    x = _pixels(np.stack(rows.values), header)
    return from_array(x, path.name, labels=labels, skipped=tuple(rows.skipped), origin="a file")


def _read(lines: Any, path: Path, strict: bool) -> tuple[list[str], _Rows]:
    """Read all lines; return the names of the value columns (empty without a header) and the rows."""
    rows = _Rows()
    columns: list[str] = []
    names: list[str] = []
    label_at = -1
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if not columns:
            columns, label_at, has_header = _layout(cells)
            if has_header:
                names = [name for i, name in enumerate(columns) if i != label_at]
                continue
        try:
            _take(cells, label_at, columns, rows)
        except ValueError as error:
            if strict:
                raise UsageError(f"{path}: line {lines.line_num} {error}; correct or remove it") from None
            rows.skipped.append(Skipped(f"{path}:{lines.line_num}", f"line {lines.line_num} {error}"))
    if len(columns) == 1 and label_at == 0:
        raise UsageError(f"{path}: holds labels only; it needs at least one column of numbers")
    return names, rows


def _layout(first: list[str]) -> tuple[list[str], int, bool]:
    """Names of the columns, where the labels are (-1: nowhere), and whether the first line is a header."""
    names = [cell.strip() for cell in first]
    words = [name.lower() for name in names]
    if "label" in words:
        return names, words.index("label"), True
    if not any(_is_number(name) for name in names):
        return names, -1, True
    return [str(i + 1) for i in range(len(names))], -1, False


def _take(cells: list[str], label_at: int, columns: list[str], rows: _Rows) -> None:
    """Add one line to `rows`; ValueError says which cell is wrong."""
    if len(cells) != len(columns):
        raise ValueError(f"has {len(cells)} cells where {len(columns)} are wanted")
    numbers = [cell for i, cell in enumerate(cells) if i != label_at]
    try:
        values = np.array(numbers, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        bad = next(i for i, cell in enumerate(cells) if i != label_at and not _is_number(cell))
        raise ValueError(f"has {cells[bad]!r} in column {columns[bad]!r} where a number is wanted")
    if label_at >= 0:
        if not cells[label_at].strip():
            raise ValueError("has no label")
        rows.labels.append(cells[label_at].strip())
    rows.values.append(values.astype(np.float32))


def _is_number(cell: str) -> bool:
    """Whether a cell is a finite number as numpy reads it."""
    try:
        return bool(np.isfinite(np.array([cell], dtype=np.float64)).all())
    except ValueError:
        return False


def _labels(words: list[str]) -> Array:
    """Whole numbers if all labels are, else the words."""
    if all(_is_number(word) and float(word).is_integer() for word in words):
        return np.array([int(float(word)) for word in words], dtype=np.int64)
    return np.array(words)


def _pixels(x: Array, header: list[str]) -> Array:
    named = bool(header) and all(_PIXEL.fullmatch(name) for name in header)
    if not named or x.min() < 0 or x.max() > 255 or (x != np.floor(x)).any():
        return x
    side = math.isqrt(x.shape[1])
    pixels = x.astype(np.uint8)
    return pixels.reshape(len(x), side, side, 1) if side * side == x.shape[1] else pixels

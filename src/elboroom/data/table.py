"""Tables of numbers in text files, such as ``.csv`` and ``.tsv``."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elboroom.data.arrays import from_array
from elboroom.data.dataset import Array, Dataset, Skipped
from elboroom.data.precision import Rounding
from elboroom.data.spelling import one_spelling
from elboroom.data.table_layout import Layout, find_layout, is_number
from elboroom.data.table_lines import reading_text, records
from elboroom.errors import UsageError, shortened

SUFFIXES = (".csv", ".tsv")
_PIXEL = re.compile(r"(pixel|px|p)_?\d+|\d+x\d+", re.IGNORECASE)
_EXACT = 1 << 24  # beyond this, float32 skips whole numbers
_LARGEST = float(np.finfo(np.float32).max)
_BLOCK = 1024  # lines that are kept in float64
_FEWEST_COUNTED = 10  # rows that may count by chance
_SPREAD = 100.0  # columns whose standard deviations differ by more are better standardised


@dataclass
class _Rows:
    """What has been read so far."""

    layout: Layout
    values: list[Array] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    words: dict[int, int] = field(default_factory=dict)
    large: dict[int, set[str]] = field(default_factory=dict)
    rounding: Rounding = field(default_factory=Rounding)
    waiting: list[Array] = field(default_factory=list)

    def add(self, values: Array) -> None:
        """Take the numbers of one line, float64 (d,)."""
        self.waiting.append(values)
        if len(self.waiting) == _BLOCK:
            self._convert()

    def joined(self) -> Array:
        """All numbers, float32 (n, d)."""
        self._convert()
        return np.concatenate(self.values)

    def _convert(self) -> None:
        if self.waiting:
            block = np.stack(self.waiting)
            self.rounding.add(block)
            self.values.append(block.astype(np.float32))
            self.waiting.clear()


def load_csv(path: Path, strict: bool = False, encoding: str | None = None) -> Dataset:
    """Load a table of numbers, one example a line; separator, decimal mark and encoding are detected.

    Cells are parted by commas, semicolons, tabs, vertical bars or blanks. Lines that begin with ``#`` are
    comments. The first line is a header if none of its cells is a number, one says ``label``, or its numbers
    count the columns (``0,1,2,3``, or years). A first column without a heading names the rows and is no
    feature. The column ``label`` holds labels: whole numbers or words. All others are numbers and become
    float32 ``(n, d)``. If the header names every one of them as a pixel (``pixel0``, ``p0``, ``px0`` or
    ``1x1``, …) and all are whole numbers 0..255, they become uint8 pixels, and an image ``(s, s, 1)`` if
    their count is a square. `Dataset.notes` says how the file was read.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    strict : bool
        Whether a line that cannot be read is an error; if not, it is left out and listed in ``skipped``.
    encoding : str, optional
        As Python names it; UTF-8, or as the first bytes say, if missing.

    Raises
    ------
    UsageError
        If the file is empty or no text, no line can be read, whole numbers would no longer differ as float32,
        or under `strict` any line cannot be read.
    """
    with reading_text(path):
        layout = find_layout(path, encoding)
        rows = _read(path, layout, strict)
    if not layout.values:
        raise UsageError(f"{path}: contains labels only; it needs at least one column of numbers")
    if not rows.numbers:
        raise UsageError(f"{path}: contains no row of numbers{_why_none(rows)}")
    columns = [layout.columns[i] for i in layout.values]
    values = rows.joined()
    notes = [f"read with {layout.describe()}", *_identifiers(rows, path)]
    notes += rows.rounding.notes(list(map(shortened, columns)), str(path))
    notes += [*_counters(values, columns), *_spread(values, columns)]
    x = _pixels(values, columns if layout.header is not None else [])
    labels, label_names = labels_of(rows.labels, path) if rows.labels else (None, ())
    return from_array(
        x,
        path.name,
        labels=labels,
        label_names=label_names,
        skipped=tuple(rows.skipped),
        rows=np.array(rows.numbers, dtype=np.int64),
        names=tuple(rows.names),
        notes=tuple(notes),
    )


def example(folder: Path) -> Path:
    """Write a small table into a folder."""
    path = folder / "rows.csv"
    path.write_text("height,width,label\n1.5,2,cat\n0.5,3,dog\n-1,4,cat\n2,1e3,dog\n", encoding="utf-8")
    return path


def _read(path: Path, layout: Layout, strict: bool) -> _Rows:
    rows = _Rows(layout)
    for record in records(path, layout):
        try:
            if record.is_empty:
                wrong: str | None = "has nothing in any cell"
            else:
                _take(record.cells, rows)
                wrong = None
        except ValueError as error:
            if strict:
                raise UsageError(f"{path}: line {record.line} {error}; correct or remove it") from None
            wrong = str(error)
        if wrong is None:
            rows.numbers.append(record.row)
        else:
            rows.skipped.append(Skipped(f"{path}:{record.line}", f"line {record.line} {wrong}"))
    return rows


def _take(cells: list[str], rows: _Rows) -> None:
    """Add one line to `rows`; ValueError says which cell is wrong."""
    layout = rows.layout
    if len(cells) != len(layout.columns):
        raise ValueError(f"has {len(cells)} cells where {len(layout.columns)} are wanted")
    wanted = layout.values
    texts = [cells[i].replace(",", ".") if layout.comma else cells[i] for i in wanted]
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        bad = [i for i, text in zip(wanted, texts, strict=True) if not is_number(text)]
        for i in bad:
            rows.words[i] = rows.words.get(i, 0) + bool(cells[i].strip())
        column = shortened(layout.columns[bad[0]])
        if not cells[bad[0]].strip():
            raise ValueError(f"has nothing in column {column} where a number is wanted")
        raise ValueError(f"has {shortened(cells[bad[0]])} in column {column} where a number is wanted")
    beyond = np.flatnonzero(np.abs(values) > _LARGEST)
    if len(beyond):
        i = wanted[beyond[0]]
        raise ValueError(
            f"has {shortened(cells[i])} in column {shortened(layout.columns[i])}, beyond float32 (3.4e38)"
        )
    if layout.label is not None:
        label = cells[layout.label].strip()
        if not label:
            raise ValueError("has no label")
        rows.labels.append(label)
    for place in np.flatnonzero(np.abs(values) > _EXACT):
        if re.fullmatch(r"[+-]?\d+(\.0*)?", texts[place].strip()):
            rows.large.setdefault(wanted[place], set()).add(texts[place].strip())
    if layout.index is not None:
        rows.names.append(cells[layout.index].strip())
    rows.add(values)


def _why_none(rows: _Rows) -> str:
    """Which columns hold words, if some always do; else what is wrong with the first line."""
    if not rows.skipped:
        return "; it needs at least one line of numbers"
    texts = [
        shortened(rows.layout.columns[i])
        for i, count in rows.words.items()
        if count > 0.5 * len(rows.skipped)
    ]
    if not texts or len(texts) == len(rows.layout.values):
        return f": {rows.skipped[0].reason}"
    these = f"column {texts[0]} contains" if len(texts) == 1 else f"columns {', '.join(texts[:8])} contain"
    return (
        f": {these} no numbers ({rows.skipped[0].reason}); "
        "remove what is not a number, or head a column 'label', or choose likelihood='mixed'"
    )


def _identifiers(rows: _Rows, path: Path) -> list[str]:
    """Say which columns hold whole numbers that float32 rounds.

    Raises
    ------
    UsageError
        If different ones would become the same.
    """
    notes = []
    for column, texts in rows.large.items():
        name = shortened(rows.layout.columns[column])
        rounded = {np.float32(text) for text in texts}
        what = f"column {name} contains whole numbers above {_EXACT:,} ({shortened(min(texts))}) that float32"
        if len(rounded) < len(texts):
            raise UsageError(
                f"{path}: {what} cannot tell apart ({len(texts):,} become {len(rounded):,}); remove the "
                "column if it is an identifier, or subtract a constant if it is a measurement"
            )
        if any(int(float(text)) != int(np.float32(text)) for text in texts):
            notes.append(f"warning: {what} rounds; remove the column if it is an identifier")
    return notes


def _counters(values: Array, columns: Sequence[str]) -> list[str]:
    """Warn of columns that number the rows."""
    if len(values) < _FEWEST_COUNTED:
        return []
    found = np.flatnonzero((np.diff(values, axis=0) == 1).all(axis=0)).tolist()
    return [
        f"warning: column {shortened(columns[i])} counts the rows and is taken for a feature; remove it if "
        "it is an identifier"
        for i in found
    ]


def _spread(values: Array, columns: Sequence[str]) -> list[str]:
    """Propose to standardise columns that differ by orders of magnitude."""
    scales = values.std(axis=0, dtype=np.float64)
    if not (scales > 0).any():
        return []
    kept = np.where(scales > 0, scales, np.nan)
    low, high = int(np.nanargmin(kept)), int(np.nanargmax(kept))
    if kept[high] < _SPREAD * kept[low]:
        return []
    return [
        f"standard deviations run from {kept[low]:.3g} (column {shortened(columns[low])}) to "
        f"{kept[high]:.3g} (column {shortened(columns[high])}): train with --standardize"
    ]


_UNKNOWN = ("nan", "na", "n/a", "null", "none")


def labels_of(words: list[str], path: Path | str) -> tuple[Array, tuple[str, ...]]:
    """Whole numbers if all labels are, else numbers of the words in sorted order, and the words.

    "01" is 1, unless there is "1" too. Words that differ in Unicode normal form alone are one.

    Raises
    ------
    UsageError
        If some are missing among numbers, or beyond 2^53.
    """
    missing = [word for word in words if word.lower() in _UNKNOWN]
    if missing and all(is_number(word) for word in words if word.lower() not in _UNKNOWN):
        raise UsageError(
            f"{path}: the label of {len(missing):,} of {len(words):,} rows is {missing[0]!r}, and the others "
            "are numbers; give each row a label, or leave these rows out"
        )
    whole = {word for word in words if is_number(word) and float(word).is_integer()}
    codes = {word for word in whole if re.fullmatch(r"[+-]?0\d+", word)}
    often = Counter(map(float, whole))
    if not whole.issuperset(words) or any(often[float(code)] > 1 for code in codes):  # "01" beside "1"
        spelled = one_spelling(set(words))
        words = [spelled.get(word, word) for word in words]
        names = sorted(set(words))
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[word] for word in words], dtype=np.int64), tuple(names)
    if any(abs(float(word)) >= 1 << 53 for word in words):
        worst = max(words, key=lambda word: abs(float(word)))
        raise UsageError(
            f"{path}: a label is {shortened(worst)}; it must be a whole number below 2^53, or a word"
        )
    return np.array([int(float(word)) for word in words], dtype=np.int64), ()


def is_pixels(header: Sequence[str]) -> bool:
    """Whether a header names each column as a pixel."""
    return bool(header) and all(_PIXEL.fullmatch(name) for name in header)


def _pixels(x: Array, header: Sequence[str]) -> Array:
    if not is_pixels(header) or x.min() < 0 or x.max() > 255 or (x != np.floor(x)).any():
        return x
    side = math.isqrt(x.shape[1])
    pixels = x.astype(np.uint8)
    return pixels.reshape(len(x), side, side, 1) if side * side == x.shape[1] else pixels

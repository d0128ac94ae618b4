"""Tables of columns of all kinds in text files: read whole, in pieces, into the cells of each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elboroom.data.dataset import Dataset, Skipped
from elboroom.data.table import is_pixels, labels_of, load_csv
from elboroom.data.table_cells import Cells
from elboroom.data.table_column import ColumnReader
from elboroom.data.table_layout import Layout, find_layout
from elboroom.data.table_lines import reading_text, records
from elboroom.data.table_set import Reading, table_set
from elboroom.errors import UsageError

_BLOCK = 2048  # lines whose cells are text at the same time


@dataclass
class _Rows:
    """What has been read so far."""

    layout: Layout
    columns: dict[int, ColumnReader]
    waiting: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    empty: int = 0
    comments: list[int] = field(default_factory=list)

    def add(self, cells: list[str], line: int, number: int) -> None:
        """Take one line."""
        self.lines.append(line)
        self.numbers.append(number)
        if self.layout.label is not None:
            self.labels.append(cells[self.layout.label].strip())
        if self.layout.index is not None:
            self.names.append(cells[self.layout.index].strip())
        self.waiting.append(cells)
        if len(self.waiting) == _BLOCK:
            self.convert()

    def convert(self) -> None:
        """Give the waiting cells to their columns."""
        if self.waiting:
            by_column = list(zip(*self.waiting, strict=True))
            for i, column in self.columns.items():
                column.add(by_column[i])
            self.waiting.clear()


def load_table(path: Path, reading: Reading, encoding: str | None = None) -> Dataset:
    """Load a table, one example a line, with a kind for each column.

    The layout is found as by `elboroom.data.table.load_csv`, and so are labels and names of rows. Kinds of
    columns are inferred from all cells. A cell that is empty or says ``NA``, ``N/A``, ``null``, ``nan``,
    ``?`` or ``-`` is missing, and so is ``none`` among numbers or dates. A table of pixels becomes
    images, as by `load_csv`.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    reading : Reading
        Kinds, known columns, and whether a line or cell that cannot be read is an error.
    encoding : str, optional
        As Python names it; UTF-8, or as the first bytes say, if missing.

    Raises
    ------
    UsageError
        If the file is empty or no text, or a column cannot be used; the message names the column.
    """
    with reading_text(path):
        layout = find_layout(path, encoding)
        if layout.header is not None and is_pixels([layout.columns[i] for i in layout.values]):
            pixels = load_csv(path, reading.strict, encoding)
            if pixels.x.dtype == np.uint8:
                return pixels
        texts = {i for i in layout.values if layout.columns[i] in reading.texts}
        rows = _read(path, layout, texts, reading)
        texts = {
            i for i, column in rows.columns.items()
            if column.is_text or (column.has_long_numbers and layout.columns[i] not in reading.said)
        }  # fmt: skip
        if texts:  # what was read as numbers there are words: "12e3" among "45a1", 17 digits of an account
            rows = _read(path, layout, texts | {i for i, c in rows.columns.items() if c.text}, reading)
    if not layout.values:
        raise UsageError(f"{path}: contains labels only; it needs at least one column of numbers")
    _refuse_unreadable(path, rows)
    labels, label_names = labels_of(rows.labels, path) if rows.labels else (None, ())
    return table_set(
        _cells(rows),
        path.name,
        reading,
        where=str(path),
        names=rows.names,
        notes=[f"read with {layout.describe()}", *_on_comments(rows)],
        labels=labels,
        label_names=label_names,
        skipped=tuple(rows.skipped),
        rows=np.array(rows.numbers, dtype=np.int64),
    )


def _cells(rows: _Rows) -> list[Cells]:
    lines = np.array(rows.lines)

    def place(row: int) -> str:
        return f"line {lines[row]}"

    semicolons = rows.layout.separator == ";" and len(rows.layout.columns) > 1
    return [
        reader.finish(rows.layout.columns[i], place, semicolons=semicolons)
        for i, reader in rows.columns.items()
    ]


def _refuse_unreadable(path: Path, rows: _Rows) -> None:
    """Refuse a file of which no line, or few, are rows."""
    reason = rows.skipped[0].reason if rows.skipped else ""
    header = rows.layout.header
    if header is not None and " cells where " in reason:
        reason += f", as line {header} has, which is taken for the header; if it is none, remove it"
    if not rows.numbers:
        why = f": {reason}" if reason else "; it needs at least one line of data"
        raise UsageError(f"{path}: contains no row{why}")
    if len(rows.skipped) - rows.empty > len(rows.numbers):
        raise UsageError(f"{path}: most lines cannot be read: {reason}; correct them, or the first line")


def _on_comments(rows: _Rows) -> list[str]:
    """What is said of comments, which no other reader need take for such."""
    if not rows.comments:
        return []
    first, count = rows.comments[0], len(rows.comments)
    if count == 1:
        return [f"line {first} is a comment, as it begins with #"]
    return [f"{count:,} lines are comments, as they begin with #, the first in line {first}"]


def _read(path: Path, layout: Layout, texts: set[int], reading: Reading) -> _Rows:
    """Read all lines; numbers in the columns ``texts`` are words."""
    columns = {
        i: ColumnReader(layout.comma, text=i in texts, levels=reading.levels(layout.columns[i]))
        for i in layout.values
    }
    rows = _Rows(layout, columns)
    for record in records(path, layout, rows.comments):
        if record.is_empty:
            rows.empty += 1
            wrong: str | None = "has nothing in any cell"
        else:
            wrong = _wrong(record.cells, layout)
            if wrong is not None and reading.strict:
                raise UsageError(f"{path}: line {record.line} {wrong}; correct or remove it")
        if wrong is None:
            rows.add(record.cells, record.line, record.row)
        else:
            rows.skipped.append(Skipped(f"{path}:{record.line}", f"line {record.line} {wrong}"))
    rows.convert()
    return rows


def _wrong(cells: Sequence[str], layout: Layout) -> str | None:
    if len(cells) != len(layout.columns):
        return f"has {len(cells)} cells where {len(layout.columns)} are wanted"
    if layout.label is not None and not cells[layout.label].strip():
        return "has no label"
    return None

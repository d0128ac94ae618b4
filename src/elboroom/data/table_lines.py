"""The lines of a text table whose layout is known, and what keeps one from being read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from elboroom.data.table_encoding import not_text
from elboroom.data.table_layout import CELL, Layout, Lines, dialect
from elboroom.errors import UsageError


class Record(NamedTuple):
    """One row of a text table.

    Attributes
    ----------
    row : int
        Which row of data, counted from 0.
    line : int
        The line of the file that it ends in, counted from 1.
    cells : list of str
        As the file has them.
    """

    row: int
    line: int
    cells: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands in any cell."""
        return not any(map(str.strip, self.cells))


@contextmanager
def reading_text(path: Path) -> Iterator[None]:
    """Report as one line what keeps a file from being read as a text table.

    Raises
    ------
    UsageError
        If it is not in the encoding that was found or given, or no CSV.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise UsageError(not_text(path, error)) from None
    except csv.Error as error:
        raise UsageError(f"{path}: is not a text table ({error}); save it as UTF-8 CSV") from error


def records(path: Path, layout: Layout, comments: list[int] | None = None) -> Iterator[Record]:
    """Rows of data of a text table.

    A line that begins with ``#`` is a comment, unless it goes on without a space and has as many cells as the
    table. A line of separators alone is a row, whose cells are empty, if another row follows it: every reader
    of a file numbers its rows in the same way. Blank lines are none.

    Parameters
    ----------
    path, layout
        The file, and how it is read.
    comments : list of int, optional
        Where to add the lines that are comments, when the last row has been read.

    Raises
    ------
    UsageError
        If a quote is never closed, as what follows it would be one cell, or a cell is too long.
    """
    row, waiting = 0, list[Record]()
    for line, cells in _parsed(path, layout, comments):
        record = Record(row, line, cells)
        if record.is_empty and len(cells) < 2:
            continue
        row += 1
        waiting.append(record)
        if not record.is_empty:
            yield from waiting
            waiting.clear()


def _parsed(path: Path, layout: Layout, comments: list[int] | None) -> Iterator[tuple[int, list[str]]]:
    """Last line and cells of each record."""

    def is_row(line: str) -> bool:
        """Whether ``#`` belongs to a cell: in an open quote, or as "#N/A" or "#tag" begins a row."""
        if quotes % 2:
            return True
        if lines.number < layout.first or len(layout.columns) < 2 or not CELL.match(line):
            return False
        try:
            return len(next(csv.reader([line], **dialect(layout.separator)))) == len(layout.columns)
        except csv.Error:
            return False

    lines = Lines(path, layout.encoding, is_row)
    texts = (line.strip() for line in lines) if layout.separator == " " else iter(lines)
    start, quotes = 0, 0  # of the present record

    def counted() -> Iterator[str]:
        nonlocal start, quotes
        for text in texts:
            start, quotes = start or lines.number, quotes + text.count('"')
            yield text

    opened: int | None = None
    reader = csv.reader(counted(), **dialect(layout.separator))
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if "field limit" in str(error):
                raise UsageError(_too_long(path, start, lines.number)) from None
            raise
        # Whether this is the last record is not known yet; only there a quote can stay open.
        opened = start if quotes % 2 and lines.number > start else None
        start, quotes = 0, 0
        if lines.number >= layout.first:
            yield lines.number, cells
    if comments is not None:
        comments += [line for line in lines.comments if line != layout.header]
    if opened is not None:
        raise UsageError(f"{path}: the quote that opens in line {opened} is never closed; close or remove it")


def _too_long(path: Path, first: int, last: int) -> str:
    what = f"a cell of more than {csv.field_size_limit():,} characters"
    if last > first:
        return (
            f"{path}: {what} begins in line {first} and goes on in line {last}; close its quote or shorten it"
        )
    return f"{path}: line {first} has {what}; shorten it, or leave its column out of the file"

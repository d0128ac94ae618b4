"""The layout of a text table: encoding, separator, decimal mark, header, index and label columns."""

from __future__ import annotations

import csv
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.table_encoding import detected_encoding, known_encoding, not_text
from elboroom.errors import UsageError, shortened

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|", " ": "blank"}
_SAMPLE = 50  # lines that settle the layout
_COMMENTS = 100  # comments that are looked at
_FEWEST = 4  # rows from which on words of the first line that come again are no headings
CELL = re.compile(r"\s*#[^\s#]")
"""How a line that is a row may begin, though a comment begins with # and a space."""
_PLAIN = re.compile(r"[+-]?\d+\.?\d*([eE][+-]?\d+)?", re.ASCII)
_WITH_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")
_WITH_POINT = re.compile(r"\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*")
_GROUPED_WITH_COMMA = re.compile(r"\s*[+-]?\d{1,3}(\.\d{3})+(,\d+)?\s*")  # thousands
_GROUPED_WITH_POINT = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})+(\.\d+)?\s*")
_EXCEL = re.compile(r"\ufeff?\"?sep=.\"?\s*", re.IGNORECASE)  # a first line that only Excel reads
_UNNAMED = re.compile(r"|unnamed: 0", re.IGNORECASE)  # how pandas heads an index column


@dataclass(frozen=True)
class Layout:
    """The layout of a table, inferred from its first lines.

    Attributes
    ----------
    columns : tuple of str
        Names of all columns; their numbers, from 1 on, without a header.
    header : int or None
        The line it stands in; None if there is none.
    first : int
        The line that the data begin with.
    separator, comma : str, bool
        Between cells, and whether a comma marks decimals.
    label, index : int or None
        The columns that hold labels and names of rows.
    empty : frozenset of int
        Columns without name and values, as a separator at the end of each line makes.
    encoding : str
        As Python names it.
    """

    columns: tuple[str, ...]
    header: int | None
    first: int
    separator: str
    comma: bool
    label: int | None
    index: int | None
    empty: frozenset[int]
    encoding: str

    @property
    def values(self) -> list[int]:
        """Columns that hold numbers."""
        return [i for i in range(len(self.columns)) if i not in {self.label, self.index, *self.empty}]

    def describe(self) -> str:
        """Describe how the table is read."""
        if self.header is None:
            found = ["no header: the first line is data"]
        else:
            names = [shortened(self.columns[i]) for i in self.values[:6]]
            found = [
                f"header in line {self.header}: {', '.join(names)}{', …' if len(self.values) > 6 else ''}"
            ]
        if self.label is not None:
            found.append(f"labels in column {shortened(self.columns[self.label])}")
        if self.index is not None:
            found.append(f"column {self.index + 1} has no heading: it names the rows and is not a feature")
        if self.empty:
            found.append(f"{len(self.empty)} empty column{'s' if len(self.empty) > 1 else ''} left out")
        if len(self.columns) > 1:
            found.append(f"separator: {_SEPARATORS[self.separator]}")
        if self.comma:
            found.append("decimal commas")
        if self.encoding not in ("utf-8", "utf-8-sig"):
            found.append(f"encoding: {self.encoding.upper()}")
        return "; ".join(found)


class Lines:
    """Lines of a text file without comments, and how far it has been read.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    encoding : str
        As Python names it.
    is_row : callable, optional
        Whether a line that begins with ``#`` is part of the table all the same.

    Attributes
    ----------
    number : int
        Of the line read last, counted from 1.
    comments : list of int
        Lines that are comments.
    last_comments : deque of (int, str)
        The last of these, as they stand there.
    """

    def __init__(self, path: Path, encoding: str, is_row: Callable[[str], bool] = lambda _: False):
        self._path, self._encoding, self._is_row = path, encoding, is_row
        self.number = 0
        self.comments: list[int] = []
        self.last_comments: deque[tuple[int, str]] = deque(maxlen=_COMMENTS)

    def __iter__(self) -> Iterator[str]:
        with self._path.open(encoding=self._encoding, newline="") as file:
            for self.number, line in enumerate(file, 1):
                if self.number == 1 and _EXCEL.fullmatch(line):
                    continue
                if line.lstrip().startswith("#") and not self._is_row(line):
                    self.comments.append(self.number)
                    self.last_comments.append((self.number, line.strip()))
                elif "\0" in line:
                    raise UsageError(
                        f"{self._path}: line {self.number} contains a null character, so this is not a "
                        f"text table"
                    )
                else:
                    yield line


def find_layout(path: Path, encoding: str | None = None) -> Layout:
    """Infer the layout of a table from its first lines.

    Raises
    ------
    UsageError
        If it is no text, holds nothing, or there is no such encoding.
    """
    encoding = detected_encoding(path) if encoding is None else known_encoding(encoding)
    lines = Lines(path, encoding)
    sample: list[tuple[int, str]] = []
    above: list[tuple[int, str]] = []
    try:
        for line in lines:
            if not sample:
                above = list(lines.last_comments)
            if line.strip(" \t\r\n,;|"):
                sample.append((lines.number, line))
            if len(sample) > _SAMPLE:
                break
    except UnicodeDecodeError as error:
        raise UsageError(not_text(path, error)) from None
    if not sample:
        raise UsageError(f"{path}: contains no row of numbers; it needs at least one line of numbers")
    separator, comma = _separator([line for _, line in sample], tabs_first=path.suffix.lower() == ".tsv")
    rows = [(sample[last][0], cells) for last, cells in _parsed([line for _, line in sample], separator)]
    tagged = [
        (number, cells)
        for number, line in lines.last_comments if CELL.match(line)
        for _, cells in _parsed([line], separator) if len(cells) == len(rows[0][1]) > 1
    ]  # fmt: skip
    rows = [*_rows_above(above, tagged, [cells for _, cells in rows], separator, comma), *rows, *tagged]
    return _interpret(path, rows, separator, comma, encoding)


def _rows_above(
    comments: Sequence[tuple[int, str]],
    tagged: Sequence[tuple[int, list[str]]],
    rows: Sequence[list[str]],
    separator: str,
    comma: bool,
) -> list[tuple[int, list[str]]]:
    """Lines with ``#`` above all others that are no comments: rows such as "#tag,1.5", or a header."""
    found, all_rows = [], [*rows, *(cells for _, cells in tagged)]
    for number, cells in tagged[: sum(number <= comments[-1][0] for number, _ in tagged) if comments else 0]:
        numbers, below = ([is_number(cell, comma) for cell in row] for row in (cells, rows[0]))
        if numbers == below and (any(numbers) or _come_again(cells, all_rows)):
            found.append((number, cells))
    if not found and comments:
        cells = _parsed([comments[-1][1].lstrip("#").strip()], separator)[0][1]
        if len(cells) == len(rows[0]) and not any(is_number(cell, comma) for cell in cells):
            found = [(comments[-1][0], cells)]  # "# a,b,c", as numpy.savetxt writes a header
    return found


def _come_again(names: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether each word of a line stands below in its column, other than where the line is repeated."""
    rows = [row for row in others if len(row) == len(names) and list(map(str.strip, row)) != list(names)]
    below = [{row[i].strip() for row in rows} for i in range(len(names))]
    return len(rows) >= _FEWEST and all(map(set.__contains__, below, names))


def _parsed(lines: Sequence[str], separator: str) -> list[tuple[int, list[str]]]:
    """The last line, by its index, and the cells of each record; no cells if one is too long.

    A cell in quotes may go on in the next line.
    """
    reader = csv.reader([line.strip() if separator == " " else line for line in lines], **dialect(separator))
    found: list[tuple[int, list[str]]] = []
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return found
        except csv.Error:
            cells = []
        found.append((reader.line_num - 1, cells))


def dialect(separator: str) -> dict[str, Any]:
    """Options of :func:`csv.reader`."""
    return {"delimiter": separator, "skipinitialspace": separator == " "}


def is_number(cell: str, comma: bool = False) -> bool:
    """Whether a cell is a finite number as numpy reads it."""
    cell = cell.replace(",", ".") if comma else cell
    if _PLAIN.fullmatch(cell):  # much faster than numpy, which is asked about all others
        return math.isfinite(float(cell))
    try:
        return bool(np.isfinite(np.array([cell], dtype=np.float64)).all())
    except ValueError:
        return False


def _separator(lines: Sequence[str], *, tabs_first: bool) -> tuple[str, bool]:
    """The separator under which most cells are numbers, and whether commas mark decimals."""
    found: list[tuple[float, float, int, int, str, bool]] = []
    order = "\t,;|" if tabs_first else ",;\t|"
    for place, separator in enumerate((*order, " ")):
        rows = [cells for _, cells in _parsed(lines, separator)]
        counts = [len(row) for row in rows]
        count = max(set(counts), key=counts.count)
        if count < 2 or (separator == " " and found):
            continue
        cells = [cell for row in rows[1:] or rows for cell in row]
        comma = separator != "," and _has_commas(cells)
        grouped = _GROUPED_WITH_COMMA if comma else _GROUPED_WITH_POINT
        right = sum(is_number(cell, comma) or bool(grouped.fullmatch(cell)) for cell in cells) / len(cells)
        regular = counts.count(count) / len(counts)
        found.append((right * regular, regular, count, -place, separator, comma))
    if found:
        *_, separator, comma = max(found)
        return separator, comma
    cells = [line.strip() for line in lines[1:] or lines]
    return ";", _has_commas(cells)  # one column: no separator is seen


def _has_commas(cells: Sequence[str]) -> bool:
    return any(map(_WITH_COMMA.fullmatch, cells)) and not any(map(_WITH_POINT.fullmatch, cells))


def _interpret(
    path: Path, rows: list[tuple[int, list[str]]], separator: str, comma: bool, encoding: str
) -> Layout:
    number, first = rows[0]
    if not first:
        raise csv.Error(f"line {number} has a cell of more than {csv.field_size_limit():,} characters")
    others = [row for _, row in rows[1:]]
    names = [cell.strip() for cell in first]
    is_header = _is_header(names, others, comma)
    if is_header and len(names) > 1 and others and all(len(row) == len(names) + 1 for row in others):
        names.insert(0, "")  # as R writes names of rows: the header has no cell for them
    words = [name.lower() for name in names]
    if words.count("label") > 1:
        raise UsageError(f"{path}: {words.count('label')} columns are headed 'label'; one may hold labels")
    label = words.index("label") if "label" in words else None
    index = 0 if is_header and _UNNAMED.fullmatch(words[0]) and label != 0 and len(names) > 1 else None
    if index == 0 and not any(row[0].strip() for row in others if row):
        index = None  # nothing stands there: an empty column
    empty = frozenset(
        i for i, name in enumerate(names)
        if is_header and not name and i != index and not any(row[i].strip() for row in others if len(row) > i)
    )  # fmt: skip
    return Layout(
        tuple(names) if is_header else tuple(str(i + 1) for i in range(len(names))),
        number if is_header else None,
        number + is_header,
        separator,
        comma,
        label,
        index,
        empty,
        encoding,
    )


def _is_header(names: Sequence[str], others: Sequence[Sequence[str]], comma: bool) -> bool:
    """Whether the first line names the columns: by words, "label", or numbers that count them."""
    if any(name.lower() == "label" for name in names):
        return True
    numeric = [name for name in names if is_number(name, comma)]
    if not numeric:
        return "" in names or not _come_again(names, others)
    if not all(re.fullmatch(r"\d{1,6}", name) for name in numeric):
        return False
    counted = [int(name) for name in numeric]
    if counted != list(range(counted[0], counted[0] + len(counted))):
        return False
    if counted[0] not in (0, 1) and not (counted[0] >= 1000 and counted[-1] <= 2999):
        return False
    if len(numeric) < len(names):  # "country,1990,1991", unless it is a row with a hole in it
        rest = [i for i, name in enumerate(names) if not is_number(name, comma)]
        return rest == [0] and len(counted) > 1
    if counted[0] == 0 and len(counted) > 3:
        return True
    # A first row may happen to count; hardly so where every column has fractions below it.
    columns = [[row[i] for row in others if len(row) > i] for i in range(len(names))]
    fractions = all(any(not re.fullmatch(r"\s*[-+]?\d*\s*", cell) for cell in column) for column in columns)
    return len(counted) > 1 and (fractions or (counted[0] >= 1000 and len(counted) > 2))

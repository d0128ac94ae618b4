"""The layout of a text table: encoding, separator, decimal mark, header, index and label columns."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.errors import UsageError, shortened

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|", " ": "blank"}
_SAMPLE = 50  # lines that settle the layout
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WITH_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")
_WITH_POINT = re.compile(r"\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*")
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
    comment : (int, str) or None
        The comment read last, with its line, if nothing but comments followed.
    """

    def __init__(self, path: Path, encoding: str, is_row: Callable[[str], bool] = lambda _: False):
        self._path, self._encoding, self._is_row = path, encoding, is_row
        self.number = 0
        self.comment: tuple[int, str] | None = None

    def __iter__(self) -> Iterator[str]:
        with self._path.open(encoding=self._encoding, newline="") as file:
            for self.number, line in enumerate(file, 1):
                if self.number == 1 and _EXCEL.fullmatch(line):
                    continue
                if line.lstrip().startswith("#") and not self._is_row(line):
                    self.comment = (self.number, line.lstrip().lstrip("#"))
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
    encoding = _encoding(path) if encoding is None else _known(encoding)
    lines = Lines(path, encoding)
    sample: list[tuple[int, str]] = []
    before: tuple[int, str] | None = None
    try:
        for line in lines:
            if not sample:
                before = lines.comment
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
    if before is not None:
        cells = _parsed([before[1].strip()], separator)[0][1]
        if len(cells) == len(rows[0][1]) and not any(is_number(cell, comma) for cell in cells):
            rows.insert(0, (before[0], cells))  # "# a,b,c", as numpy.savetxt writes a header
    return _interpret(path, rows, separator, comma, encoding)


def _known(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding)
        found.encode("a")
    except (LookupError, TypeError, ValueError):
        raise UsageError(
            f"encoding = {shortened(encoding)}: there is no such encoding of text; Python knows utf-8, "
            "latin-1, windows-1252, utf-16 and others"
        ) from None
    return "utf-8-sig" if found.name == "utf-8" else found.name


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4096)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        # UTF-16 without a mark has a zero in every other byte of plain letters.
        for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
            if zeros.count(0) > 0.9 * len(zeros):
                return encoding
        raise UsageError(f"{path}: is not a text table (it contains null bytes); save it as UTF-8 CSV")
    return "utf-8"


def not_text(path: Path, error: UnicodeDecodeError) -> str:
    """The message for a file that is not in the detected encoding."""
    if error.encoding in ("utf-8", "utf-8-sig"):
        byte = error.object[error.start]
        return (
            f"{path}: is not a text table in UTF-8 (byte 0x{byte:02x}); if it is in Latin-1 or another "
            "encoding of Windows, name it: encoding='windows-1252'"
        )
    return f"{path}: is not a text table ({error.encoding}: {error.reason}); save it as UTF-8 CSV"


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
    try:
        return bool(
            np.isfinite(np.array([cell.replace(",", ".") if comma else cell], dtype=np.float64)).all()
        )
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
        right = sum(is_number(cell, comma) for cell in cells) / len(cells)
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
        return True
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

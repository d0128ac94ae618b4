"""One column of a table as its source has it: numbers, words and dates, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from elboroom.data.rows import Array
from elboroom.data.spelling import one_spelling
from elboroom.data.table_dates import like_a_date

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "null", "nan", "nat", "?", "-"})
"""What a missing cell says, in small letters."""
NONE = "none"
"""What a missing number or date may say; among words it is one of them."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0\d+(?:[.,]\d*)?")
_NOT_PLAIN = re.compile(r"[^0-9eE+\-. \n]|^ *[+-]?0\d|^ *$", re.MULTILINE)
_DECIMALS = re.compile(r"^ *[+-]?\d*\.(\d+) *$", re.MULTILINE)
_ENOUGH_DECIMALS = 8  # beyond what float32 holds


def row_place(row: int) -> str:
    """Name a row of data in memory."""
    return f"row {row} (counting from 0)"


@dataclass
class Cells:
    """The n cells of one column. A cell is a number, a word or a date; if none of them, it is missing.

    Attributes
    ----------
    name : str
        Heading.
    numbers : numpy.ndarray
        float64 (n,); nan where the cell is no number.
    codes : numpy.ndarray, optional
        int32 (n,), which of the words; −1 where the cell is no word. None if no cell is.
    words : tuple of str
        Different words.
    dates : numpy.ndarray, optional
        datetime64[us] (n,) in UTC; NaT where the cell is no date. None if no cell is.
    categories : tuple of str
        Categories that the source declares, all words among them.
    ordered : bool
        Whether they are in an order that means something.
    boolean : bool
        Whether the source holds booleans; their words are "False" and "True".
    respelled : tuple of str
        Words that the source writes in several Unicode normal forms, each taken as one word.
    dtype, unit, timezone, decimals, comma
        As in `elboroom.config.columns.Column`.
    place : callable
        What to call row i in messages.
    """

    name: str
    numbers: Array
    codes: Array | None = None
    words: tuple[str, ...] = ()
    dates: Array | None = None
    categories: tuple[str, ...] = ()
    ordered: bool = False
    boolean: bool = False
    respelled: tuple[str, ...] = ()
    dtype: str = ""
    unit: str = ""
    timezone: str = ""
    decimals: int | None = None
    comma: bool = False
    place: Callable[[int], str] = row_place

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def is_word(self) -> Array:
        """Which cells are words, bool (n,)."""
        return np.zeros(len(self), bool) if self.codes is None else self.codes >= 0

    @property
    def is_number(self) -> Array:
        """Which cells are numbers, bool (n,)."""
        return ~np.isnan(self.numbers)

    @property
    def is_date(self) -> Array:
        """Which cells are dates, bool (n,)."""
        return np.zeros(len(self), bool) if self.dates is None else ~np.isnat(self.dates)

    @property
    def missing(self) -> Array:
        """Which cells are missing, bool (n,)."""
        return ~(self.is_number | self.is_word | self.is_date)

    def taken(self, rows: Array) -> Cells:
        """Some of the rows."""
        return replace(
            self,
            numbers=self.numbers[rows],
            codes=None if self.codes is None else self.codes[rows],
            dates=None if self.dates is None else self.dates[rows],
            place=lambda row: self.place(int(rows[row])),
        )

    def said(self, row: int) -> str:
        """What one cell says."""
        if self.codes is not None and self.codes[row] >= 0:
            return self.words[self.codes[row]]
        if self.dates is not None and not np.isnat(self.dates[row]):
            return str(self.dates[row])
        return number_text(self.numbers[row])


def settled(cells: Cells, levels: Collection[str] = ()) -> Cells:
    """Cells without the words of `MISSING`, such as "NA", unless they are levels that the column has.

    What a source declares as a category stays one. "none" is missing among numbers and dates alone: a
    diagnosis may be "none". Words that differ in Unicode normal form alone become one, except for levels.
    """
    cells = _in_one_spelling(cells, levels)
    others = [word for word in cells.words if word.lower() not in (*MISSING, NONE)]
    without = MISSING if others and not all(map(like_a_date, others)) else MISSING | {NONE}
    gone = np.array([word.lower() in without and word not in levels for word in cells.words], bool)
    if cells.codes is None or cells.categories or not gone.any():
        return cells
    number = np.where(gone, -1, np.cumsum(~gone) - 1)
    codes = np.where(cells.codes >= 0, number[cells.codes], -1).astype(np.int32)
    words = tuple(word for word, without in zip(cells.words, gone, strict=True) if not without)
    return replace(cells, codes=codes if words else None, words=words)


def _in_one_spelling(cells: Cells, levels: Collection[str]) -> Cells:
    spelled = one_spelling(word for word in cells.words if word not in levels)
    if cells.codes is None or not spelled:
        return cells
    place: dict[str, int] = {}
    number = np.array([place.setdefault(spelled.get(word, word), len(place)) for word in cells.words])
    return replace(
        cells,
        codes=np.where(cells.codes >= 0, number[cells.codes], -1).astype(np.int32),
        words=tuple(place),
        categories=tuple(dict.fromkeys(spelled.get(word, word) for word in cells.categories)),
        respelled=tuple(dict.fromkeys(spelled.values())),
    )


def is_code(word: str) -> bool:
    """Whether a word is a number with a zero in front, such as "007"."""
    return _CODE.fullmatch(word) is not None


def number_text(value: float) -> str:
    """Write a number that is a category: the shortest text that gives the same number.

    Examples
    --------
    >>> number_text(3.0), number_text(2.5)
    ('3', '2.5')
    """
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


class ColumnReader:
    """Collects the cells of one column of a text table.

    Parameters
    ----------
    comma : bool
        Whether a comma marks decimals. A point then is no part of a number: 1.234 may be 1234.
    text : bool
        Whether numbers are words, too.
    levels : collection of str
        Words that the column is known to have, even if they are in `MISSING`.
    """

    def __init__(self, comma: bool, *, text: bool = False, levels: Collection[str] = ()):
        self.comma, self.text, self.levels = comma, text, levels
        self.decimals: int | None = 0
        self._numbers: list[Array] = []
        self._codes: list[Array | None] = []
        self._code_of: dict[str, int] = {}  # of each cell that is no number, −1 if it is missing
        self._words: dict[str, int] = {}

    def add(self, cells: Sequence[str]) -> None:
        """Take the next cells."""
        text = "\n".join(cells)
        points = self.comma and "." in text
        if self.comma:
            text = text.replace(",", ".")
        self._count_decimals(text)
        if not self.text and not points and not _NOT_PLAIN.search(text):
            try:
                numbers = np.array(text.split("\n"), np.float64)
            except ValueError:
                numbers = np.empty(0)
            if len(numbers) == len(cells):
                self._numbers.append(numbers)
                self._codes.append(None)
                return
        self._add_each(cells)

    def _add_each(self, cells: Sequence[str]) -> None:
        numbers, codes = np.full(len(cells), np.nan), np.full(len(cells), -1, np.int32)
        for i, cell in enumerate(cells):
            code = self._code_of.get(cell)
            if code is None:
                word = cell.strip()
                value = None if self.text else _number(word, self.comma)
                if value is not None:
                    numbers[i] = value
                    continue
                missing = word.lower() in MISSING and word not in self.levels
                code = -1 if missing else self._words.setdefault(word, len(self._words))
                self._code_of[cell] = code
            codes[i] = code
        self._numbers.append(numbers)
        self._codes.append(codes if (codes >= 0).any() else None)

    def _count_decimals(self, text: str) -> None:
        if self.decimals is None or self.decimals >= _ENOUGH_DECIMALS:
            return
        found = _DECIMALS.findall(text)
        if found:
            self.decimals = max(self.decimals, max(map(len, found)))

    @property
    def is_text(self) -> bool:
        """Whether most cells are words, so that the numbers among them are words, too."""
        words = sum(int((codes >= 0).sum()) for codes in self._codes if codes is not None)
        numbers = [part[~np.isnan(part)] for part in self._numbers]
        count = sum(map(len, numbers))
        if self.text or not count or words < count or all(map(is_code, self._words)):
            return False
        return len(self._words) >= len(np.unique(np.concatenate(numbers)))

    def finish(self, name: str, place: Callable[[int], str]) -> Cells:
        """All cells."""
        numbers = np.concatenate(self._numbers) if self._numbers else np.empty(0)
        codes = None
        if self._words:
            codes = np.concatenate([
                np.full(len(part), -1, np.int32) if own is None else own
                for part, own in zip(self._numbers, self._codes, strict=True)
            ])  # fmt: skip
        words = tuple(self._words)
        if codes is not None and _are_padded_numbers(words, numbers):
            values = np.array([float(word.replace(",", ".")) for word in words])
            numbers = np.where(codes >= 0, values[codes], numbers)
            codes, words = None, ()
        decimals = self.decimals if (self.decimals or 0) < _ENOUGH_DECIMALS else None
        return Cells(name, numbers, codes, words, decimals=decimals, comma=self.comma, place=place)


def _number(word: str, comma: bool) -> float | None:
    """A finite or infinite number; None for anything else, such as "007", which is a code."""
    if comma:
        word = word.replace(".", "·").replace(",", ".")
    if _NUMBER.fullmatch(word) and not _CODE.fullmatch(word):
        return float(word)
    infinite = _INFINITE.fullmatch(word)
    return None if infinite is None else float(f"{infinite[1]}inf")


def _are_padded_numbers(words: Sequence[str], numbers: Array) -> bool:
    """Whether words such as "007" are numbers with zeros in front, not codes of one length as in "02134"."""
    if not all(map(is_code, words)):
        return False
    known = numbers[~np.isnan(numbers)]
    whole = bool((known == np.floor(known)).all()) and not any(re.search("[.,+-]", word) for word in words)
    if not whole or not np.isfinite(known).all():
        return True
    lengths = {len(word) for word in words}
    if len(known):
        lengths |= {len(number_text(value)) for value in (known.min(), known.max())}
    return len(lengths) > 1

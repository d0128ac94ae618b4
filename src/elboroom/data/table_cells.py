"""One column of a table as its source has it: numbers, words and dates, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from elboroom.data.rows import Array
from elboroom.data.spelling import one_spelling
from elboroom.data.table_dates import like_a_date

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "null", "nan", "nat", "?", "-"})
"""What a missing cell says, in small letters."""
NONE = "none"
"""What a missing number or date may say; among words it is one of them."""

LONG = re.compile(r"[+-]?\d{16,}")
"""A whole number that may have more digits than a float64 holds."""
_CODE = re.compile(r"[+-]?0\d+(?:[.,]\d*)?")


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
    absent : tuple of str
        Words that were taken for a missing cell, such as "NA", as the source writes them.
    thousands : str
        A number whose point may separate thousands, such as "1.234"; empty if there is none.
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
    absent: tuple[str, ...] = ()
    thousands: str = ""
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
    absent = tuple(word for word, without in zip(cells.words, gone, strict=True) if without)
    return replace(cells, codes=codes if words else None, words=words, absent=(*cells.absent, *absent))


def as_words(cells: Cells) -> Cells:
    """Cells whose numbers are words, too.

    Examples
    --------
    >>> as_words(Cells("day", np.array([20210131.0, np.nan]))).words
    ('20210131',)
    """
    if not cells.is_number.any():
        return cells
    numbers, which = np.unique(cells.numbers[cells.is_number], return_inverse=True)
    place = {word: i for i, word in enumerate(cells.words)}
    of_number = [place.setdefault(number_text(number), len(place)) for number in numbers]
    codes = np.full(len(cells), -1, np.int32) if cells.codes is None else cells.codes.copy()
    codes[cells.is_number] = np.array(of_number, np.int32)[which]
    return replace(cells, numbers=np.full(len(cells), np.nan), codes=codes, words=tuple(place))


def with_long_numbers(cells: Cells) -> Cells:
    """Cells whose long whole numbers, kept as words so that no digit is lost, are numbers."""
    values = [float(word) if LONG.fullmatch(word) else np.nan for word in cells.words]
    if cells.codes is None or np.isnan(values).all():
        return cells
    found = np.where(cells.codes >= 0, np.array(values)[cells.codes], np.nan)
    codes = np.where(np.isnan(found), cells.codes, -1).astype(np.int32)
    return replace(cells, numbers=np.where(np.isnan(found), cells.numbers, found), codes=codes)


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

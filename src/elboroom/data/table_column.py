"""The cells of one column of a text table, read a few lines at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

import numpy as np

from elboroom.data.rows import Array
from elboroom.data.table_cells import LONG, MISSING, Cells, is_code, number_text

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE)
_NOT_PLAIN = re.compile(r"[^0-9eE+\-. \n]|^ *[+-]?0\d|^ *$", re.MULTILINE)
_DECIMALS = re.compile(r"^ *[+-]?\d*\.(\d+) *$", re.MULTILINE)
_ENOUGH_DECIMALS = 8  # beyond what float32 holds
_FEWEST_DOTTED = 20  # numbers with three decimals from which on that is no coincidence
_EXACT = 1 << 53  # beyond this, float64 skips whole numbers


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
        self._long = False
        self._dotted, self._fewest = 0, _ENOUGH_DECIMALS
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
                if not self._long and len(cells) and np.abs(numbers).max() > _EXACT:
                    self._long = any(LONG.fullmatch(cell.strip()) for cell in cells)
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
                    self._long = self._long or (abs(value) > _EXACT and LONG.fullmatch(word) is not None)
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
            lengths = set(map(len, found))
            self.decimals, self._fewest = max(self.decimals, *lengths), min(self._fewest, *lengths)
            self._dotted += len(found)

    @property
    def has_long_numbers(self) -> bool:
        """Whether all numbers are whole and one has more digits than a float64 holds."""
        return self._long and self.decimals == 0 and not self.text

    @property
    def is_text(self) -> bool:
        """Whether most cells are words, so that the numbers among them are words, too."""
        words = sum(int((codes >= 0).sum()) for codes in self._codes if codes is not None)
        numbers = [part[~np.isnan(part)] for part in self._numbers]
        count = sum(map(len, numbers))
        if self.text or not count or words < count or all(map(is_code, self._words)):
            return False
        return len(self._words) >= len(np.unique(np.concatenate(numbers)))

    def finish(self, name: str, place: Callable[[int], str], *, semicolons: bool = False) -> Cells:
        """All cells; ``semicolons`` separate them where a point may not be that of decimals."""
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
        return Cells(
            name,
            numbers,
            codes,
            words,
            absent=tuple(cell.strip() for cell, code in self._code_of.items() if code < 0 and cell.strip()),
            thousands=self._thousands(numbers, semicolons),
            decimals=decimals,
            comma=self.comma,
            place=place,
        )

    def _thousands(self, numbers: Array, semicolons: bool) -> str:
        """A number whose decimal mark may separate thousands: all have three decimals, or none."""
        known = np.abs(numbers[~np.isnan(numbers)])
        if (
            self._dotted < _FEWEST_DOTTED
            or self._fewest != 3
            or self.decimals != 3
            or self._dotted > len(known)
        ):
            return ""
        some_without = self._dotted < len(known)
        if not (some_without or semicolons or self.comma) or (known >= 1000).any():
            return ""
        if ((known > 0) & (known < 1)).any():
            return ""  # no thousands begin with 0
        text = f"{known[known != np.floor(known)][0]:.3f}" if (known != np.floor(known)).any() else ""
        return text.replace(".", ",") if self.comma else text


def _number(word: str, comma: bool) -> float | None:
    """A finite or infinite number; None for anything else, such as "007", which is a code."""
    if comma:
        word = word.replace(".", "·").replace(",", ".")
    if _NUMBER.fullmatch(word) and not is_code(word):
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

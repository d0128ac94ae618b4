"""Dates in tables: their format, and how they become numbers and dates again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Literal

import numpy as np

from elboroom.data.rows import Array

Step = Literal["day", "hour", "minute", "second"]

MICROSECONDS: dict[str, int] = {
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
}
"""Microseconds in each step of a date, the longest first."""

_LIKE_A_DATE = re.compile(
    r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2})"
    r"|\d{1,2}([- ])[A-Za-z]{3,9}\5(\d{4}|\d{2})|[A-Za-z]{3,9} \d{1,2}, \d{4})([ T].*)?"
)
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
_SHORT = tuple(day.replace("%Y", "%y") for day in _DAYS if day.endswith("%Y"))
_NAMED = ("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %b %y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")
_TIMES = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
_NO_DATE = np.datetime64("NaT", "us")
_MOST_HOPELESS = 20  # words that are in no format, after which no other is looked at: each is slow


class DatesError(ValueError):
    """Dates whose format is not one, or cannot be told.

    Attributes
    ----------
    date_format : str
        A format that may be meant: that of the most.
    word : str
        The word that is not in it; empty if all are.
    is_date : bool
        Whether that word is a date in another format.
    """

    def __init__(self, message: str, date_format: str, word: str = "", *, is_date: bool = True):
        super().__init__(message)
        self.date_format, self.word, self.is_date = date_format, word, is_date


@dataclass(frozen=True)
class Dates:
    """Parsed dates.

    Attributes
    ----------
    values : numpy.ndarray
        datetime64[us] in UTC; NaT for a word that is no date.
    date_format : str
        As for :meth:`datetime.datetime.strptime`.
    """

    values: Array
    date_format: str


def like_a_date(word: str) -> bool:
    """Whether a word looks like a date of numbers."""
    return _LIKE_A_DATE.fullmatch(word) is not None


def parse_dates(words: Sequence[str], date_format: str) -> Array:
    """Parse dates of one format, as datetime64[us] in UTC; NaT where a word is in another format."""
    found = np.full(len(words), _NO_DATE)
    iso = date_format.startswith("%Y-%m-%d")
    for i, word in enumerate(words):
        try:
            # fromisoformat is much faster, but takes more than one format.
            when = datetime.fromisoformat(word) if iso and _is_like(word, date_format) else None
            when = when or datetime.strptime(word, date_format)
        except ValueError:
            continue
        found[i] = when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
    return found


_LENGTHS = {"%Y-%m-%d": 10, "%Y-%m-%d %H:%M": 16, "%Y-%m-%d %H:%M:%S": 19}
_LENGTHS |= {form.replace(" ", "T"): length for form, length in _LENGTHS.items()}


def _is_like(word: str, date_format: str) -> bool:
    return len(word) == _LENGTHS.get(date_format) and (len(word) == 10 or word[10] == date_format[8])


def find_dates(words: Sequence[str], counts: Sequence[int] | Array | None = None) -> Dates | None:
    """Find the format of words that are dates, and parse them; None if they are no dates.

    Parameters
    ----------
    words : sequence of str
        Different words.
    counts : sequence of int, optional
        How many cells say each; of several formats, that of the most cells is the one meant.

    Raises
    ------
    DatesError
        If days and months cannot be told apart, the dates are in two formats, or one is no date in the format
        of the others.

    Examples
    --------
    >>> find_dates(["31.12.2020", "1.1.2021"]).date_format
    '%d.%m.%Y'
    >>> find_dates(["5 May 2020"]).date_format
    '%d %b %Y'
    """
    if not words or not all(map(_LIKE_A_DATE.fullmatch, words)):
        return None
    tried = _tried(words)
    if not tried:
        return None
    weights = np.ones(len(words), np.int64) if counts is None else np.asarray(counts)
    best = max(tried, key=lambda dates: int(weights[~np.isnat(dates.values)].sum()))
    form, strange = best.date_format, np.isnat(best.values)
    fits = words[int(np.flatnonzero(~strange)[0])]
    for other in tried:
        same = other.date_format.replace("%B", "%b") == form.replace("%B", "%b")  # May is short and long
        if not same and (np.isnat(other.values) == strange).all():
            raise DatesError(f"{fits!r} may be {form} or {other.date_format}", form)
    if not strange.any():
        return best
    dated = [i for i in np.flatnonzero(strange).tolist() if not all(np.isnat(d.values[i]) for d in tried)]
    if dated:
        word = words[dated[0]]
        raise DatesError(f"{fits!r} and {word!r} are dates in two formats", form, word)
    word = words[int(np.flatnonzero(strange)[0])]
    raise DatesError(f"{word!r} is not a date like the others, {form},", form, word, is_date=False)


def _tried(words: Sequence[str]) -> list[Dates]:
    """Words by each format that one of them is in."""
    found: list[Dates] = []
    known, hopeless = np.zeros(len(words), bool), 0
    for i, word in enumerate(words):
        if known[i] or hopeless > _MOST_HOPELESS:
            continue
        formats = [form for form in _formats(word) if form not in {dates.date_format for dates in found}]
        hopeless += not formats
        for form in formats:
            found.append(Dates(parse_dates(words, form), form))
            known |= ~np.isnat(found[-1].values)
    return found


def _formats(word: str) -> Iterator[str]:
    """Formats that one word is in."""
    zone = "%z" if re.search(r":\d\d.*(Z|[+-]\d\d:?\d\d)$", word) else ""
    for day, time, between in product((*_DAYS, *_SHORT, *_NAMED), _TIMES, (" ", "T")):
        form = f"{day}{between}{time}{zone}" if time else day
        if (time or (between == " " and not zone)) and not np.isnat(parse_dates([word], form))[0]:
            yield form


def step_of(dates: Array) -> Step:
    """The longest step that all dates (NaT allowed) are whole numbers of; seconds if none is."""
    for step in ("day", "hour", "minute"):
        if are_whole(dates, step):
            return step
    return "second"


def first_day(dates: Array) -> str:
    """The day of the first of these dates."""
    return str(dates[~np.isnat(dates)].min().astype("datetime64[D]"))


def as_steps(dates: Array, origin: str, step: str) -> Array:
    """Dates as steps since a day, float64; nan for NaT.

    Examples
    --------
    >>> as_steps(np.array(["2020-01-02T12:00", "NaT"], "datetime64[us]"), "2020-01-01", "day")
    array([1.5, nan])
    """
    since = (dates - np.datetime64(origin, "us")).astype(np.int64)
    return np.where(np.isnat(dates), np.nan, since / MICROSECONDS[step])


def are_whole(dates: Array, step: str) -> bool:
    """Whether all dates (NaT allowed) are whole numbers of a step."""
    return not (dates[~np.isnat(dates)].astype(np.int64) % MICROSECONDS[step]).any()


def from_steps(values: Array, origin: str, step: str, *, whole: bool = True) -> Array:
    """Steps since a day, rounded to whole ones if asked to, as dates, datetime64[us]; NaT for nan.

    Examples
    --------
    >>> from_steps(np.array([1.4, np.nan]), "2020-01-01", "day")
    array(['2020-01-02T00:00:00.000000', 'NaT'], dtype='datetime64[us]')
    """
    known = np.where(np.isnan(values), 0, values)
    known = (np.round(known) if whole else known) * MICROSECONDS[step]
    known = np.round(known).astype(np.int64)
    found = np.datetime64(origin, "us") + known.astype("timedelta64[us]")
    return np.where(np.isnan(values), _NO_DATE, found)


def date_texts(dates: Array, date_format: str) -> list[str]:
    """Write dates in a format; nothing for NaT."""
    zoned = "%z" in date_format
    return [
        "" if when is None else (when.replace(tzinfo=UTC) if zoned else when).strftime(date_format)
        for when in dates.astype("datetime64[us]").tolist()
    ]

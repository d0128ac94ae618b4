"""Conditions on the columns of a table: ``job=cook, age>40``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elboroom.config.columns import COUNTS, WITH_CATEGORIES, Column
from elboroom.data.spelling import speller
from elboroom.data.table_dates import as_steps, parse_dates
from elboroom.errors import UsageError, nearest, shortened

_OPERATOR = re.compile(r"\s*(==|!=|<=|>=|=|<|>|≠|≤|≥)\s*")
_SPELLED = {"==": "=", "≠": "!=", "≤": "<=", "≥": ">="}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")

Wanted = str | Mapping[str, Any]
"""A condition as text, or column → value, (low, high) with None for an open end, or a set of values."""


@dataclass(frozen=True)
class Event:
    """The values that one column may take.

    Attributes
    ----------
    place : int
        Which column.
    column : Column
        The column itself.
    categories : frozenset of int or None
        The categories that are allowed; None for a column of numbers.
    low, high : float
        The smallest and the largest number that are allowed; equal if a number is given exactly.
    text : str
        The event as it was asked for.
    """

    place: int
    column: Column
    categories: frozenset[int] | None = None
    low: float = -math.inf
    high: float = math.inf
    text: str = ""

    @property
    def is_point(self) -> bool:
        """Whether a number that has a density, and no probability, is given exactly."""
        return self.categories is None and self.low == self.high and self.column.family not in COUNTS

    @property
    def is_empty(self) -> bool:
        """Whether no value is allowed."""
        return self.low > self.high if self.categories is None else not self.categories

    def includes(self, value: float) -> bool:
        """Whether a cell lies in the event."""
        if self.categories is not None:
            return not math.isnan(value) and int(value) in self.categories
        return self.low <= value <= self.high


def read_conditions(wanted: Wanted, columns: Sequence[Column]) -> tuple[Event, ...]:
    """Read conditions on columns; those on one column must hold together.

    Parameters
    ----------
    wanted : str or mapping
        ``"job=cook|nurse, age>40, age<=60"``: conditions with ``= != < <= > >=``, separated by commas, with
        ``|`` between alternatives and double quotes around what has one of these signs itself. Or a mapping
        from a column to a value, to a list or set of values, or to a tuple (low, high) with None for an open
        end.
    columns : sequence of Column
        The columns of the model.

    Raises
    ------
    UsageError
        If there is no such column or category, a value does not fit its column, or conditions contradict
        each other.

    Examples
    --------
    >>> age = Column(name="age", kind="real")
    >>> job = Column(name="job", kind="category", categories=("cook", "nurse", "smith"))
    >>> for event in read_conditions("age>40, job!=cook", [age, job]):
    ...     print(event.column.name, event.low, event.high, event.categories)
    age 40.00000000000001 inf None
    job -inf inf frozenset({1, 2})
    """
    found: dict[int, Event] = {}
    if not (wanted.strip() if isinstance(wanted, str) else wanted):
        raise UsageError("the condition is empty; give one such as 'age>40'")
    for piece in _from_text(wanted, columns) if isinstance(wanted, str) else _from_mapping(wanted, columns):
        before = found.get(piece.place)
        found[piece.place] = event = piece if before is None else _both(before, piece)
        if event.is_empty:
            raise UsageError(
                f"the condition {shortened(event.text)} contradicts itself: no value satisfies it"
            )
    return tuple(found.values())


def _from_text(text: str, columns: Sequence[Column]) -> Iterable[Event]:
    pieces = _split(text, ",")
    for before, piece in zip(["", *pieces], pieces, strict=False):
        if not piece.strip():
            raise UsageError(f"condition {shortened(text)}: nothing stands beside a comma; leave it out")
        if _DECIMAL_COMMA.fullmatch(f"{_after_operator(before)},{piece}"):
            raise UsageError(
                f"condition {shortened(f'{before},{piece}'.strip())}: a comma separates conditions; write "
                f"decimals with a point, {_after_operator(before).strip()}.{piece.strip()}"
            )
        place, rest = _column_of(piece.strip(), columns)
        match = _OPERATOR.match(rest)
        if match is None:
            raise UsageError(
                f"condition {shortened(piece.strip())}: after the column comes one of = != < <= > >= "
                "and a value"
            )
        value = rest[match.end() :].strip()
        if not value:
            raise UsageError(f"condition {shortened(piece.strip())}: there is no value after {match[1]}")
        yield _compared(place, columns[place], _SPELLED.get(match[1], match[1]), _alternatives(value))


def _after_operator(piece: str) -> str:
    found = list(_OPERATOR.finditer(piece))
    return piece[found[-1].end() :] if found else ""


def _split(text: str, sign: str) -> list[str]:
    """Parts between signs that stand outside of double quotes."""
    parts = re.split(r'("(?:[^"]|"")*")', text)  # in quotes at odd places
    if any('"' in part for part in parts[::2]):
        raise UsageError(
            f"condition {shortened(text)}: a double quote is never closed; close it. Inside quotes, one is "
            "written as two"
        )
    found = [""]
    for place, part in enumerate(parts):
        first, *others = [part] if place % 2 else part.split(sign)
        found[-1] += first
        found += others
    return found


def _column_of(piece: str, columns: Sequence[Column]) -> tuple[int, str]:
    """The column that a condition begins with, and what follows its name."""
    if piece.startswith('"') and (match := re.match(r'"((?:[^"]|"")*)"', piece)):
        name, rest = match[1].replace('""', '"'), piece[match.end() :]
        return _place(name, columns), rest
    names = sorted(range(len(columns)), key=lambda i: -len(columns[i].name))
    for i in names:
        rest = piece.removeprefix(columns[i].name)
        if rest != piece and _OPERATOR.match(rest):
            return i, rest
    operator = re.search(_OPERATOR, piece)
    name = piece[: operator.start()] if operator else piece
    return _place(name.strip(), columns), piece[len(name) :]


def _place(name: str, columns: Sequence[Column]) -> int:
    names = [column.name for column in columns]
    name = speller(names)(name)
    if name not in names:
        raise UsageError(
            f"the model has no column {shortened(name)} (identifiers and ignored columns are not modelled); "
            f"{nearest(name, names)}"
        )
    return names.index(name)


def _alternatives(value: str) -> list[str]:
    parts = [part.strip() for part in _split(value, "|")]
    if not all(parts):
        raise UsageError(
            f"value {shortened(value)}: nothing stands beside a '|'; leave it out, or name an alternative"
        )
    quoted = [part.startswith('"') and part.endswith('"') and len(part) > 1 for part in parts]
    return [p[1:-1].replace('""', '"') if q else p for p, q in zip(parts, quoted, strict=True)]


def _from_mapping(wanted: Mapping[str, Any], columns: Sequence[Column]) -> Iterable[Event]:
    for name, value in wanted.items():
        place = _place(name, columns)
        column = columns[place]
        if isinstance(value, tuple):
            if len(value) != 2:
                raise UsageError(f"column {shortened(name)}: {value!r} is not an interval (low, high)")
            for sign, end in zip((">=", "<="), value, strict=True):
                if end is not None:
                    yield _compared(place, column, sign, [end])
            if value == (None, None):
                raise UsageError(f"column {shortened(name)}: the interval (None, None) has no end")
        else:
            several = isinstance(value, list | set | frozenset)
            yield _compared(place, column, "=", list(value) if several else [value])


def _compared(place: int, column: Column, sign: str, values: Sequence[Any]) -> Event:
    text = f"{column.name} {sign} {'|'.join(map(str, values))}"
    if column.kind in WITH_CATEGORIES:
        return Event(place, column, frozenset(_categories(column, sign, values)), text=text)
    if len(values) != 1 or sign == "!=":
        raise UsageError(
            f"column {shortened(column.name)} has numbers: give one value with =, or an interval by < and >"
        )
    value = _number(column, values[0])
    low, high = -math.inf, math.inf
    if sign in (">", ">=", "="):
        low = math.nextafter(value, math.inf) if sign == ">" else value
    if sign in ("<", "<=", "="):
        high = math.nextafter(value, -math.inf) if sign == "<" else value
    if column.kind == "count":
        low, high = max(0.0, _whole(low, math.ceil)), _whole(high, math.floor)
    return Event(place, column, None, low, high, text)


def _whole(value: float, rounded: Callable[[float], int]) -> float:
    return float(rounded(value)) if math.isfinite(value) else value


def _number(column: Column, value: Any) -> float:
    if column.kind == "datetime":
        return _steps(column, value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        point = f"; write {value.strip().replace(',', '.')}" if _has_decimal_comma(value) else ""
        raise UsageError(
            f"column {shortened(column.name)} has numbers, and {shortened(str(value))} is not one{point}"
        )
    return number


def _has_decimal_comma(value: Any) -> bool:
    return isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value) is not None


def _steps(column: Column, value: Any) -> float:
    """A date as the column counts it: in the column's format, or in ISO 8601."""
    for form in (column.date_format, "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
        dates = parse_dates([str(value)], form) if form else np.array(["NaT"], "datetime64[us]")
        if not np.isnat(dates[0]):
            return float(as_steps(dates, column.origin, column.step)[0])
    raise UsageError(
        f"column {shortened(column.name)} has dates, and {shortened(str(value))} is not one in the format "
        f"{column.date_format or '%Y-%m-%d'}"
    )


def _categories(column: Column, sign: str, values: Sequence[Any]) -> set[int]:
    names = column.categories
    chosen, as_known = set(), speller(names)
    for value in values:
        word = as_known(str(value))
        if word not in names:
            raise UsageError(
                f"column {shortened(column.name)} has no category {shortened(word)}; {nearest(word, names)}"
            )
        chosen.add(names.index(word))
    if sign in ("=", "!="):
        return chosen if sign == "=" else set(range(len(names))) - chosen
    if column.kind != "ordinal" or len(chosen) > 1:
        raise UsageError(
            f"column {shortened(column.name)}: {sign} needs an order, and the column is of kind "
            f"{column.kind}; use = or !="
        )
    (level,) = chosen
    compare = {"<": level.__gt__, "<=": level.__ge__, ">": level.__lt__, ">=": level.__le__}[sign]
    return {i for i in range(len(names)) if compare(i)}


def _both(one: Event, other: Event) -> Event:
    """What lies in both events of a column."""
    text = f"{one.text} and {other.text}"
    if one.categories is not None and other.categories is not None:
        return replace(one, categories=one.categories & other.categories, text=text)
    return replace(one, low=max(one.low, other.low), high=min(one.high, other.high), text=text)

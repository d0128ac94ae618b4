"""Columns of a table in memory as cells: arrays of numbers, booleans, dates, strings or any of them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from elboroom.data.rows import Array
from elboroom.data.table_cells import Cells
from elboroom.errors import UsageError, shortened

_EXACT = 1 << 53  # beyond this, float64 skips whole numbers
_SECOND = np.timedelta64(1_000_000, "us")


def array_cells(name: str, values: Array, dtype: str = "") -> Cells:
    """Cells of one column of a numpy array of any type.

    Raises
    ------
    UsageError
        If it holds anything but numbers, booleans, dates, durations and strings.
    """
    kind, dtype = values.dtype.kind, dtype or str(values.dtype)
    if kind == "b":
        return boolean_cells(name, values, np.zeros(len(values), bool), dtype)
    if kind in "iu" and len(values) and max(int(values.max()), -int(values.min())) > _EXACT:
        return object_cells(name, map(str, values.tolist()), dtype)
    if kind in "iuf":
        return Cells(name, values.astype(np.float64), dtype=dtype)
    if kind == "M":
        return Cells(name, _none(len(values)), dates=values.astype("datetime64[us]"), dtype=dtype)
    if kind == "m":
        seconds = np.where(np.isnat(values), np.nan, values / _SECOND)
        return Cells(name, seconds.astype(np.float64), dtype=dtype, unit="s")
    if kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if kind in "OUST":
        return object_cells(name, values.tolist(), "str" if kind in "US" else dtype)
    raise UsageError(
        f"column {shortened(name)}: contains {shortened(str(values.dtype))}; give numbers, booleans, dates "
        "or strings"
    )


def boolean_cells(name: str, values: Array, missing: Array, dtype: str) -> Cells:
    """Cells of booleans, some of them missing."""
    codes = np.where(missing, -1, values.astype(np.int32)).astype(np.int32)
    return Cells(name, _none(len(values)), codes, ("False", "True"), boolean=True, dtype=dtype)


def category_cells(
    name: str, codes: Array, categories: Iterable[Any], dtype: str, *, ordered: bool = False
) -> Cells:
    """Cells of a column of indices into categories, −1 where one is missing."""
    words = tuple(map(str, categories))
    return Cells(
        name, _none(len(codes)), codes.astype(np.int32), words, categories=words, ordered=ordered, dtype=dtype
    )


def object_cells(name: str, values: Iterable[Any], dtype: str) -> Cells:
    """Cells of Python objects: strings, numbers, booleans, dates, durations; None and nan are missing.

    Words for a missing cell, such as "NA", are words here; see `settled`.

    Raises
    ------
    UsageError
        If one is anything else.
    """
    values = _with_all_digits(list(values))
    found, codes = _none(len(values)), np.full(len(values), -1, np.int32)
    dates = np.full(len(values), np.datetime64("NaT", "us"))
    words: dict[str, int] = {}
    booleans, zone, unit = 0, "", ""
    for i, value in enumerate(values):
        if isinstance(value, str):
            word = value.strip()
            if word:
                codes[i] = words.setdefault(word, len(words))
        elif value is None or value != value:
            continue
        elif isinstance(value, bool | np.bool_):
            booleans += 1
            codes[i] = words.setdefault(str(bool(value)), len(words))
        elif isinstance(value, numbers.Real | Decimal | np.number):
            found[i] = float(value)
        elif isinstance(value, datetime | date | np.datetime64):
            dates[i], zone = _date(value)
        elif isinstance(value, timedelta):
            found[i], unit = value.total_seconds(), "s"
        elif isinstance(value, time):
            codes[i] = words.setdefault(str(value), len(words))
        elif type(value).__name__ not in ("NAType", "NaTType"):
            raise UsageError(
                f"column {shortened(name)}: row {i} (counting from 0) contains "
                f"a {type(value).__name__}; give numbers, booleans, dates or strings"
            )
    only_booleans = booleans > 0 and booleans == (codes >= 0).sum()
    if only_booleans:  # in the order False, True
        of = np.array([word == "True" for word in words], np.int32)
        codes = np.where(codes >= 0, of[codes], -1).astype(np.int32)
        words = {"False": 0, "True": 1}
    return Cells(
        name,
        found,
        codes if words else None,
        tuple(words),
        dates=dates if not np.isnat(dates).all() else None,
        boolean=only_booleans and bool(np.isnan(found).all()),
        dtype=dtype,
        unit=unit,
        timezone=zone,
    )


def _with_all_digits(values: list[Any]) -> list[Any]:
    """Objects of which whole numbers are strings, if one of them has more digits than a float64 holds."""
    whole = [isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values]
    if not any(own and abs(int(value)) > _EXACT for value, own in zip(values, whole, strict=True)):
        return values
    return [str(int(value)) if own else value for value, own in zip(values, whole, strict=True)]


def _date(value: Any) -> tuple[np.datetime64, str]:
    """A date in UTC, and its time zone."""
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]"), ""
    zone = str(value.tzinfo) if isinstance(value, datetime) and value.tzinfo else ""
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "us"), zone


def _none(n: int) -> Array:
    return np.full(n, math.nan)

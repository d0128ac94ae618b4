"""Cells of a table as the numbers that a data set holds, one for each cell, by a known column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elboroom.config.columns import WITH_CATEGORIES, Column
from elboroom.data.rows import Array
from elboroom.data.spelling import speller
from elboroom.data.table_cells import Cells, as_words, number_text, with_long_numbers
from elboroom.data.table_dates import as_steps, parse_dates
from elboroom.errors import UsageError, shortened

_LARGEST = float(np.finfo(np.float32).max)
_EXACT = 1 << 24
_SHOWN = 3


@dataclass(frozen=True)
class Encoded:
    """The numbers (n,) of one column, float64 with nan for missing cells, and what is to be said of them."""

    values: Array
    notes: tuple[str, ...] = ()


def encode(cells: Cells, column: Column, where: str, *, strict: bool = False) -> Encoded:
    """Bring the cells of one column to the numbers of a data set.

    A category is its index in the column's ``categories``; a date counts steps since the column's origin.
    Cells of another type are missing, which a note says.

    Parameters
    ----------
    cells : Cells
        As the source has them.
    column : Column
        What they are.
    where : str
        Name of the source, for messages.
    strict : bool
        Whether a cell of another type is an error.

    Raises
    ------
    UsageError
        If a number is infinite, beyond float32 or impossible for the kind, or a category is unknown and the
        column refuses those; the message names column and row.
    """
    if column.kind in WITH_CATEGORIES:
        return _categories(cells, column, where)
    cells = with_long_numbers(cells) if column.kind != "datetime" else cells
    values = _dates(cells, column) if column.kind == "datetime" else cells.numbers
    strays = np.flatnonzero(np.isnan(values) & ~cells.missing)
    notes = []
    if len(strays):
        wanted = "a date" if column.kind == "datetime" else "a number"
        if column.date_format:
            wanted += f" like {column.date_format}"
        if strict or len(strays) == (~cells.missing).sum():
            row = int(strays[0])
            raise UsageError(
                f"{where}: column {shortened(column.name)} has {shortened(cells.said(row))} in "
                f"{cells.place(row)} where {wanted} is wanted; correct or remove it"
            )
        notes.append(f"warning: {_listed(cells, strays, column)} taken as missing: not {wanted}")
    _check(values, cells, column, where)
    if column.kind == "datetime" and len(values) and np.nanmax(np.abs(values), initial=0) > _EXACT:
        error = np.nanmax(np.abs(values - values.astype(np.float32)), initial=0)
        if error >= 1:
            notes.append(
                f"warning: column {shortened(column.name)}: dates are kept to {error:.0f} {column.step}s"
            )
    return Encoded(values, tuple(notes))


def _listed(cells: Cells, rows: Array, column: Column) -> str:
    said = [f"{shortened(cells.said(row))} in {cells.place(row)}" for row in rows[:_SHOWN].tolist()]
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    verb = "is" if len(rows) == 1 else "are"
    return f"column {shortened(column.name)}: {', '.join(said)}{more} {verb}"


def _check(values: Array, cells: Cells, column: Column, where: str) -> None:
    """Refuse numbers that a column of this kind cannot hold."""
    with np.errstate(invalid="ignore"):
        checks = [
            (np.isinf(values), "is infinite, or a number beyond 1.8e308"),
            (np.abs(values) > _LARGEST, "is beyond float32 (3.4e38)"),
        ]
        if column.kind == "positive":
            checks.append((values <= 0, "is not above 0, as a positive number must be"))
        if column.kind == "count":
            checks.append(((values < 0) | (values != np.floor(values)), "is not a count (0, 1, 2, …)"))
            checks[-1] = (checks[-1][0] & ~np.isnan(values), checks[-1][1])
    for wrong, what in checks:
        rows = np.flatnonzero(wrong)
        if len(rows):
            row = int(rows[0])
            raise UsageError(
                f"{where}: column {shortened(column.name)}: {shortened(cells.said(row))} in "
                f"{cells.place(row)} {what}; correct or remove it"
            )


def _dates(cells: Cells, column: Column) -> Array:
    cells = as_words(cells) if column.date_format else cells
    dates = np.full(len(cells), np.datetime64("NaT", "us"))
    if cells.dates is not None:
        dates = np.where(cells.is_date, cells.dates, dates)
    if cells.codes is not None and (cells.codes >= 0).any():
        form = column.date_format or "%Y-%m-%d"
        dates = np.where(cells.codes >= 0, parse_dates(cells.words, form)[cells.codes], dates)
    return as_steps(dates, column.origin, column.step)


def _categories(cells: Cells, column: Column, where: str) -> Encoded:
    index = {name: float(i) for i, name in enumerate(column.categories)}
    as_known = speller(index)
    values = np.full(len(cells), np.nan)
    if cells.codes is not None:
        of_word = np.array([index.get(as_known(word), -1.0) for word in cells.words])
        values = np.where(cells.codes >= 0, of_word[cells.codes], values)
    numbers, which = np.unique(cells.numbers[cells.is_number], return_inverse=True)
    if len(numbers):
        values[cells.is_number] = np.array([index.get(number_text(x), -1.0) for x in numbers])[which]
    values[cells.is_date] = -1.0
    unknown = np.flatnonzero(values == -1)
    if not len(unknown):
        return Encoded(values)
    row = int(unknown[0])
    if column.unseen == "refuse":
        known = ", ".join(map(repr, column.categories[:6])) + (", …" if len(column.categories) > 6 else "")
        raise UsageError(
            f"{where}: column {shortened(column.name)} has {shortened(cells.said(row))} in "
            f"{cells.place(row)}, which is none of its {len(column.categories)} categories "
            f"({known}); correct it, leave it empty, or train with unseen='missing'"
        )
    values[unknown] = np.nan
    note = f"warning: {_listed(cells, unknown, column)} taken as missing: no known category"
    return Encoded(values, (note,))

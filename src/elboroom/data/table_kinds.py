"""What the columns of a table hold: their kinds, from all of their cells or as the user declares them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elboroom.config.columns import WITH_CATEGORIES, Column, ColumnKind
from elboroom.config.kinds import Declared
from elboroom.data.rows import Array
from elboroom.data.table_cells import LONG, Cells, as_words, is_code, number_text, with_long_numbers
from elboroom.data.table_dates import (
    DatesError,
    are_whole,
    find_dates,
    first_day,
    like_a_date,
    parse_dates,
    step_of,
)
from elboroom.data.table_hints import BOOLEANS, WRITTEN_NUMBER, are_written_numbers, hints, times_format
from elboroom.errors import UsageError, counted, shortened

MOST_CATEGORIES = 1000
_MOST_MIXED = 50  # categories of a column of numbers and words
_FEWEST = 10  # cells from which on a constant or a counter is no coincidence
_FEWEST_DISTINCT = 20  # words, all different, that are taken for an identifier
_ONE_BY_ONE = 0.8  # share of steps that are 1 where numbers count rows, some of which may be left out
_LARGE = 100  # mean from which on the likelihood of a count is judged by its variance
_STRAY = 0.01  # share of cells of another type that are taken for mistakes
_EXACT = 1 << 24  # beyond this, float32 skips whole numbers
_LARGEST = float(np.finfo(np.float32).max)
_BETTER = 0.02  # nats a cell by which a log-normal must fit better
_FORMULA = re.compile(r"[=@]\S|[+-][^\d]*[(|!]")


@dataclass(frozen=True)
class Found:
    """A column, and what is to be said of it."""

    column: Column
    notes: tuple[str, ...] = ()


def find_kind(cells: Cells, where: str, unseen: str = "refuse") -> Found:
    """Infer what a column holds from all of its cells.

    Raises
    ------
    UsageError
        If that cannot be told: a mixture of numbers and words, dates in two formats, too many categories.
        The message names the column.
    """
    found = _inferred(cells, where, unseen)
    return Found(found.column, (*found.notes, *hints(cells, found.column)))


def _inferred(cells: Cells, where: str, unseen: str) -> Found:
    names = cells.categories or cells.words
    if cells.missing.all():
        return _left_out(cells, "ignored", "is empty")
    if cells.boolean:
        return _made(cells, "boolean", categories=("False", "True"), unseen=unseen)
    if cells.categories and len(names) > 1:
        kind: ColumnKind = "ordinal" if cells.ordered else "category"
        return _of_categories(cells, kind, names, where, unseen)
    if cells.is_date.any():
        return _of_kinds(cells, where, date=True)
    words, numbers = int(cells.is_word.sum()), int(cells.is_number.sum())
    if not words:
        return _of_numbers(cells, where)
    if words <= _STRAY * numbers:
        return _of_numbers(cells, where)
    if numbers and not all(map(is_code, cells.words)):
        return _of_kinds(cells, where)
    return _of_words(cells, where, unseen)


def declare(cells: Cells, said: Declared, where: str, unseen: str = "refuse") -> Found:
    """Make the column that the user declares.

    Raises
    ------
    UsageError
        If the cells cannot be of this kind; the message names the column.
    """
    kind = said.kind
    options: dict[str, Any] = {"family": said.family, **({"unit": said.unit} if said.unit else {})}
    if kind in ("identifier", "ignored"):
        return Found(Column(name=cells.name, kind=kind, dtype=cells.dtype))
    if cells.missing.all():
        raise UsageError(f"{where}: column {shortened(cells.name)} is empty; leave it out of kinds")
    if kind in WITH_CATEGORIES:
        levels = said.levels or _category_names(cells)
        if kind == "boolean":
            if len(levels) != 2:
                raise UsageError(
                    f"{where}: column {shortened(cells.name)} has {counted(len(levels), 'different value')} "
                    f"and a boolean has two; give kinds='{cells.name}=category'"
                )
            levels = said.levels or _in_boolean_order(levels)
        return _of_categories(cells, kind, levels, where, unseen, **options)
    if kind == "datetime":
        return _of_dates(cells, where, said.date_format, **options)
    return _made(with_long_numbers(cells), kind, (), **options)


def _made(cells: Cells, kind: ColumnKind, notes: Sequence[str] = (), **options: Any) -> Found:
    known = cells.numbers[cells.is_number]
    numeric = kind in ("real", "positive", "count")
    return Found(
        Column(
            **{
                "name": cells.name,
                "kind": kind,
                "dtype": cells.dtype,
                "unit": cells.unit,
                "whole": bool(numeric and len(known) and (known == np.floor(known)).all()),
                "decimals": cells.decimals if numeric else None,
                "comma": cells.comma and numeric,
                **options,
            }
        ),
        tuple(notes),
    )


def _left_out(cells: Cells, kind: ColumnKind, why: str) -> Found:
    note = f"column {shortened(cells.name)} {why}; it is not modelled"
    return Found(Column(name=cells.name, kind=kind, dtype=cells.dtype), (note,))


def _of_numbers(cells: Cells, where: str) -> Found:
    known, name = cells.numbers[cells.is_number], shortened(cells.name)
    whole = bool((known == np.floor(known)).all())
    low, high = float(known.min()), float(known.max())
    if not max(-low, high) <= _LARGEST:
        return _made(cells, "real")  # refused where it is encoded
    if low == high and len(known) >= _FEWEST:
        return _left_out(cells, "ignored", f"has one value ({number_text(low)})")
    if whole and len(known) == len(cells) >= _FEWEST and _counts_rows(known):
        return _left_out(cells, "identifier", "counts the rows")
    if whole and {low, high} == {0, 1}:
        return _made(cells, "boolean", categories=("0", "1"))
    notes = []
    if whole and max(-low, high) > _EXACT:
        different = len(np.unique(known))
        if different == len(known) >= _FEWEST_DISTINCT:
            what = "holds a different large whole number in each row"
            steps = np.diff(known)
            if (steps > 0).all() or (steps < 0).all():
                return _left_out(cells, "identifier", f"{what}, in order")
            fix = f"if it is an identifier, give kinds='{cells.name}=identifier'"
            notes.append(f"warning: column {name} {what}; {fix}")
        kept = len(np.unique(known.astype(np.float32)))
        what = f"column {name} contains whole numbers above {_EXACT:,} ({number_text(high)}) that float32"
        if kept < different:
            days = not np.isnat(parse_dates([number_text(value) for value in known], "%Y%m%d")).any()
            fix = f"datetime:%Y%m%d' takes them for days, '{cells.name}=" if days else ""
            raise UsageError(
                f"{where}: {what} cannot tell apart ({different:,} become {kept:,}); if it is an identifier, "
                f"give kinds='{cells.name}=identifier', else kinds='{cells.name}={fix}real' rounds them"
            )
        if (known != known.astype(np.float32)).any():
            notes.append(f"warning: {what} rounds")
    kind = _kind_of_numbers(known, whole)
    return _made(cells, kind, notes)


def _counts_rows(known: Array) -> bool:
    """Whether numbers rise one by one, but for rows that are left out."""
    steps = np.diff(known)
    return bool((steps > 0).all() and (steps == 1).mean() > _ONE_BY_ONE)


def _kind_of_numbers(known: Array, whole: bool) -> ColumnKind:
    """Count, positive or real, whichever fits: positive if a log-normal fits better than a normal.

    Large numbers that vary much less than a count can, such as years, are no counts: the variance of a
    negative binomial is at least its mean.
    """
    low = known.min()
    if whole and low >= 0 and not (known.mean() > _LARGE and known.var() < known.mean() / 2):
        return "count"
    if low <= 0 or len(known) < _FEWEST:
        return "real"
    logs = np.log(known)
    if not known.std() > 0 or not logs.std() > 0:
        return "real"
    # Maximum log-likelihood per cell, up to a constant that both share.
    return "positive" if -math.log(logs.std()) - logs.mean() > -math.log(known.std()) + _BETTER else "real"


def _of_words(cells: Cells, where: str, unseen: str) -> Found:
    filled = int((~cells.missing).sum())
    names = _category_names(cells)
    if len(names) == 1:
        return _left_out(cells, "ignored", f"has one value ({shortened(names[0])})")
    if tuple(sorted(word.lower() for word in names)) in BOOLEANS:
        return _made(cells, "boolean", categories=_in_boolean_order(names), unseen=unseen)
    assert cells.codes is not None
    dated = np.array([like_a_date(word) for word in cells.words])[cells.codes[cells.is_word]].sum()
    if dated >= (1 - _STRAY) * filled:
        return _of_dates(cells, where)
    if len(names) > _MOST_MIXED and not any(map(LONG.fullmatch, cells.words)):
        _refuse_numbers_as_text(cells, names, where)
    if len(names) == filled >= _FEWEST_DISTINCT:
        return _left_out(cells, "identifier", "holds a different text in each row")
    return _of_categories(cells, "category", names, where, unseen)


def _refuse_numbers_as_text(cells: Cells, names: Sequence[str], where: str) -> None:
    column = f"{where}: column {shortened(cells.name)} holds"
    form = times_format(names)
    if form:
        raise UsageError(
            f"{column} times such as {shortened(names[0])}; give kinds='{cells.name}=datetime:{form}' to "
            f"take them for points in time, or kinds='{cells.name}=category'"
        )
    if are_written_numbers(cells.words, len(names)):
        written = next(word for word in cells.words if WRITTEN_NUMBER.fullmatch(word))
        raise UsageError(
            f"{column} numbers as text, such as {shortened(written)}; write them as plain numbers (1234.5), "
            "with a decimal mark and without separators of thousands and units, or give "
            f"kinds='{cells.name}=category'"
        )


def _of_kinds(cells: Cells, where: str, *, date: bool = False) -> Found:
    """A column of numbers and words, or of dates and others."""
    words, numbers = int(cells.is_word.sum()), int(cells.is_number.sum())
    if date and not words + numbers:
        return _of_dates(cells, where)
    names = _category_names(cells) if not date else ()
    row = int(np.flatnonzero(cells.is_word if words else cells.is_number)[0])
    whole = bool((cells.numbers[cells.is_number] % 1 == 0).all())
    if whole and 2 <= len(names) <= min(_MOST_MIXED, (words + numbers) // 4):
        found = _of_categories(cells, "category", names, where, "refuse")
        what = f"column {shortened(cells.name)} holds numbers and words, such as {shortened(cells.said(row))}"
        return Found(found.column, (f"warning: {what}, and is taken for categories", *found.notes))
    strange = counted(words + numbers, "other") if date else counted(words, "word")
    others = f"{strange}, such as {shortened(cells.said(row))} in {cells.place(row)}"
    of = counted(int(cells.is_date.sum()), "date") if date else counted(numbers, "number")
    kind = "datetime" if date else "real"
    raise UsageError(
        f"{where}: column {shortened(cells.name)} holds {of} and {others}; give "
        f"kinds='{cells.name}={kind}' to take the others as missing, or kinds='{cells.name}=category'"
    )


def _of_categories(
    cells: Cells, kind: ColumnKind, names: Sequence[str], where: str, unseen: str, **options: Any
) -> Found:
    name, notes = shortened(cells.name), []
    if len(names) > MOST_CATEGORIES:
        raise UsageError(
            f"{where}: column {name} has {len(names):,} different values and a {kind} may have "
            f"{MOST_CATEGORIES:,}; give kinds='{cells.name}=identifier' or '{cells.name}=ignored', or merge "
            "rare ones"
        )
    if len(names) < 2:
        return _left_out(cells, "ignored", f"has one value ({shortened(names[0])})")
    if len(names) > _MOST_MIXED:
        notes.append(f"warning: column {name} has {len(names):,} categories")
    formula = next((each for each in names if _FORMULA.match(each)), None)
    if formula is not None:
        notes.append(
            f"warning: column {name} holds {shortened(formula)}, which is a formula to spreadsheets; it is "
            "written as it is"
        )
    return _made(cells, kind, notes=notes, **{"unseen": unseen, **options, "categories": tuple(names)})


def _of_dates(cells: Cells, where: str, date_format: str = "", **options: Any) -> Found:
    dates = cells.dates
    if dates is None or not cells.is_date.any():
        if date_format:
            cells = as_words(cells)
        words = [word for word in cells.words if date_format or like_a_date(word)]
        date_format = date_format or _format_of(cells, words, where)
        dates = parse_dates(words, date_format) if date_format else np.empty(0, "datetime64[us]")
        if not len(dates) or np.isnat(dates).all():
            row = int(np.flatnonzero(~cells.missing)[0])
            like = f" like {date_format}" if date_format else ""
            raise UsageError(
                f"{where}: column {shortened(cells.name)}: {shortened(cells.said(row))} in "
                f"{cells.place(row)} is not a date{like}; give the format, as in "
                f"kinds='{cells.name}=datetime:%d/%m/%Y'"
            )
    step = step_of(dates)
    fields = {"step": step, "whole": are_whole(dates, step), "origin": first_day(dates)}
    fields |= {"date_format": date_format, "timezone": cells.timezone}
    return _made(cells, "datetime", **{**options, **fields})


def _format_of(cells: Cells, words: Sequence[str], where: str) -> str:
    """The format of dates; empty if they are none."""
    assert cells.codes is not None
    counts, at = np.bincount(cells.codes[cells.is_word]), {word: i for i, word in enumerate(cells.words)}
    try:
        found = find_dates(words, [counts[at[word]] for word in words])
    except DatesError as error:
        place, fix, end = "", "; give the format, as in", ""
        if error.word:
            found_at = cells.place(int(np.flatnonzero(cells.codes == at[error.word])[0]))
            place = f", the latter in {found_at}" if error.is_date else f" in {found_at}"
            fix, end = "; correct it, or give", " to take such cells as missing"
        raise UsageError(
            f"{where}: column {shortened(cells.name)}: {error}{place}{fix} "
            f"kinds='{cells.name}=datetime:{error.date_format}'{end}"
        ) from None
    return found.date_format if found else ""


def _category_names(cells: Cells) -> tuple[str, ...]:
    """Different values of a column as text: numbers in their order, then words."""
    numbers = [number_text(value) for value in np.unique(cells.numbers[cells.is_number])]
    return (*numbers, *sorted(set(cells.words) - set(numbers)))


def _in_boolean_order(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda word: (word.lower() not in {pair[0] for pair in BOOLEANS}, word)))

"""Data sets of columns in memory, and tables brought to the columns or to the numbers that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.config.columns import WITH_CATEGORIES, Column
from elboroom.config.kinds import declared_kinds
from elboroom.data.column_fits import fitted_column
from elboroom.data.dataset import Array, Dataset, Skipped, draw_split
from elboroom.data.spelling import speller
from elboroom.data.table_dates import MICROSECONDS
from elboroom.data.table_memory import array_cells, object_cells
from elboroom.data.table_set import Reading, refuse_lacking, table_set
from elboroom.errors import UsageError, shortened, some

Cells = NDArray[Any] | Sequence[Any]


def from_columns(
    cells: Mapping[str, Cells],
    name: str = "table",
    kinds: Mapping[str, str] | str | None = None,
    *,
    columns: Sequence[Column] = (),
    strict: bool = False,
    **known: Any,
) -> Dataset:
    """Make a data set of columns by name; a missing cell is nan or None.

    Parameters
    ----------
    cells : mapping of str to array
        Name → n cells: numbers, booleans, dates or strings.
    name : str
        What the data set is called.
    kinds : mapping of str to str, optional
        Kinds of columns, as in `elboroom.load_data`; those of others are inferred.
    columns : sequence of Column
        Columns of a run, to which these are brought by name.
    strict : bool
        Whether a cell that does not fit its column is an error; if not, it is missing, which a note says.
    **known
        As in `Dataset`.

    Raises
    ------
    UsageError
        If the columns are of different lengths, or a cell does not fit its column.

    Examples
    --------
    >>> table = from_columns({"age": [31.5, None, 58.0], "job": ["cook", "nurse", None]})
    >>> [(column.name, column.kind, column.categories) for column in table.columns]
    [('age', 'real', ()), ('job', 'category', ('cook', 'nurse'))]
    >>> table.x.tolist()
    [[31.5, 0.0], [nan, 1.0], [58.0, nan]]
    """
    found = [
        array_cells(str(heading), values)
        if isinstance(values, np.ndarray)
        else object_cells(str(heading), values, "")
        for heading, values in cells.items()
    ]
    lengths = {len(each) for each in found}
    if len(lengths) != 1:
        raise UsageError(
            f"{name}: the columns have {', '.join(map(str, sorted(lengths)))} cells; give equally many"
        )
    return table_set(found, name, Reading(declared_kinds(kinds), tuple(columns), strict), **known)


def fitted_columns(data: Dataset) -> tuple[Column, ...]:
    """Columns of a data set with what their likelihoods learn from its training examples."""
    train = np.asarray(data.values(data.indices("train")), np.float64)
    return tuple(fitted_column(column, train[:, i]) for i, column in enumerate(data.columns))


def match_columns(data: Dataset, columns: Sequence[Column]) -> Dataset:
    """Bring a table to the columns of a run, by name.

    Another order is fine, columns that the run does not have are noted, and categories and dates get the
    numbers that they have in the run. To read a table with the run's kinds, instead of inferring them
    anew, give ``columns=`` to `elboroom.load_data`.

    Parameters
    ----------
    data : Dataset
        A table.
    columns : sequence of Column
        Those of the run, ``vae.config.columns``.

    Raises
    ------
    UsageError
        If a column is missing or of another kind, or a category is unknown and its column refuses those.
    """
    if not data.columns:
        raise UsageError(
            f"{data.name} has no columns; give a table, with the columns "
            f"{some([shortened(column.name) for column in columns], 6)}"
        )
    if [*map(_meaning, data.columns)] == [*map(_meaning, columns)]:
        return replace(data, columns=tuple(columns))
    names = {column.name for column in columns}
    as_known = speller(names)
    own = {as_known(column.name): i for i, column in enumerate(data.columns)}
    refuse_lacking(columns, list(own), data.name)
    x, notes = np.empty((len(data), len(columns)), np.float32), list(data.notes)
    for i, column in enumerate(columns):
        place = own[column.name]
        values = np.asarray(data.x[:, place])
        x[:, i], more = _converted(values, data.columns[place], column, data.name)
        notes += more
    extra = [shortened(name) for name in own if name not in names]
    if extra:
        notes.append(f"columns that the model does not use: {some(extra, 8)}")
    return replace(data, x=x, columns=tuple(columns), notes=tuple(notes))


def _meaning(column: Column) -> tuple[object, ...]:
    """What a number of a column means."""
    return column.name, column.kind, column.categories, column.origin, column.step


def _converted(values: Array, own: Column, wanted: Column, where: str) -> tuple[Array, list[str]]:
    """Numbers of a column as another column means them."""
    name = shortened(wanted.name)
    if wanted.kind in WITH_CATEGORIES and own.kind in WITH_CATEGORIES:
        if own.categories == wanted.categories:
            return values, []
        index = {category: float(i) for i, category in enumerate(wanted.categories)}
        as_known = speller(index)
        known = [index.get(as_known(category), -1.0) for category in own.categories]
        found = np.append(known, np.nan)
        result = found[np.where(np.isnan(values), -1, values).astype(np.int64)]
        unknown = np.flatnonzero(result == -1)
        if not len(unknown):
            return result, []
        word = shortened(own.categories[int(values[unknown[0]])])
        if wanted.unseen == "refuse":
            listed = some([*map(repr, wanted.categories)], 6)
            raise UsageError(
                f"{where}: column {name} has {word} in row {unknown[0]} (counting from 0), which is none of "
                f"its {len(wanted.categories)} categories ({listed}); correct it, or train with "
                "unseen='missing'"
            )
        result[unknown] = np.nan
        place = f"{word} in row {unknown[0]} (counting from 0)"
        what = f"{place}, is" if len(unknown) == 1 else f"{len(unknown):,} cells, such as {place}, are"
        return result, [f"warning: column {name}: {what} taken as missing: no known category"]
    if wanted.kind == own.kind == "datetime":
        return _dates(values, own, wanted), []
    numeric = ("real", "positive", "count")
    if wanted.kind in numeric and own.kind in numeric:
        return values, []
    raise UsageError(
        f"{where}: column {name} is {own.kind} and was {wanted.kind} in training; read the table with the "
        "columns of the run, as load_data(..., columns=vae.config.columns) does"
    )


def _dates(values: Array, own: Column, wanted: Column) -> Array:
    since = np.datetime64(own.origin, "us") - np.datetime64(wanted.origin, "us")
    micro = values.astype(np.float64) * MICROSECONDS[own.step] + float(since.astype(np.int64))
    return micro / MICROSECONDS[wanted.step]


def as_numbers(data: Dataset) -> Dataset:
    """Make plain rows of a table whose columns are all numbers; rows with a missing cell are left out.

    For models without a likelihood for each column. `Dataset.skipped` names these rows.

    Raises
    ------
    UsageError
        If a column holds anything but numbers, or no row is without a hole; the message names the column.
    """
    if not data.columns:
        return data
    for column in data.columns:
        plain = column.kind == "boolean" and column.categories == ("0", "1")
        if not plain and column.kind not in ("real", "positive", "count"):
            raise UsageError(
                f"{data.name}: column {shortened(column.name)} is {column.kind}, and this model takes plain "
                "numbers; choose likelihood='mixed', or leave the column out with "
                f"kinds='{column.name}=ignored'"
            )
    holes = np.isnan(data.x)
    whole = ~holes.any(1)
    if whole.all():
        return replace(data, columns=(), left_out=())
    kept = np.flatnonzero(whole)
    if not len(kept):
        raise UsageError(
            f"{data.name}: each row has a missing cell, and this model takes rows without; choose "
            "likelihood='mixed'"
        )
    rows = np.arange(len(data)) if data.rows is None else data.rows
    reasons = [
        Skipped(
            f"{data.name}:{rows[i]}",
            f"row {rows[i]} (counting from 0) has nothing in column "
            f"{shortened(data.columns[int(holes[i].argmax())].name)} where a number is wanted",
        )
        for i in np.flatnonzero(~whole).tolist()
    ]
    return replace(
        data,
        x=data.x[kept],
        split=data.split[kept] if data.published_split else draw_split(len(kept)),
        labels=None if data.labels is None else data.labels[kept],
        vectors=None if data.vectors is None else data.vectors[kept],
        names=tuple(data.names[i] for i in kept) if data.names else (),
        rows=rows[kept],
        skipped=(*data.skipped, *reasons),
        columns=(),
        left_out=(),
    )

"""Make a data set of the columns of a table: numbers, words, booleans, with holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.config.columns import Column, ColumnKind
from elboroom.data.column_fits import fitted_column
from elboroom.data.dataset import Array, Dataset, draw_split
from elboroom.errors import UsageError, shortened

Cells = NDArray[Any] | Sequence[Any]


def from_columns(
    cells: Mapping[str, Cells],
    name: str = "table",
    kinds: Mapping[str, ColumnKind] | None = None,
    **known: Any,
) -> Dataset:
    """Make a data set of columns by name; a missing cell is nan or None.

    Parameters
    ----------
    cells : mapping of str to array
        Name → n cells: numbers, booleans or strings.
    name : str
        What the data set is called.
    kinds : mapping of str to str, optional
        Kinds of columns; those of others are inferred.
    **known
        As in `Dataset`.

    Raises
    ------
    UsageError
        If the columns are of different lengths, or a cell does not fit its column.

    Examples
    --------
    >>> table = from_columns({"age": [31.0, None, 58.0], "job": ["cook", "nurse", None]})
    >>> [(column.name, column.kind, column.categories) for column in table.columns]
    [('age', 'real', ()), ('job', 'category', ('cook', 'nurse'))]
    >>> table.x.tolist()
    [[31.0, 0.0], [nan, 1.0], [58.0, nan]]
    """
    kinds = kinds or {}
    found = [_column(heading, values, kinds.get(heading)) for heading, values in cells.items()]
    lengths = {len(values) for _, values in found}
    if len(lengths) != 1:
        raise UsageError(
            f"{name}: the columns have {', '.join(map(str, sorted(lengths)))} cells; give equally many"
        )
    x = np.stack([values for _, values in found], 1).astype(np.float32)
    split = known.pop("split", None)
    columns = tuple(column for column, _ in found)
    drawn = draw_split(len(x)) if split is None else split
    return Dataset(name, x, drawn, columns=columns, published_split=split is not None, **known)


def fitted_columns(data: Dataset) -> tuple[Column, ...]:
    """Columns of a data set with what their likelihoods learn from its training examples."""
    train = np.asarray(data.values(data.indices("train")), np.float64)
    return tuple(fitted_column(column, train[:, i]) for i, column in enumerate(data.columns))


def _column(heading: str, cells: Cells, kind: ColumnKind | None) -> tuple[Column, Array]:
    values = np.asarray(cells)
    if values.dtype.kind in "OSU":
        absent = np.array([v is None or (isinstance(v, float) and np.isnan(v)) for v in values])
        if not any(isinstance(v, str) for v in values[~absent]):
            values = np.where(absent, np.nan, values).astype(np.float64)
    if values.dtype.kind in "OSU":
        words = np.array(["" if a else str(v) for v, a in zip(values, absent, strict=True)])
        categories, numbers = np.unique(words[~absent], return_inverse=True)
        x = np.full(len(values), np.nan)
        x[~absent] = numbers
        return Column(name=heading, kind=kind or "category", categories=tuple(categories.tolist())), x
    if values.dtype == np.bool_:
        return Column(name=heading, kind="boolean", categories=("False", "True")), values.astype(np.float64)
    if values.dtype.kind not in "iuf":
        raise UsageError(
            f"column {shortened(heading)}: contains {values.dtype}; give numbers, booleans or strings"
        )
    return Column(name=heading, kind=kind or "real"), values.astype(np.float64)

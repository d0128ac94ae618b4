"""Rows of a table in the columns, types and categories that its training table had."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from elboroom.config.columns import Column
from elboroom.data.polars_frames import polars_frame
from elboroom.data.table_dates import date_texts, from_steps
from elboroom.errors import UsageError
from elboroom.io.files import write_atomic

Cells = NDArray[Any]
WRITTEN = (".csv", ".tsv", ".parquet")
"""Endings of the files that `write_table` writes."""


def decode_cells(columns: Sequence[Column], x: NDArray[Any]) -> dict[str, Cells]:
    """Cells of rows by the name of their column, as the training table had them.

    Numbers have no more decimals than there, and counts none; categories are their names, booleans of a
    table in memory are booleans, dates are datetime64[us] in UTC.

    Parameters
    ----------
    columns : sequence of Column
        The d columns, ``vae.config.columns``.
    x : numpy.ndarray
        float (n, d), with nan for missing cells.

    Returns
    -------
    dict of str to numpy.ndarray
        (n,) each: float64 with nan, objects with None, or datetime64 with NaT.

    Raises
    ------
    UsageError
        If there is not one column for each number, or no such category.

    Examples
    --------
    >>> job = Column(name="job", kind="category", categories=("cook", "nurse"))
    >>> decode_cells([job], np.array([[1.0], [np.nan]]))["job"].tolist()
    ['nurse', None]
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise UsageError(f"rows have shape {x.shape}; they must be (n, {len(columns)}), a number a column")
    return {column.name: _decoded(column, x[:, i]) for i, column in enumerate(columns)}


def _decoded(column: Column, values: NDArray[Any]) -> Cells:
    if column.kind == "datetime":
        return from_steps(values.astype(np.float64), column.origin, column.step, whole=column.whole)
    if not column.categories:
        return _numbers(column, values)
    known = ~np.isnan(values)
    index = np.where(known, values, 0).astype(np.int64)
    if (index != np.where(known, values, 0)).any() or index.min(initial=0) < 0:
        raise UsageError(f"column {column.name!r}: a value is not the number of a category")
    if index.max(initial=0) >= len(column.categories):
        raise UsageError(f"column {column.name!r}: there is no category {index.max()}")
    if column.kind == "boolean" and column.categories == ("0", "1") and column.dtype:
        return values.astype(np.float64)
    boolean = column.kind == "boolean" and column.categories == ("False", "True") and column.dtype != ""
    names = np.array([False, True] if boolean else [*column.categories], dtype=object)
    found = names[index]
    found[~known] = None
    return found


def _numbers(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    if column.whole or column.decimals is not None:
        decimals = 0 if column.whole else column.decimals or 0
        return np.asarray(np.round(values.astype(np.float64), decimals) + 0.0, np.float64)  # 0, not -0
    if values.dtype == np.float32:  # the shortest number that gives the same float32
        return np.array([float(str(value)) for value in values], np.float64)
    return values.astype(np.float64)


def cell_texts(columns: Sequence[Column], x: NDArray[Any]) -> list[list[str]]:
    """Cells of each column as text: dates in their format, decimal commas where the table had them."""
    return [
        _texts(column, cells)
        for column, cells in zip(columns, decode_cells(columns, x).values(), strict=True)
    ]


def _texts(column: Column, cells: Cells) -> list[str]:
    if cells.dtype.kind == "M":
        usual = "%Y-%m-%d" if column.step == "day" else "%Y-%m-%d %H:%M:%S"
        return date_texts(cells, column.date_format or usual)
    if cells.dtype == object:
        return ["" if cell is None else str(cell) for cell in cells]
    whole = column.whole or column.categories == ("0", "1")
    texts = ["" if value != value else str(int(value)) if whole else repr(value) for value in cells.tolist()]
    return [text.replace(".", ",") for text in texts] if column.comma else texts


def as_csv(
    columns: Sequence[Column],
    x: NDArray[Any],
    extra: Mapping[str, Sequence[object]] | None = None,
    separator: str | None = None,
) -> str:
    r"""Rows as CSV with a header, extra columns last; semicolons between cells if there are decimal commas.

    Examples
    --------
    >>> age = Column(name="age", kind="count", whole=True)
    >>> as_csv([age], np.array([[31.0], [np.nan]]), {"label": ["a", "b"]})
    'age,label\n31,a\n,b\n'
    """
    others = {name: [_plain(value) for value in values] for name, values in (extra or {}).items()}
    separator = separator or (";" if any(column.comma for column in columns) else ",")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n", delimiter=separator)
    table.writerow([*(column.name for column in columns), *others])
    table.writerows(zip(*cell_texts(columns, x), *others.values(), strict=True))
    return text.getvalue()


def _plain(value: object) -> str:
    return "" if value is None or value != value else str(value)


def write_table(
    path: Path,
    columns: Sequence[Column],
    x: NDArray[Any],
    extra: Mapping[str, Sequence[object]] | None = None,
) -> None:
    """Write rows as ``.csv``, ``.tsv`` or ``.parquet``, in the columns of the training table.

    Parameters
    ----------
    path : pathlib.Path
        The file, which is written whole or not at all.
    columns, x
        As in `decode_cells`.
    extra : mapping of str to sequence, optional
        Further columns, such as labels or scores, which come last.

    Raises
    ------
    UsageError
        If the file has another ending, or pyarrow is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise UsageError(f"{path}: a table is written as {', '.join(WRITTEN)}")
    if suffix == ".parquet":
        write_atomic(path, _as_parquet(path, columns, x, extra or {}))
    else:
        write_atomic(path, as_csv(columns, x, extra, "\t" if suffix == ".tsv" else None))


def _as_parquet(
    path: Path, columns: Sequence[Column], x: NDArray[Any], extra: Mapping[str, Sequence[object]]
) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet files need pyarrow; pip install 'elboroom[tables]'") from None
    arrays: dict[str, Any] = {}
    for column, (name, cells) in zip(columns, decode_cells(columns, x).items(), strict=True):
        if cells.dtype.kind == "M":
            array = pyarrow.array(cells, pyarrow.timestamp("us", column.timezone or None))
        elif cells.dtype == object:
            array = pyarrow.array(cells.tolist())
        else:
            array = pyarrow.array(cells, mask=np.isnan(cells))
            whole = column.whole or column.categories == ("0", "1")
            array = array.cast(pyarrow.int64()) if whole else array
        arrays[name] = array
    arrays |= {name: pyarrow.array(list(values)) for name, values in extra.items()}
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), buffer)
    return buffer.getvalue()


def to_frame(
    columns: Sequence[Column], x: NDArray[Any], library: Literal["pandas", "polars"] = "pandas"
) -> Any:
    """Rows as a data frame with the types of the training table, as far as missing cells allow.

    Parameters
    ----------
    columns, x
        As in `decode_cells`.
    library : {"pandas", "polars"}
        Whose data frame it is.

    Returns
    -------
    pandas.DataFrame or polars.DataFrame

    Raises
    ------
    UsageError
        If the library is missing.
    """
    if library == "polars":
        return polars_frame(columns, decode_cells(columns, x))
    try:
        import pandas as pd
    except ImportError:
        raise UsageError("a data frame needs pandas; pip install pandas") from None
    cells = decode_cells(columns, x)
    return pd.DataFrame({column.name: _series(pd, column, cells[column.name]) for column in columns})


def _series(pd: Any, column: Column, cells: Cells) -> Any:
    if column.dtype == "category" and column.kind in ("ordinal", "category"):
        categories = pd.Categorical(cells, categories=[*column.categories], ordered=column.kind == "ordinal")
        return pd.Series(categories)
    series = pd.Series(cells)
    if cells.dtype.kind == "M":
        return series.dt.tz_localize("UTC").dt.tz_convert(column.timezone) if column.timezone else series
    if column.dtype.startswith("timedelta"):
        return pd.to_timedelta(series, unit="s")
    dtype = column.dtype or ("int64" if column.whole else "")
    holes = series.isna().any()
    if not dtype or (holes and (dtype == "bool" or dtype.startswith(("int", "uint")))):
        return series
    try:
        return series.astype(dtype)
    except (TypeError, ValueError):  # a type of another library
        return series

"""Data frames of polars from the cells of columns, in the types that the training table had."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from elboroom.config.columns import Column
from elboroom.errors import UsageError


def polars_frame(columns: Sequence[Column], cells: Mapping[str, NDArray[Any]]) -> Any:
    """A polars.DataFrame of cells as `elboroom.data.table_write.decode_cells` gives them.

    A whole number that is beyond the training table's type is an Int64.

    Raises
    ------
    UsageError
        If polars is missing.
    """
    try:
        import polars as pl
    except ImportError:
        raise UsageError("a polars data frame needs polars; pip install polars") from None
    return pl.DataFrame([_series(pl, column, cells[column.name]) for column in columns])


def _series(pl: Any, column: Column, cells: NDArray[Any]) -> Any:
    kind = column.dtype.partition("(")[0]
    if cells.dtype.kind == "M":
        return _dates(pl, column, cells, kind)
    if cells.dtype == object:
        if kind == "Enum" and column.categories:
            return pl.Series(column.name, cells.tolist(), dtype=pl.Enum([*column.categories]))
        series = pl.Series(column.name, cells.tolist(), dtype=None if any(cells != None) else pl.String)  # noqa: E711
        return series.cast(pl.Categorical) if kind == "Categorical" else series
    series = pl.Series(column.name, cells, nan_to_null=True)
    if kind == "Duration":
        return (series * 1e6).round().cast(pl.Int64).cast(pl.Duration("us"))
    whole = column.whole or column.categories == ("0", "1")
    if re.fullmatch(r"U?Int\d+", kind) or (whole and not kind.startswith(("Float", "Decimal"))):
        wanted = getattr(pl, kind, pl.Int64)
        found = series.round().cast(wanted, strict=False)
        return found if found.null_count() == series.null_count() else series.round().cast(pl.Int64)
    return series.cast(pl.Float32) if kind == "Float32" else series


def _dates(pl: Any, column: Column, cells: NDArray[Any], kind: str) -> Any:
    series = pl.Series(column.name, cells.astype("datetime64[us]"))
    if kind == "Date":
        return series.cast(pl.Date)
    if column.timezone:
        return series.dt.replace_time_zone("UTC").dt.convert_time_zone(column.timezone)
    return series

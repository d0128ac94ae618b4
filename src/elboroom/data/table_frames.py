"""Tables in memory: data frames of pandas and polars, tables of Arrow, structured arrays, dicts of columns.

None of these libraries is imported: a frame is recognised by the module of its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.table_cells import Cells
from elboroom.data.table_memory import array_cells, boolean_cells, category_cells, object_cells
from elboroom.errors import UsageError, shortened


def memory_table(source: Any) -> list[Cells] | None:
    """Columns of a table in memory; None if the source is none.

    Parameters
    ----------
    source : object
        A data frame of pandas or polars, a table of pyarrow, a structured numpy array, or a mapping of names
        to columns.

    Raises
    ------
    UsageError
        If it has no rows, its columns differ in length, or a column holds objects of another type.

    Examples
    --------
    >>> people = np.array([("cook", 31.5)], [("job", "U9"), ("age", "f8")])
    >>> [cells.name for cells in memory_table(people)]
    ['job', 'age']
    """
    library = type(source).__module__.partition(".")[0]
    made = {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": _of_arrow}.get(library)
    if made is not None and hasattr(source, "columns"):
        cells = made(source)
    elif isinstance(source, np.ndarray) and source.dtype.names:
        flat = source.reshape(-1)
        cells = [array_cells(name, np.asarray(flat[name])) for name in source.dtype.names]
    elif isinstance(source, Mapping):
        cells = [
            array_cells(str(name), values) if isinstance(values, np.ndarray) else _series(str(name), values)
            for name, values in source.items()
        ]
    else:
        return None
    lengths = sorted({len(each) for each in cells})
    if lengths in ([], [0]):
        raise UsageError("the table has no rows or no columns; give at least one of each")
    if len(lengths) > 1:
        raise UsageError(f"the columns have {', '.join(map(str, lengths))} cells; give equally many")
    return cells


def row_names(source: Any) -> tuple[str, ...]:
    """Names of the rows of a pandas data frame, if its index is not just their numbers."""
    index: Any = getattr(source, "index", None)
    if type(source).__module__.partition(".")[0] != "pandas" or type(index).__name__ == "RangeIndex":
        return ()
    return tuple(map(str, index))


def _series(name: str, values: Any) -> Cells:
    """One column of a mapping: a series of pandas or polars, or any sequence."""
    library = type(values).__module__.partition(".")[0]
    if library == "pandas" and hasattr(values, "dtype"):
        return _pandas_column(name, values)
    if library == "polars" and hasattr(values, "dtype"):
        return _polars_column(name, values)
    return object_cells(name, values, "")


def _of_pandas(frame: Any) -> list[Cells]:
    for i, name in enumerate(frame.columns):
        if name is None or name != name:
            raise UsageError(f"column {i} (counting from 0) has no name, but {name}; give it one")
    return [_pandas_column(str(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)]


def _pandas_column(name: str, series: Any) -> Cells:
    dtype, text = series.dtype, str(series.dtype)
    kind = getattr(dtype, "kind", "O")
    if text == "category":
        ordered = bool(dtype.ordered)
        categories = series.cat.categories
        return category_cells(name, series.cat.codes.to_numpy(), categories, text, ordered=ordered)
    missing = series.isna().to_numpy(dtype=bool)
    if kind == "b":
        values = series.to_numpy(dtype=object)
        return boolean_cells(name, np.where(missing, False, values).astype(bool), missing, text)
    if kind in "iuf":
        return Cells(name, series.to_numpy(dtype=np.float64, na_value=np.nan), dtype=text)
    if kind == "M":
        zone = str(dtype.tz) if getattr(dtype, "tz", None) is not None else ""
        plain = series.dt.tz_convert("UTC").dt.tz_localize(None) if zone else series
        cells = array_cells(name, plain.to_numpy().astype("datetime64[us]"), text)
        cells.timezone = zone
        return cells
    if kind == "m":
        return array_cells(name, series.to_numpy().astype("timedelta64[us]"), text)
    return object_cells(name, [None if gone else v for v, gone in zip(series, missing, strict=True)], text)


def _of_polars(frame: Any) -> list[Cells]:
    return [_polars_column(name, frame.get_column(name)) for name in frame.columns]


def _polars_column(name: str, series: Any) -> Cells:
    text = str(series.dtype)
    short = text.partition("(")[0]
    missing = series.is_null().to_numpy()
    if short == "Boolean":
        return boolean_cells(name, series.fill_null(False).to_numpy(), missing, text)
    if short == "Enum":
        words = series.dtype.categories.to_list()
        index = {word: i for i, word in enumerate(words)}
        codes = np.array([-1 if word is None else index[word] for word in series.to_list()])
        return category_cells(name, codes, words, text, ordered=True)
    if short.startswith(("Int", "UInt", "Float", "Decimal")):
        values = np.array([np.nan if v is None else float(v) for v in series.to_list()], np.float64)
        return Cells(name, values, dtype=text)
    if short == "Datetime":
        zone = getattr(series.dtype, "time_zone", None) or ""
        plain = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series
        cells = array_cells(name, plain.to_numpy().astype("datetime64[us]"), text)
        cells.timezone = zone
        return cells
    if short in ("String", "Utf8", "Categorical", "Date", "Duration", "Time", "Object", "Null"):
        return object_cells(name, series.to_list(), text)
    raise UsageError(f"column {shortened(name)}: contains {text}; give numbers, booleans, dates or strings")


def _of_arrow(table: Any) -> list[Cells]:
    return [_arrow_column(str(name), table.column(i)) for i, name in enumerate(table.column_names)]


def _arrow_column(name: str, column: Any) -> Cells:
    text = str(column.type)
    if text.startswith("dictionary"):
        whole = column.unify_dictionaries().combine_chunks()
        whole = whole.chunk(0) if hasattr(whole, "chunk") else whole
        words = whole.dictionary.to_pylist()
        codes = np.array([-1 if i is None else i for i in whole.indices.to_pylist()])
        if all(isinstance(word, str) for word in words):
            return category_cells(name, codes, words, text, ordered=bool(column.type.ordered))
        return object_cells(name, column.to_pylist(), text)
    if text.startswith(("int", "uint", "float", "double", "halffloat")):
        values = column.to_numpy().astype(np.float64)  # missing cells of whole numbers are nan
        return Cells(name, values, dtype=text)
    if text.startswith("timestamp"):
        zone = getattr(column.type, "tz", None) or ""
        cells = array_cells(name, column.to_numpy().astype("datetime64[us]"), text)  # in UTC
        cells.timezone = zone
        return cells
    return object_cells(name, column.to_pylist(), text)


def example(folder: Path) -> Path:
    """Write a small Parquet file into a folder; its first bytes if pyarrow is missing."""
    path = folder / "rows.parquet"
    try:
        from pyarrow import parquet, table
    except ImportError:
        path.write_bytes(b"PAR1" * 8)
    else:
        parquet.write_table(
            table({"age": [31.5, None, 58.0, 40.5], "job": ["cook", "nurse", None, "cook"]}), path
        )
    return path


def read_parquet(path: Path) -> list[Cells]:
    """Columns of a Parquet file.

    Raises
    ------
    UsageError
        If pyarrow is missing, or the file is damaged.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet files need pyarrow; pip install 'elboroom[tables]'") from None
    try:
        table = parquet.ParquetFile(path).read()
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{path}: is not a Parquet file or is damaged ({error})") from None
    found = memory_table(table)
    assert found is not None
    return found

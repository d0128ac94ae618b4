"""Names of the columns of a table of plain numbers."""

from __future__ import annotations

from pathlib import Path

from elboroom.config.columns import Column
from elboroom.data.table import SUFFIXES
from elboroom.data.table_layout import find_layout
from elboroom.errors import UsageError


def columns_of(source: str | None, count: int) -> tuple[str, ...]:
    """Names of the feature columns of the table at `source`; x1, x2, … if there is none with such a header.

    Parameters
    ----------
    source : str, optional
        What a run was trained on.
    count : int
        How many numbers an example has.
    """
    numbered = tuple(f"x{number}" for number in range(1, count + 1))
    path = None if source is None else Path(source)
    if path is None or path.suffix.lower() not in SUFFIXES or not path.is_file():
        return numbered
    try:
        layout = find_layout(path)
    except (UsageError, OSError):
        return numbered
    names = tuple(layout.columns[i] for i in layout.values)
    return names if layout.header is not None and len(names) == count else numbered


def table_columns(source: str | None, count: int) -> tuple[Column, ...]:
    """Columns of plain numbers under the names of `columns_of`, to write rows of a model without columns.

    Examples
    --------
    >>> [column.name for column in table_columns(None, 2)]
    ['x1', 'x2']
    """
    return tuple(Column(name=name, kind="real") for name in columns_of(source, count))

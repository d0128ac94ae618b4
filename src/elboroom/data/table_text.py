"""Rows of numbers written as a table, under the names that the training table's columns have."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from elboroom.data.rows import Array
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


def table_text(values: Array, columns: Sequence[str], labels: Sequence[str] | None = None) -> str:
    r"""Write rows (n, d) as CSV with a header, and a last column of labels if they are given.

    Examples
    --------
    >>> import numpy as np
    >>> table_text(np.array([[0.1, 2.0]], np.float32), ["height", "a, b"], ["cat"])
    'height,"a, b",label\n0.1,2.0,cat\n'
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*columns, *(() if labels is None else ("label",))])
    for i, row in enumerate(values):
        table.writerow([*map(str, row), *(() if labels is None else (labels[i],))])
    return text.getvalue()

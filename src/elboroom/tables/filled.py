"""A table whose missing cells were filled in, as text: all other cells stay as the file has them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.config.columns import Column
from elboroom.data.dataset import Dataset
from elboroom.data.table_layout import find_layout
from elboroom.data.table_lines import records
from elboroom.data.table_write import cell_texts
from elboroom.tables.imputation import Imputed

Cells = NDArray[Any]
_WITH_POINT = re.compile(r"\s*[+-]?\d*\.\d+\s*")


def as_in_file(path: Path, columns: Sequence[Column], encoding: str | None = None) -> tuple[Column, ...]:
    """Columns with the decimal sign of a text file, which may be another than that of the training table."""
    layout = find_layout(path, encoding)
    if not layout.comma and layout.separator != ",":
        cells = (cell for record in records(path, layout) for cell in record.cells)
        if not any(map(_WITH_POINT.fullmatch, cells)):  # nothing tells, but for the training table
            return tuple(columns)
    return tuple(column.model_copy(update={"comma": layout.comma}) for column in columns)


def filled_text(
    path: Path,
    data: Dataset,
    columns: Sequence[Column],
    x: Cells,
    encoding: str | None = None,
    ending: str = "",
) -> str:
    """The text of a table with other cells where they are missing.

    Parameters
    ----------
    path : pathlib.Path
        The text file that ``data`` were read from.
    data : Dataset
        Its rows; a missing cell is nan.
    columns : sequence of Column
        The d columns of ``x``.
    x : numpy.ndarray
        float (n, d), without a missing cell.
    encoding : str, optional
        Of the file, as Python names it.
    ending : str
        Of the file to write, ``.csv`` or ``.tsv``; that of ``path`` if missing.

    Returns
    -------
    str
        The header and all lines of the file but comments, in its order of columns and with its decimal sign.
        Its separator is kept if the ending is; else it is a tab in ``.tsv``, and in ``.csv`` a comma, or a
        semicolon beside decimal commas.
    """
    layout = find_layout(path, encoding)
    missing = np.isnan(np.asarray(data.x))
    texts = cell_texts(as_in_file(path, columns, encoding), x)
    separator = layout.separator
    if ending and ending != path.suffix.lower():
        separator = "\t" if ending == ".tsv" else ";" if layout.comma else ","
    places = [layout.columns.index(column.name) for column in columns]
    of_line = {} if data.rows is None else {int(row): i for i, row in enumerate(data.rows)}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n", delimiter=separator)
    if layout.header is not None:
        table.writerow(layout.columns)
    for row, _, cells in records(path, layout):
        i = row if data.rows is None else of_line.get(row)
        if i is not None:
            for j in np.flatnonzero(missing[i]):
                cells[places[j]] = texts[j][i]
        table.writerow(cells)
    return text.getvalue()


def cells_text(rows: Sequence[int], found: Imputed) -> str:
    """A line of CSV for each cell that was filled in, with its spread and the reliability of its row.

    Parameters
    ----------
    rows : sequence of int
        The row of the source that each row of ``found`` is.
    found : Imputed
        The table.

    Returns
    -------
    str
        Headings ``row, column, value, deviation, probability, ess, pareto_k``. A number has a standard
        deviation, in the column's units or a date's steps, and a category a probability.
    """
    text = io.StringIO()
    comma = any(column.comma for column in found.columns)
    table = csv.writer(text, lineterminator="\n", delimiter=";" if comma else ",")
    table.writerow(["row", "column", "value", "deviation", "probability", "ess", "pareto_k"])
    values = cell_texts(found.columns, found.x)
    for i, j in zip(*np.nonzero(~np.isnan(found.spread)), strict=True):
        column, spread, k = found.columns[j], f"{found.spread[i, j]:.5g}", found.pareto_k[i]
        numbers = ["", spread] if column.categories else [spread, ""]
        numbers += [f"{found.ess[i]:.1f}", "" if np.isnan(k) else f"{k:.2f}"]
        shown = [number.replace(".", ",") for number in numbers] if comma else numbers
        table.writerow([rows[i], column.name, values[j][i], *shown])
    return text.getvalue()

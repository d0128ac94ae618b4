"""A table of the columns of a data set: kind, missing cells, likelihood, and what the cells are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from elboroom.config.columns import Column
from elboroom.data.dataset import Dataset
from elboroom.data.rows import Array
from elboroom.data.table_write import cell_texts
from elboroom.errors import printable

_LONGEST_NAME = 20
_LISTED = 12  # categories at most that are listed
_HEADINGS = ("column", "kind", "missing", "likelihood")
_GAP = "  "


def summary_lines(data: Dataset, width: int = 80) -> list[str]:
    r"""Lines that describe each column of a table, no wider than `width`.

    Columns that are not modelled come last.

    Examples
    --------
    >>> from elboroom.data.columns import from_columns
    >>> table = from_columns({"age": [31.5, None, 58.0, 40.0], "job": ["cook", "nurse", "cook", None]})
    >>> print("\n".join(summary_lines(table)))
    column  kind      missing  likelihood   values
    age     real         25%  gaussian     31.5 to 58, median 40
    job     category     25%  categorical  cook (2), nurse (1)
    """
    cells = [_row(column, data.x[:, i]) for i, column in enumerate(data.columns)]
    cells += [(_cut(column), column.kind, "", "not modelled") for column in data.left_out]
    values = [_values(column, data.x[:, i]) for i, column in enumerate(data.columns)]
    rows = [_HEADINGS, *cells]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    lines = []
    for row, choices in zip_longest(rows, [["values"], *values], fillvalue=[""]):
        name, kind, missing, likelihood = map(str, row)
        start = _GAP.join((
            *(name.ljust(widths[0]), kind.ljust(widths[1]), missing.rjust(widths[2])),
            likelihood.ljust(widths[3]),
        ))  # fmt: skip
        lines.append((start + _GAP + _fitting(choices, width - len(start) - len(_GAP))).rstrip())
    return lines


def _row(column: Column, cells: Array) -> tuple[str, str, str, str]:
    return _cut(column), column.kind, _share(cells), column.family or ""


def _cut(column: Column) -> str:
    name, unit = printable(column.name), f" [{printable(column.unit)}]" if column.unit else ""
    return f"{name if len(name) <= _LONGEST_NAME else f'{name[: _LONGEST_NAME - 1]}…'}{unit}"


def _share(cells: Array) -> str:
    """Share of missing cells, rounded, but 0 and 100 only if there is none or nothing else."""
    missing = int(np.isnan(cells).sum())
    percent = 100 * missing / len(cells)
    if 0 < percent < 0.1:
        return "<0.1%"
    return f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def _values(column: Column, cells: Array) -> list[str]:
    """Descriptions of the cells, the longest first."""
    known = cells[~np.isnan(cells)]
    if column.categories:
        return _categories(column, known)
    if not len(known):
        return [""]
    middle = np.sort(known)[(len(known) - 1) // 2]
    low, median, high = _texts(column, [known.min(), middle, known.max()])
    return [f"{low} to {high}, median {median}", f"{low} to {high}"]


def _categories(column: Column, known: Array) -> list[str]:
    counts = np.bincount(known.astype(np.int64), minlength=len(column.categories))
    order = np.arange(len(counts)) if column.kind == "ordinal" else np.argsort(-counts, kind="stable")
    if len(order) > _LISTED:
        often = int(np.argmax(counts))
        what = f"{len(order):,} categories"
        return [f"{what}, most often {printable(column.categories[often])} ({counts[often]:,})", what]
    named = [f"{printable(column.categories[i])} ({counts[i]:,})" for i in order.tolist()]
    some = [
        f"{', '.join(named[:count])}, {len(named) - count} more" for count in range(len(named) - 1, 0, -1)
    ]
    return [", ".join(named), *some, f"{len(named):,} categories"]


def _texts(column: Column, values: list[Any]) -> list[str]:
    if column.kind == "datetime" or column.whole:
        return cell_texts([column], np.array([[value] for value in values], np.float32))[0]
    plain = [value + 0.0 for value in values]  # 0, not -0
    texts = [f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}" for value in plain]
    return [text.replace(".", ",") for text in texts] if column.comma else texts


def _fitting(choices: Sequence[str], room: int) -> str:
    """The first text that fits into a width."""
    return next((text for text in choices if len(text) <= room), f"{choices[-1][: max(room - 1, 0)]}…")

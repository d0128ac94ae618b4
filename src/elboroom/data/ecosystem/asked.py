"""What the caller asked of data that have columns of labels and several matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elboroom.data.rows import Array
from elboroom.data.table_set import Reading
from elboroom.errors import UsageError, nearest, some

LABEL = "label"
"""The column that holds labels unless another is named."""


@dataclass(frozen=True)
class Asked:
    """How a set of another library is to be read.

    Attributes
    ----------
    size, channels, strict
        As in `elboroom.data.load_data`.
    label_column : str, optional
        Column that holds the labels; `LABEL` if there is such a column.
    layer : str, optional
        Layer of AnnData instead of its ``X``.
    reading : Reading, optional
        How a table is read; None for rows of plain numbers.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    strict: bool = False
    label_column: str | None = None
    layer: str | None = None
    reading: Reading | None = field(default_factory=Reading)

    def labels_in(self, columns: Sequence[str], where: str) -> str | None:
        """Return the column that holds the labels; None if there is none.

        Raises
        ------
        UsageError
            If the column that was asked for does not exist.
        """
        wanted = self.label_column
        if wanted is None:
            return LABEL if LABEL in columns else None
        if wanted not in columns:
            known = nearest(wanted, columns) if len(columns) < 20 else f"there are {some(list(columns))}"
            raise UsageError(f"label_column = {wanted!r}: {where} has no such column; {known}")
        return wanted


def as_words(values: Any, what: str) -> Array:
    """Return labels as whole numbers or as text, ``(n,)``.

    Raises
    ------
    UsageError
        If one is missing, or they are numbers with fractions.
    """
    found = [None if value is None or value != value else value for value in values]
    empty = sum(value is None for value in found)
    if empty:
        raise UsageError(
            f"{what} has {empty} empty cell{'' if empty == 1 else 's'} of {len(found)}; fill them, leave "
            "these examples out, or name another label_column"
        )
    if all(isinstance(value, bool | np.bool_) for value in found):
        return np.array([str(bool(value)) for value in found])
    if all(isinstance(value, int | float | np.integer | np.floating) for value in found):
        numbers = np.array(found, np.float64)
        if np.all(numbers == np.rint(numbers)):
            return numbers.astype(np.int64)
        raise UsageError(f"{what} contains fractions, and labels are classes; name another label_column")
    return np.array([str(value) for value in found])

"""Whether float32 can hold the differences between the values of a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elboroom.data.rows import Array, chunks
from elboroom.errors import UsageError

_MOST = 1 / 500  # of a column's range that rounding may take from a value


class Rounding:
    """Extremes of the columns of a table, and what float32 takes from their values at most.

    Times in seconds since 1970 are an example: around 1.6e9, float32 holds every 128th whole number.
    """

    def __init__(self) -> None:
        self._low: Array | float = np.inf
        self._high: Array | float = -np.inf
        self._error: Array | float = 0.0

    def add(self, rows: Array) -> None:
        """Take float64 rows (n, d) into account."""
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused elsewhere
            errors = np.abs(rows - rows.astype(np.float32))
        self._low = np.minimum(self._low, rows.min(axis=0))
        self._high = np.maximum(self._high, rows.max(axis=0))
        self._error = np.maximum(self._error, errors.max(axis=0))

    def notes(self, columns: Sequence[str], where: str) -> list[str]:
        """Warn of columns whose values lie so close together, far from 0, that float32 blurs them.

        Raises
        ------
        UsageError
            If all values of a column become one number.

        Examples
        --------
        >>> rounding = Rounding()
        >>> rounding.add(np.array([[1.6e9, 0.1], [1.6e9 + 700, 0.7]]))
        >>> rounding.notes(["t", "x"], "a.csv")
        ['warning: column t runs from 1600000000.0 to 1600000700.0, and float32 rounds its values by up to ...
        """
        low, high, error = (np.atleast_1d(np.asarray(x)) for x in (self._low, self._high, self._error))
        notes = []
        with np.errstate(over="ignore", invalid="ignore"):
            blurred = np.isfinite(error) & (high > low) & (error > _MOST * (high - low))
        for i in np.flatnonzero(blurred).tolist():
            what = f"column {columns[i]} runs from {low[i]} to {high[i]}"
            if np.float32(low[i]) == np.float32(high[i]):
                raise UsageError(
                    f"{where}: {what}, which float32 cannot tell apart; subtract a constant from it"
                )
            by = f"and float32 rounds its values by up to {error[i]:.3g}; subtract a constant from it"
            notes.append(f"warning: {what}, {by}")
        return notes


def rounding_of(x: Array, where: str) -> list[str]:
    """As `Rounding.notes`, of float64 rows (n, d)."""
    rounding = Rounding()
    for rows in chunks(x):
        rounding.add(rows)
    return rounding.notes([f"{i} (counting from 0)" for i in range(x.shape[1])], where)

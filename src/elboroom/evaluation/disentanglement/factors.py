"""Codes and the factors that made the data: checked, named, and in groups of equal value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError

BINS = 20
"""Intervals of equal width that a continuous quantity is divided into (arXiv:1811.12359 §C)."""

_FEWEST = 10  # rows below which no measure says anything


@dataclass(frozen=True, eq=False)
class Labelled:
    """Codes of n examples with the K factors that made them.

    Attributes
    ----------
    codes : numpy.ndarray
        float64 (n, d).
    factors : numpy.ndarray
        int64 (n, K): which value each example has, counted from 0; intervals of continuous factors.
    values : numpy.ndarray
        float64 (n, K): the factors' numbers; the counted values of factors that are no numbers.
    discrete : tuple of bool
        Which factors are discrete.
    names : tuple of str
        The factors' names.
    """

    codes: NDArray[np.float64]
    factors: NDArray[np.int64]
    values: NDArray[np.float64]
    discrete: tuple[bool, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many values each factor has, (K,)."""
        return self.factors.max(0) + 1

    def take(self, rows: NDArray[Any]) -> Labelled:
        """Return some of the rows; values that none of them has still count."""
        return Labelled(self.codes[rows], self.factors[rows], self.values[rows], self.discrete, self.names)


def labelled(codes: ArrayLike, factors: ArrayLike | Mapping[str, ArrayLike]) -> Labelled:
    """Check codes and factors, and count the factors' values.

    Parameters
    ----------
    codes : array
        (n, d).
    factors : array or mapping
        (n, K), or K arrays (n,) by name. Whole numbers, booleans and strings are discrete; other floats are
        continuous.

    Raises
    ------
    UsageError
        If the shapes do not fit, a number is not finite, or a factor has one value only.
    """
    z = _numbers("codes", codes)
    if z.ndim != 2 or not z.shape[1]:
        raise UsageError(f"codes have shape {z.shape}; they must be (examples, dimensions)")
    columns = _columns(factors)
    if len(z) < _FEWEST:
        raise UsageError(f"there are codes of {len(z)} examples; at least {_FEWEST} are needed")
    parts = [_factor(name, column, len(z)) for name, column in columns.items()]
    return Labelled(
        z,
        np.stack([counted for counted, _, _ in parts], 1),
        np.stack([numbers for _, numbers, _ in parts], 1),
        tuple(discrete for _, _, discrete in parts),
        tuple(columns),
    )


def _columns(factors: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    if isinstance(factors, Mapping):
        columns = {str(name): np.asarray(column) for name, column in factors.items()}
    else:
        table = np.asarray(factors)
        if table.ndim == 1:
            table = table[:, None]
        if table.ndim != 2:
            raise UsageError(f"factors have shape {table.shape}; they must be (examples, factors)")
        columns = {f"factor {k}": table[:, k] for k in range(table.shape[1])}
    if not columns:
        raise UsageError("there are no factors; give at least one")
    return columns


def _factor(name: str, column: NDArray[Any], n: int) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    """Which value each example has, the numbers, and whether the factor is discrete."""
    if column.shape != (n,):
        raise UsageError(f"factor {name!r} has shape {column.shape}, and there are codes of {n} examples")
    if column.dtype.kind in "USO":
        column = column.astype(str)
        numbers = np.unique(column, return_inverse=True)[1].astype(np.float64)
    else:
        numbers = _numbers(f"factor {name!r}", column)
    distinct, counted = np.unique(numbers, return_inverse=True)
    if len(distinct) < 2:
        raise UsageError(
            f"factor {name!r} has the one value {column[0]}; leave it out, as nothing can depend on it"
        )
    discrete = bool((distinct == np.round(distinct)).all())
    return (counted if discrete else binned(numbers)).astype(np.int64), numbers, discrete


def _numbers(what: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise UsageError(f"{what} are of type {array.dtype}; they must be numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UsageError(f"{what} hold nan or infinite values; leave those examples out")
    return array


def binned(values: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Return in which of ``bins`` intervals of equal width each value of a column lies, from 0 on.

    The largest value belongs to the last interval, and a column of one value to the first.

    Examples
    --------
    >>> binned(np.array([0.0, 0.24, 0.25, 1.0]), bins=4).tolist()
    [0, 0, 1, 3]
    """
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), np.int64)
    edges = np.linspace(low, high, bins + 1)
    return np.clip(np.digitize(values, edges[:-1]) - 1, 0, bins - 1).astype(np.int64)


def varies(codes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns hold more than one value, (d,); a variance tells less, as the mean of copies is rounded.

    Examples
    --------
    >>> varies(np.array([[0.1, 1.0]] * 9 + [[0.1, 2.0]])).tolist()
    [False, True]
    """
    return np.asarray(codes.max(0) > codes.min(0))


def groups(column: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort examples by a factor: their order, and where each value's examples begin and how many they are."""
    order = np.argsort(column, kind="stable")
    counts = np.bincount(column)
    return order, np.concatenate([[0], np.cumsum(counts)[:-1]]), counts


def only(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names if all are known.

    Raises
    ------
    UsageError
        Naming the first that is not, and those that are.
    """
    for name in names:
        if name not in known:
            raise UsageError(f"there is no measure {name!r}; there are {', '.join(known)}")
    return tuple(names)

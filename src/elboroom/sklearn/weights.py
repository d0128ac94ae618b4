"""Weights of rows: how many rows each one counts as."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import UsageError

_MOST_REPEATED = 1_000_000  # rows, beyond which whole weights are sampled like others

Numbers = NDArray[np.float64]


def weighted_rows(x: Numbers, sample_weight: Any) -> tuple[Numbers, Numbers | None]:
    """Rows (n, d) in an order that depends on their values alone, and the weights that are left.

    A row of a whole weight w becomes w rows, so that weights and repeated rows give the same model; the
    order is what makes "the same" exact. Rows of weight 0 are left out.

    Returns
    -------
    x : array
        Rows (m, d).
    weights : array or None
        (m,), above 0; None if all rows count alike.

    Raises
    ------
    UsageError
        If the weights are not n finite numbers of at least 0, some of them above 0.

    Examples
    --------
    >>> weighted_rows(np.array([[3.0], [1.0], [2.0]]), [2, 1, 0])
    (array([[1.],
           [3.],
           [3.]]), None)
    """
    weights = checked_weights(sample_weight, len(x))
    if weights is not None:
        x, weights = x[weights > 0], weights[weights > 0]
        whole = bool((weights == weights.round()).all())
        if whole and weights.sum() <= max(_MOST_REPEATED, len(x)):
            x, weights = x.repeat(weights.astype(np.int64), axis=0), None
    order = np.lexsort(x.T[::-1])
    return x[order], None if weights is None else weights[order]


def resampled(weights: Numbers, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw numbers of rows in proportion to their weights (n,), (count,), in random order.

    Each row is drawn ⌊count · w/Σw⌋ times or once more, and count · w/Σw times on average: systematic
    sampling (G. Kitagawa, Monte Carlo filter and smoother, 1996).

    Examples
    --------
    >>> drawn = resampled(np.array([1.0, 2.5, 0.5]), 8, np.random.default_rng(0))
    >>> np.bincount(drawn)
    array([2, 5, 1])
    """
    ends = np.cumsum(weights) * (count / weights.sum())
    drawn = np.searchsorted(ends, np.arange(count) + rng.random(), side="right")
    return rng.permutation(np.minimum(drawn, len(weights) - 1))


def checked_weights(sample_weight: Any, rows: int) -> Numbers | None:
    """Weights (n,) as float64; None if there are none.

    Raises
    ------
    UsageError
        As :func:`weighted_rows`.
    """
    if sample_weight is None:
        return None
    try:
        weights = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise UsageError("sample_weight holds values that are not numbers; give one number a row") from None
    if weights.shape != (rows,):
        raise UsageError(
            f"sample_weight has the shape {weights.shape}; give one number for each of {rows} rows"
        )
    bad = np.flatnonzero(~((weights >= 0) & (weights < math.inf)))
    if len(bad):
        raise UsageError(f"sample_weight[{bad[0]}] = {weights[bad[0]]:g}: must be finite and at least 0")
    if not weights.any():
        raise UsageError("sample_weight is zero for every row; give some rows a weight above zero")
    return weights

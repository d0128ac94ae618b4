"""Measures from the mutual information of single codes and factors: MIG and modularity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elboroom.evaluation.disentanglement.factors import Labelled, binned


def entropies(counted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the entropy of each column of counted values, plug-in, in nats (K,)."""
    return np.array([_entropy(np.bincount(column)) for column in counted.T])


def mutual_information(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mutual information of each pair of columns, plug-in, in nats.

    Parameters
    ----------
    left, right : numpy.ndarray
        Values counted from 0, (n, d) and (n, K).

    Returns
    -------
    numpy.ndarray
        (d, K), from 0 to the smaller of the two entropies.

    Examples
    --------
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> mutual_information(x, x).round(4).tolist()
    [[0.6931, 0.0], [0.0, 0.6931]]
    """
    h_left, h_right = entropies(left), entropies(right)
    sizes = right.max(0) + 1
    joint = np.array(
        [[_entropy(np.bincount(a * sizes[k] + right[:, k])) for k in range(right.shape[1])] for a in left.T]
    )
    return np.maximum(h_left[:, None] + h_right[None] - joint, 0.0)


def _entropy(counts: NDArray[np.int64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def binned_codes(codes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the codes' intervals, 20 of equal width in each dimension."""
    return np.stack([binned(column) for column in codes.T], 1)


def mig(data: Labelled) -> NDArray[np.float64]:
    """Mutual information gap of each factor, a share of its entropy (arXiv:1802.04942 §4).

    The difference of the two dimensions that know most of it; with one dimension the second is 0.
    """
    information = mutual_information(binned_codes(data.codes), data.factors)
    return gap(information) / entropies(data.factors)


def gap(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest less the second largest of each column of a table (d, K), as (K,)."""
    if len(table) == 1:
        return table[0]
    ranked = np.sort(table, 0)
    return np.asarray(ranked[-1] - ranked[-2])


def modularity(data: Labelled) -> NDArray[np.float64]:
    """How far each dimension knows about one factor only, (d,), from 0 to 1 (arXiv:1802.05312 §3).

    Dimensions that know nothing at all count as 0.
    """
    squared = mutual_information(binned_codes(data.codes), data.factors) ** 2
    most = squared.max(1)
    rest = squared.sum(1) - most
    with np.errstate(invalid="ignore", divide="ignore"):
        score = 1 - rest / (most * (squared.shape[1] - 1))
    return np.where(most > 0, score, 0.0)

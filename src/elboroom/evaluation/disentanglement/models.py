"""UDR: which of several trained models agree with one another, without any labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError

_INFORMATIVE = 0.01  # nats to the prior, below which a dimension is ignored (arXiv:1905.12614 §A.2)


def udr(codes: Sequence[ArrayLike], rates: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Unsupervised disentanglement ranking of models of the same data (arXiv:1905.12614 §4).

    Two models agree if each informative dimension of one resembles, by Spearman's rank correlation, a single
    dimension of the other. Models that disentangle agree; entangled ones are each entangled in their own way.

    Parameters
    ----------
    codes : sequence of array
        The codes of the same n examples by two models or more, such as seeds of one recipe, each (n, d).
    rates : sequence of array
        The mean KL to the prior of each model's dimensions, in nats, each (d,); those below 0.01 are ignored.

    Returns
    -------
    numpy.ndarray
        A score for each model, from 0 to 1: the median of its agreement with the others.

    Raises
    ------
    UsageError
        If there are fewer than two models, or shapes do not fit.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(size=(1000, 2))
    >>> turned = z @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    >>> udr([z, -z[:, ::-1]], [[1, 1], [1, 1]]).round(1).tolist()
    [1.0, 1.0]
    >>> udr([z, turned], [[1, 1], [1, 1]]).round(1).tolist()
    [0.4, 0.4]
    """
    models = [np.asarray(z, np.float64) for z in codes]
    if len(models) < 2:
        raise UsageError(f"there are codes of {len(models)} model; at least 2 are compared with one another")
    if len({len(z) for z in models}) > 1:
        raise UsageError(
            f"the codes are of {', '.join(str(len(z)) for z in models)} examples; they must be of the same"
        )
    if len(rates) != len(models):
        raise UsageError(f"there are codes of {len(models)} models and rates of {len(rates)}")
    informative = [np.asarray(rate, np.float64) > _INFORMATIVE for rate in rates]
    for z, known in zip(models, informative, strict=True):
        if z.ndim != 2 or known.shape != (z.shape[1],):
            raise UsageError(
                f"codes have shape {z.shape} and rates {known.shape}; they must be (n, d) and (d,)"
            )
    agreement = np.full((len(models), len(models)), np.nan)
    for i in range(len(models)):
        for j in range(i):
            agreement[i, j] = agreement[j, i] = _agreement(
                models[i], models[j], informative[i], informative[j]
            )
    others = ~np.eye(len(models), dtype=bool)
    return np.array([np.median(row[mask]) for row, mask in zip(agreement, others, strict=True)])


def _agreement(
    a: NDArray[np.float64], b: NDArray[np.float64], a_known: NDArray[np.bool_], b_known: NDArray[np.bool_]
) -> float:
    """Return the agreement of two models, by rank correlation."""
    similar = np.abs(_ranked(a).T @ _ranked(b) / len(a))
    total = a_known.sum() + b_known.sum()
    if not total:
        return 0.0
    return float((_share(similar)[b_known].sum() + _share(similar.T)[a_known].sum()) / total)


def _share(similar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each column, its largest entry squared over its sum."""
    sums = similar.sum(0)
    return np.where(sums > 0, similar.max(0) ** 2 / np.where(sums > 0, sums, 1), 0.0)


def _ranked(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of each column, standardised; zeros for constant ones."""
    from scipy.stats import rankdata

    ranks = rankdata(z, axis=0)
    ranks -= ranks.mean(0)
    spread = ranks.std(0)
    return np.asarray(ranks / np.where(spread > 0, spread, 1))

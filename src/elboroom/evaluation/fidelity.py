"""How much of what a model draws is like the examples, and how much of the examples it covers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure, error_of_share

_DISTANCES = 4_000_000  # at a time
_WORDS = {
    "precision": "share of draws that lie within reach of an example",
    "recall": "share of examples that lie within reach of a draw",
    "density": "mean number of examples within whose reach a draw lies, over k",
    "coverage": "share of examples within whose reach a draw lies",
}


def fidelity(examples: ArrayLike, draws: ArrayLike, k: int = 5) -> dict[str, Measure]:
    """Precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797) of draws.

    The reach of a point is the distance to the k-th nearest other point of its own set.

    Parameters
    ----------
    examples, draws : array
        Features (n, d) and (m, d), such as those of
        :class:`~elboroom.evaluation.picture_features.FeatureNet`.
    k : int
        Below n and m.

    Returns
    -------
    dict of str to Measure
        ``precision``, ``recall`` and ``coverage`` are shares; ``density`` is 1 for draws from the examples'
        own distribution, and may be above. Errors are those over draws (precision, density) or over examples
        (recall, coverage), the other set given.

    Raises
    ------
    UsageError
        If the sets do not fit together, or one has at most k points.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(50, 3))
    >>> {name: one.value for name, one in fidelity(points, points + 100).items()}
    {'precision': 0.0, 'recall': 0.0, 'density': 0.0, 'coverage': 0.0}
    """
    x, y = np.asarray(examples, np.float64), np.asarray(draws, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UsageError(f"features have shapes {x.shape} and {y.shape}; give rows of one length")
    if k < 1 or min(len(x), len(y)) <= k:
        raise UsageError(f"k = {k}: {len(x)} examples and {len(y)} draws need a k from 1 to less than either")
    reach, reach_of_draws = _reach(x, k), _reach(y, k)
    recalled = np.zeros(len(x), bool)
    covered = np.zeros(len(x), bool)
    within = np.zeros(len(y))
    for part in _parts(len(y), len(x)):
        distances = cdist(x, y[part])
        inside = distances <= reach[:, None]
        within[part] = inside.sum(0)
        covered |= inside.any(1)
        recalled |= (distances <= reach_of_draws[part]).any(1)
    each = {"precision": within > 0, "recall": recalled, "density": within / k, "coverage": covered}
    return {
        name: Measure(
            value=float(values.mean()),
            error=(
                float(values.std(ddof=1)) / math.sqrt(len(values))
                if name == "density"
                else error_of_share(float(values.mean()), len(values))
            ),
            unit="ratio" if name == "density" else "share",
            estimator=f"{_WORDS[name]}, k = {k}",
            examples=len(x),
            details={"draws": len(y), "k": k},
        )
        for name, values in each.items()
    }


def _reach(points: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Distance (n,) of each point to the k-th nearest other one."""
    found = np.empty(len(points))
    for part in _parts(len(points), len(points)):
        distances = cdist(points[part], points)
        found[part] = np.partition(distances, k, axis=1)[:, k]  # the nearest is the point itself
    return found


def _parts(n: int, width: int) -> list[slice]:
    step = max(1, _DISTANCES // width)
    return [slice(i, i + step) for i in range(0, n, step)]

"""Eight sets with anomalies: classes of scikit-learn's bundled data, and rows whose columns do not fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from benchmarks.tables.networks import NETWORKS, Table
from numpy.typing import NDArray
from sklearn import datasets

Numbers = NDArray[np.float64]


class AnomalySet(NamedTuple):
    """Normal rows to train on, and rows to judge, of which some are odd, (n,)."""

    train: Numbers
    test: Numbers
    odd: NDArray[np.bool_]


def _of_classes(x: Numbers, y: NDArray[np.int64], odd: int, seed: int, share: float = 0.1) -> AnomalySet:
    """Train on half of the other classes; judge the rest and some of one class, a tenth of them."""
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y != odd))
    half = len(normal) // 2
    strange = rng.permutation(np.flatnonzero(y == odd))[: max(10, int(share * (len(normal) - half)))]
    test = np.concatenate([normal[half:], strange])
    return AnomalySet(x[normal[:half]], x[test], np.isin(test, strange))


def _as_numbers(table: Table) -> Numbers:
    columns = []
    for cells in table.values():
        if cells.dtype.kind in "iuf":
            columns.append(cells[:, None].astype(float))
        else:
            columns.append((cells[:, None] == np.unique(cells)).astype(float))
    return np.concatenate(columns, 1)


def _of_network(name: str, seed: int) -> AnomalySet:
    """Rows of a network; in the odd ones half of the columns come from another row."""
    rng = np.random.default_rng(seed)
    table = NETWORKS[name].sample(3300, rng)
    swapped = {
        key: np.concatenate([cells[:3000], cells[rng.permutation(300) + 3000] if i % 2 else cells[3000:]])
        for i, (key, cells) in enumerate(table.items())
    }
    x = _as_numbers(swapped)
    return AnomalySet(x[:1500], x[1500:], np.arange(1500, 3300) >= 3000)


def anomaly_sets(seed: int) -> dict[str, AnomalySet]:
    """All sets, each split anew for each seed."""
    cancer, wine, digits, iris = (
        load(return_X_y=True)
        for load in (
            datasets.load_breast_cancer,
            datasets.load_wine,
            datasets.load_digits,
            datasets.load_iris,
        )
    )
    return {
        "cancer": _of_classes(*cancer, odd=0, seed=seed),
        "wine": _of_classes(*wine, odd=2, seed=seed),
        "iris": _of_classes(*iris, odd=1, seed=seed),
        "digits-1": _of_classes(*digits, odd=1, seed=seed),
        "digits-8": _of_classes(*digits, odd=8, seed=seed),
        **{name: _of_network(name, seed) for name in NETWORKS},
    }

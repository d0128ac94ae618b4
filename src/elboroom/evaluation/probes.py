"""How well simple classifiers read labels off codes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure, error_of_share

_NEIGHBOURS = 15
FEWEST_PROBED = 2 * _NEIGHBOURS
"""Examples that codes can be probed on."""


def probes(codes: ArrayLike, labels: ArrayLike, *, seed: int = 0) -> dict[str, Measure]:
    """Accuracy of a linear classifier and of nearest neighbours that read labels off codes.

    Both learn from half of the examples, drawn by the seed, and are measured on the others; dimensions are
    scaled to a standard deviation of 1 on the first half.

    Parameters
    ----------
    codes : array
        (n, d).
    labels : array
        Whole numbers, (n,).
    seed : int
        Of the halves.

    Returns
    -------
    dict of str to Measure
        ``linear_probe`` and ``knn_probe``, shares of right answers, with the share of the most frequent label
        as ``chance`` in their details.

    Raises
    ------
    UsageError
        If there are fewer than 30 examples, numbers that are not finite, or one label only.

    Examples
    --------
    >>> labels = np.arange(200) % 2
    >>> found = probes(labels[:, None] + 0.01 * np.random.default_rng(0).normal(size=(200, 1)), labels)
    >>> found["linear_probe"].value, found["knn_probe"].value
    (1.0, 1.0)
    """
    z, y = np.asarray(codes, np.float64), np.asarray(labels)
    if z.ndim != 2 or y.shape != (len(z),):
        raise UsageError(f"codes have shape {z.shape} and labels {y.shape}; they must be (n, d) and (n,)")
    if len(z) < FEWEST_PROBED or not np.isfinite(z).all():
        raise UsageError(f"probes need finite codes of at least {FEWEST_PROBED} examples; there are {len(z)}")
    order = np.random.default_rng(seed).permutation(len(z))
    seen, unseen = order[: len(z) // 2], order[len(z) // 2 :]
    if len(np.unique(y[seen])) < 2:
        raise UsageError("probes need examples of at least two labels; choose more examples")
    return {name: _accuracy(model, how, z, y, seen, unseen, seed) for name, (model, how) in _models().items()}


def _models() -> dict[str, tuple[Any, str]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "linear_probe": (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            "accuracy of logistic regression",
        ),
        "knn_probe": (
            make_pipeline(StandardScaler(), KNeighborsClassifier(_NEIGHBOURS)),
            f"accuracy of {_NEIGHBOURS} nearest neighbours",
        ),
    }


def _accuracy(
    model: Any,
    how: str,
    z: NDArray[np.float64],
    y: NDArray[Any],
    seen: NDArray[np.int64],
    unseen: NDArray[np.int64],
    seed: int,
) -> Measure:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        share = float((model.fit(z[seen], y[seen]).predict(z[unseen]) == y[unseen]).mean())
    chance = float(np.unique(y, return_counts=True)[1].max() / len(y))
    return Measure(
        value=share,
        error=error_of_share(share, len(unseen)),
        unit="share",
        estimator=how,
        examples=len(unseen),
        seed=seed,
        details={"chance": chance},
    )

"""Measures from examples that agree in a factor: the β-VAE and FactorVAE scores, and IRS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elboroom.evaluation.disentanglement.factors import Labelled, groups, varies
from elboroom.evaluation.disentanglement.predictors import fit

_TOGETHER = 64  # examples, or pairs of them, to a vote
_QUANTILE = 0.99


def _agreeing(
    data: Labelled, k: int, first: NDArray[np.int64], together: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``together`` rows for each of the first rows, which have the same value of factor k."""
    order, begins, counts = groups(data.factors[:, k])
    value = data.factors[first, k]
    within = (rng.random((len(first), together)) * counts[value][:, None]).astype(np.int64)
    return order[begins[value][:, None] + within]


def _votes(
    data: Labelled, points: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw features of the β-VAE score, (points, d), with the factor that was kept, (points,)."""
    kept = rng.integers(len(data.names), size=points)
    features = np.zeros((points, data.codes.shape[1]))
    spread = data.codes.std(0)
    scaled = data.codes / np.where(varies(data.codes), spread, 1)
    for k in range(len(data.names)):
        mine = np.flatnonzero(kept == k)
        first = rng.integers(len(data), size=(len(mine), _TOGETHER))
        second = _agreeing(data, k, first.ravel(), 1, rng).reshape(first.shape)
        for point, a, b in zip(mine, first, second, strict=True):
            features[point] = np.abs(scaled[a] - scaled[b]).mean(0)
    return features, kept


def beta_vae(data: Labelled, points: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of ``points`` votes a linear classifier gets right: the β-VAE score (Higgins et al., 2017).

    A vote is the mean absolute difference of the codes of 64 pairs that agree in one factor, and the
    classifier tells which factor that is. Dimensions are first scaled to a standard deviation of 1, so that
    the score does not depend on their units. The classifier is fitted on twice as many votes.
    """
    from sklearn.linear_model import LogisticRegression

    features, kept = _votes(data, 2 * points, rng)
    classifier = LogisticRegression(max_iter=1000)
    fit(classifier, features, kept)
    features, kept = _votes(data, points, rng)
    return np.asarray(classifier.predict(features) == kept)


def factor_vae(data: Labelled, points: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of ``points`` votes the majority gets right: the FactorVAE score (arXiv:1802.05983 §3).

    A vote is the dimension that varies least, in units of its variance over the data, among 64 examples that
    agree in one factor; each dimension stands for the factor for which it voted most often in twice as many
    votes. Dimensions that do not vary at all have no vote.
    """
    variance = data.codes.var(0, ddof=1)
    alive = np.flatnonzero(varies(data.codes))
    if not len(alive):
        return np.zeros(points, np.bool_)

    def vote(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        kept = rng.integers(len(data.names), size=count)
        least = np.zeros(count, np.int64)
        for k in range(len(data.names)):
            mine = np.flatnonzero(kept == k)
            rows = _agreeing(data, k, rng.integers(len(data), size=len(mine)), _TOGETHER, rng)
            for point, together in zip(mine, rows, strict=True):
                local = data.codes[together][:, alive].var(0, ddof=1) / variance[alive]
                least[point] = np.argmin(local)
        return least, kept

    least, kept = vote(2 * points)
    table = np.zeros((len(alive), len(data.names)), np.int64)
    np.add.at(table, (least, kept), 1)
    stands_for = table.argmax(1)
    least, kept = vote(points)
    return np.asarray(stands_for[least] == kept)


def irs(data: Labelled) -> NDArray[np.float64]:
    """Interventional robustness of each dimension, (d,) from 0 to 1 (arXiv:1811.00007 §4).

    For each factor, how far a dimension strays from its mean among the examples with the same value (the
    99th percentile, averaged over the values), in units of how far it strays at all; one less that of the
    factor it keeps to best. Weigh them by `deviations` for one number.
    """
    furthest = deviations(data)
    strays = np.zeros((data.codes.shape[1], len(data.names)))
    for k in range(len(data.names)):
        order, begins, counts = groups(data.factors[:, k])
        have = np.flatnonzero(counts)
        for value in have:
            together = data.codes[order[begins[value] : begins[value] + counts[value]]]
            strays[:, k] += np.percentile(np.abs(together - together.mean(0)), 100 * _QUANTILE, axis=0)
        strays[:, k] /= len(have)
    relative = strays / np.where(furthest > 0, furthest, 1)[:, None]
    return np.where(furthest > 0, np.clip(1 - relative, 0, 1).max(1), 0.0)


def deviations(data: Labelled) -> NDArray[np.float64]:
    """How far each dimension strays from its mean at most, (d,); 0 if it does not vary."""
    return np.where(varies(data.codes), np.abs(data.codes - data.codes.mean(0)).max(0), 0.0)

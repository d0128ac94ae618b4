"""Thresholds and p-values of anomaly scores that hold their false-alarm rate: split conformal prediction.

The scores of held-out examples calibrate those of new ones. If a new example comes from the same
distribution as the held-out ones, its score is equally likely to take any rank among theirs. So it is above
the k-th largest of n held-out scores with a probability of at most k/(n + 1), whatever the model and the
distribution (V. Vovk et al., Algorithmic Learning in a Random World, 2005; arXiv:2107.07511).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError


def least_false_alarms(count: float) -> float:
    """Lowest false-alarm rate that a number of calibration scores can hold, 1/(n + 1).

    ``count`` may be a sum of weights.

    Examples
    --------
    >>> least_false_alarms(99)
    0.01
    """
    return 1 / (count + 1)


def conformal_threshold(
    calibration: ArrayLike, false_alarms: float = 0.05, *, weights: ArrayLike | None = None
) -> float:
    """Score above which an example is called anomalous.

    It is the k-th largest calibration score, with k = ⌊false_alarms · (n + 1)⌋. A new example of the same
    distribution is above it with probability k/(n + 1) if scores do not tie, and with a lower one if they
    do.

    Parameters
    ----------
    calibration : array
        Scores (n,) of examples that the model was not trained on; higher is more anomalous.
    false_alarms : float
        Largest share of normal examples to call anomalous, above 0 and below 1.
    weights : array, optional
        How many examples each of them counts as, (n,), above 0: a whole weight is the same as repeating the
        example. n is then the sum of the weights, and the new example counts as one. If weights say how
        much more frequent such examples are among the new ones, the rate holds nearly, the better the more
        examples there are (arXiv:1904.06019); their common factor then should make the sum about n.

    Raises
    ------
    UsageError
        If there are too few calibration scores for that rate, one of them is nan, or the rate is out of
        range.

    Examples
    --------
    >>> conformal_threshold([5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 8.0, 7.0, 6.0], false_alarms=0.2)
    8.0
    """
    scores = _checked(calibration)
    counts = _counts(weights, scores)
    if not 0 < false_alarms < 1:  # nan is neither
        raise UsageError(f"false_alarms = {false_alarms!r}: must be a rate above 0 and below 1, such as 0.05")
    # As the number is written: 0.29 · 100 is 28.999999999999996 in floating point.
    total = float(counts.sum())
    allowed = Fraction(repr(float(false_alarms))) * (Fraction(total) + 1) - 1
    if allowed < 0:
        raise UsageError(
            f"false_alarms = {false_alarms!r}: {total:.12g} calibration examples hold no rate below "
            f"{_rounded_up(least_false_alarms(total))}; give that or more, or more calibration examples"
        )
    order = np.argsort(-scores, kind="stable")
    above = np.searchsorted(counts[order].cumsum(), float(allowed), side="right")
    return float(scores[order[above]])


def conformal_p_values(
    scores: ArrayLike, calibration: ArrayLike, *, weights: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Conformal p-value of each score: (1 + number of calibration scores that are as high) / (n + 1).

    For an example of the calibration set's distribution P(p ≤ a) ≤ a for every a. A score is above
    :func:`conformal_threshold` exactly if its p-value is at most the false-alarm rate.

    Parameters
    ----------
    scores : array
        (m,); higher is more anomalous. The p-value of nan is nan.
    calibration : array
        Scores (n,) of examples that the model was not trained on.
    weights : array, optional
        How many examples each of them counts as, (n,), as in :func:`conformal_threshold`.

    Returns
    -------
    numpy.ndarray
        float64 (m,), each from 1/(n + 1) to 1.

    Raises
    ------
    UsageError
        If there is no calibration score, or one of them is nan.

    Examples
    --------
    >>> conformal_p_values([0.0, 2.0, 9.0], calibration=[1.0, 2.0, 3.0]).tolist()
    [1.0, 0.75, 0.25]
    """
    known = _checked(calibration)
    counts, order = _counts(weights, known), np.argsort(known, kind="stable")
    values = np.asarray(scores, dtype=np.float64)
    above = np.append(counts[order][::-1].cumsum()[::-1], 0.0)
    as_high = above[np.searchsorted(known[order], values, side="left")]
    return np.where(np.isnan(values), np.nan, (1 + as_high) / (counts.sum() + 1))


def _checked(calibration: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(calibration, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise UsageError(
            f"calibration has the shape {scores.shape}; give the scores (n,) of at least one held-out example"
        )
    bad = np.flatnonzero(np.isnan(scores))
    if len(bad):
        raise UsageError(
            f"{len(bad)} of {len(scores)} calibration scores are nan, the first at index {bad[0]}; the model "
            "cannot score its own held-out examples"
        )
    return scores


def _counts(weights: ArrayLike | None, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    if counts.shape != scores.shape or not (np.isfinite(counts) & (counts > 0)).all():
        raise UsageError(
            f"weights must be {len(scores)} finite numbers above 0, one for each calibration score"
        )
    return counts


def _rounded_up(rate: float) -> float:
    """Round a rate up to four decimals, so that it is attained when it is given back."""
    return -int(-rate * 10_000 // 1) / 10_000 if rate < 1 else rate

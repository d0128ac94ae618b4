"""Calibrated thresholds and p-values against their definition, and their false-alarm rate."""

from __future__ import annotations

import numpy as np
import pytest

from elboroom.errors import UsageError
from elboroom.scoring.calibration import Calibration
from elboroom.scoring.conformal import (
    conformal_p_values,
    conformal_threshold,
    least_false_alarms,
)
from elboroom.scoring.contributions import Contributions
from elboroom.scoring.measures import Scores


@pytest.mark.parametrize("n", [1, 19, 20, 38, 39, 99])
@pytest.mark.parametrize("rate", [0.05, 0.07, 0.29, 0.5])
def test_threshold_and_p_values_say_the_same(n: int, rate: float) -> None:
    rng = np.random.default_rng(n)
    calibration = rng.integers(0, 30, n).astype(float)  # with ties
    scores = np.arange(-1.0, 32.0)
    p = np.array([(1 + sum(calibration >= score)) / (n + 1) for score in scores])  # the definition
    np.testing.assert_array_equal(conformal_p_values(scores, calibration), p)
    if rate < least_false_alarms(n):
        with pytest.raises(UsageError, match=f"{n} calibration examples hold no rate below"):
            conformal_threshold(calibration, rate)
        return
    # Tolerance: p is a ratio of whole numbers, of which 29/100 is just above 0.29 in binary.
    np.testing.assert_array_equal(scores > conformal_threshold(calibration, rate), p <= rate + 1e-12)


@pytest.mark.parametrize("rate", [0.05, 0.29, 0.5])
def test_weights_count_as_that_many_examples(rate: float) -> None:
    rng = np.random.default_rng(0)
    calibration, scores = rng.integers(0, 12, 25).astype(float), np.arange(-1.0, 14.0)  # with ties
    whole = rng.integers(1, 5, 25)
    repeated = calibration.repeat(whole)
    p = conformal_p_values(scores, calibration, weights=whole)
    np.testing.assert_array_equal(p, conformal_p_values(scores, repeated))
    threshold = conformal_threshold(calibration, rate, weights=whole)
    assert threshold == conformal_threshold(repeated, rate)
    other = rng.exponential(2, 25)
    p = np.array([(1 + other[calibration >= score].sum()) / (other.sum() + 1) for score in scores])
    np.testing.assert_allclose(conformal_p_values(scores, calibration, weights=other), p, rtol=1e-12)
    np.testing.assert_array_equal(scores > conformal_threshold(calibration, rate, weights=other), p <= rate)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, np.nan], [1.0, -1.0]])
def test_other_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="weights must be 2 finite numbers above 0"):
        conformal_threshold([1.0, 2.0], 0.5, weights=weights)


def test_false_alarm_rate_holds_over_50_splits() -> None:
    """Of each of 50 splits 400 calibrate and 2,000 are judged; heavy tails and asymmetry do not matter."""
    rates = []
    for seed in range(50):
        scores = np.random.default_rng(seed).standard_t(2, 2400) ** 3
        threshold = conformal_threshold(scores[:400], 0.05)
        rates.append((scores[400:] > threshold).mean())
    # The rate of one split has a standard deviation of √(0.05·0.95·(1/400 + 1/2000)) = 0.012.
    assert abs(np.mean(rates) - 20 / 401) < 4 * 0.012 / 50**0.5
    assert np.mean(np.abs(np.array(rates) - 0.05) < 0.03) > 0.9


def test_few_examples_hold_the_rate_exactly() -> None:
    """With 9 calibration scores a tenth of new ones is above the highest, by symmetry."""
    scores = np.random.default_rng(0).random((200_000, 10))
    flagged = [conformal_threshold(row[:9], 0.1) < row[9] for row in scores[:20_000]]
    assert abs(np.mean(flagged) - 0.1) < 4 * (0.09 / 20_000) ** 0.5


def test_the_rate_that_is_offered_is_accepted() -> None:
    for n in (1, 3, 12, 17, 66, 1234):
        with pytest.raises(UsageError) as error:
            conformal_threshold(np.arange(n), 1e-9)
        offered = float(str(error.value).split("rate below ")[1].split(";")[0])
        assert conformal_threshold(np.arange(n), offered) == n - 1
        assert offered < least_false_alarms(n) + 1e-4


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="above 0 and below 1"):
        conformal_threshold(np.arange(100), rate)


def test_calibration_without_numbers_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1 of 3 calibration scores are nan, the first at index 1"):
        conformal_threshold([1.0, np.nan, 2.0], 0.5)
    with pytest.raises(UsageError, match="at least one held-out example"):
        conformal_p_values([1.0], [])


def test_infinite_and_nan_scores() -> None:
    p = conformal_p_values([np.inf, np.nan, -np.inf], [1.0, 2.0, np.inf])
    assert p[0] == 0.5  # as high as one of three
    assert np.isnan(p[1])
    assert p[2] == 1.0


def test_verdicts_agree_with_p_values_where_scores_tie() -> None:
    def scores(values: list[float]) -> Scores:
        value = np.array(values)
        nothing = np.zeros(len(value))
        return Scores("elbo", value, nothing, Contributions(value[:, None], nothing), nothing.astype(bool))

    calibration = Calibration.of([scores([1.0, 2.0]), scores([3.0, 3.0, 4.0, 4.0, 4.0])], 0.5)
    judged = calibration.judge(scores([2.0, 3.0, 4.0, 5.0, np.nan, np.inf]))
    assert calibration.threshold == 3.0
    assert judged.anomalous.tolist() == [False, False, True, True, False, True]
    assert judged.anomalous[:4].tolist() == (judged.p_value[:4] <= 0.5).tolist()
    np.testing.assert_allclose(calibration.usual, [3.0, 0.0])
    with pytest.raises(UsageError, match="none of the 3 calibration scores is finite"):
        Calibration.of([scores([np.inf] * 3)], 0.5)

"""Scores, thresholds and verdicts of :class:`VAEAnomalyDetector`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from elboroom.errors import RunWarning, UsageError
from elboroom.scoring import score
from elboroom.sklearn import VAEAnomalyDetector

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(2, 4))


def rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.tanh(rng.normal(size=(n, 2))) @ MIX + 0.1 * rng.normal(size=(n, 4))


def test_too_few_rows_to_calibrate_are_reported() -> None:
    detector = VAEAnomalyDetector(epochs=1, random_state=0)
    with pytest.warns(RunWarning, match="18 rows for calibration hold no rate below 0.0526, which is held"):
        detector.fit(rows(90, 0))
    # a score within rounding of a calibration row's counts as equal
    assert detector.offset_ == pytest.approx(detector.calibration_scores_[0], abs=1.1e-8, rel=0)
    assert detector.offset_ < detector.calibration_scores_[0]


def test_the_false_alarm_rate_holds_over_fifty_splits() -> None:
    """Split conformal prediction: with 79 rows for calibration, the rate is 4/80 on average, exactly."""
    rates = []
    for seed in range(50):
        detector = VAEAnomalyDetector(
            1, hidden=(16,), epochs=2, importance_samples=10, random_state=seed, calibration_fraction=0.5
        )
        detector.fit(rows(158, seed))
        rates.append((detector.predict(rows(1000, 1000 + seed)) == -1).mean())
    assert np.mean(rates) == pytest.approx(0.05, abs=0.02)
    # of one split it is Beta(4, 76): a deviation of 0.024, which no constant threshold would show
    assert 0.01 < np.std(rates) < 0.04


def test_calibration_on_the_training_rows_would_not_hold_it() -> None:
    """Why rows are held out: a model that has overfitted scores its own rows higher than new ones."""
    x = rows(40, 0)
    detector = VAEAnomalyDetector(
        4, epochs=100, batch_size=20, learning_rate=0.01, noise=0.0, validation_fraction=0.0, random_state=0
    )
    with pytest.warns(RunWarning, match="8 rows"):
        detector.fit(x)
    seen = (detector.calibrate(x).predict(rows(1000, 1)) == -1).mean()
    assert seen > 0.1  # 2/41 are promised, give or take 0.033
    unseen = (detector.calibrate(rows(400, 2)).predict(rows(1000, 1)) == -1).mean()
    assert unseen == pytest.approx(0.05, abs=0.04)  # three deviations of one split and 1,000 rows


def test_p_values_are_uniform_and_agree_with_verdicts() -> None:
    detector = VAEAnomalyDetector(epochs=5, random_state=0).fit(rows(500, 0))
    x = rows(2000, 1)
    p = detector.p_values(x)
    assert ((p <= 0.05 + 1e-12) == (detector.predict(x) == -1)).all()
    assert p.min() >= 1 / 101
    assert p.max() <= 1
    assert p.mean() == pytest.approx(0.5, abs=0.1)


def test_anomalies_that_break_the_relation_between_columns_are_found() -> None:
    detector = VAEAnomalyDetector(epochs=60, random_state=0).fit(rows(500, 0))
    normal, odd = rows(300, 1), rows(300, 2)
    odd = np.random.default_rng(3).permuted(odd, axis=0)  # each column alone is as before
    scores = detector.score_samples(np.concatenate([normal, odd]))
    assert roc_auc_score(np.repeat([1, 0], 300), scores) > 0.8
    assert (detector.predict(normal) == -1).mean() < 0.12
    assert detector.predict(rows(5, 4) + 100).tolist() == [-1] * 5


def test_a_clone_fits_the_same_detector() -> None:
    x = rows(200, 0)
    one = VAEAnomalyDetector(epochs=3, random_state=4).fit(x)
    other = clone(one).fit(x)
    assert one.offset_ == other.offset_
    assert np.array_equal(one.decision_function(x), other.decision_function(x))


@pytest.mark.parametrize("name", ["false_alarm_rate", "calibration_fraction"])
@pytest.mark.parametrize("value", [0, 1.0, "a tenth", True])
def test_fractions_outside_0_and_1_are_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{name} = {value!r}: must be a number between 0 and 1"):
        VAEAnomalyDetector(**{name: value}).fit(rows(100, 0))


@pytest.mark.parametrize("likelihood", ["auto", "gaussian"])
def test_contributions_sum_to_the_score(likelihood: str) -> None:
    x = rows(200, 0)
    options = {"epochs": 5, "random_state": 0, "importance_samples": 400}
    detector = VAEAnomalyDetector(likelihood=likelihood, **options).fit(x)
    parts = detector.contributions(x)
    assert parts.shape == (200, 5)
    np.testing.assert_allclose(parts.sum(1), detector.score_samples(x), rtol=1e-12)
    # −KL(p(z|x) ‖ p(z)) is negative; an estimate may miss it by its error
    assert (parts[:, -1] < 0.05).all()


def test_a_missing_cell_contributes_nothing_and_a_wrong_one_is_named() -> None:
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame(rows(400, 0), columns=list("abcd"))
    detector = VAEAnomalyDetector(epochs=40, random_state=0).fit(x)
    odd = x.head(2).copy()
    odd.loc[0, "c"] = np.nan
    odd.loc[1, "b"] += 10 * x["b"].std()
    assert detector.contributions(odd)[0, 2] == 0
    (reason, *_) = detector.reasons(odd)[1]
    assert reason.name == "b"
    assert reason.nats == pytest.approx(-detector.contributions(odd)[1, 1])
    assert reason.above == pytest.approx(reason.nats + detector.usual_contributions_[1])


def test_the_function_of_elboroom_score_says_the_same() -> None:
    """With the same model, noise and calibration rows, and in the columns' own units, all of it agrees."""
    x, new = rows(300, 0), rows(200, 1)
    detector = VAEAnomalyDetector(epochs=5, normalize=False, random_state=0).fit(x)
    held_out = rows(150, 2)
    detector.calibrate(held_out)
    options = {"num_samples": detector.importance_samples, "seed": detector._noise_seed}
    found = score(detector.vae_, new, held_out, score="nll", false_alarms=0.05, **options)
    np.testing.assert_allclose(-found.scores.value, detector.score_samples(new), rtol=1e-6)
    np.testing.assert_allclose(-found.scores.contributions.parts(), detector.contributions(new), atol=1e-6)
    np.testing.assert_array_equal(np.where(found.anomalous, -1, 1), detector.predict(new))
    np.testing.assert_allclose(found.p_value, detector.p_values(new), rtol=1e-12)
    assert found.threshold == pytest.approx(-detector.offset_, abs=1e-6)

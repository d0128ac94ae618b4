"""Weights of rows: the same as repeating rows, in the objective, the columns and the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.errors import RunWarning, UsageError
from elboroom.sklearn import VAEAnomalyDetector, VAEImputer, VAETransformer
from elboroom.sklearn.copies import with_copies
from elboroom.sklearn.weights import resampled, weighted_rows

ESTIMATORS = [VAETransformer, VAEImputer, VAEAnomalyDetector]


def rows(n: int, seed: int) -> np.ndarray:
    """Three columns, of which two depend on each other."""
    x = np.random.default_rng(seed).normal(size=(n, 3))
    x[:, 1] += 2 * x[:, 0]
    return x


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_whole_weights_give_the_very_model_of_repeated_rows(estimator: type[Any]) -> None:
    x, weights = rows(80, 0), np.random.default_rng(1).integers(0, 4, 80)
    order = np.random.default_rng(2).permutation(80)
    one = estimator(epochs=2, random_state=0).fit(x[order], sample_weight=weights[order])
    other = estimator(epochs=2, random_state=0).fit(x.repeat(weights, axis=0))
    assert one.history_[-1]["loss"] == other.history_[-1]["loss"]
    for name, value in other.vae_.state_dict().items():
        assert torch.equal(one.vae_.state_dict()[name], value)
    assert one.columns_ == other.columns_
    if estimator is VAEAnomalyDetector:
        assert one.offset_ == other.offset_
        assert np.array_equal(one.p_values(x), other.p_values(x))


def test_rows_are_drawn_in_proportion_to_their_weights() -> None:
    weights = np.random.default_rng(0).exponential(size=50)
    exact = 120 * weights / weights.sum()
    counts = np.array(
        [np.bincount(resampled(weights, 120, np.random.default_rng(i)), minlength=50) for i in range(4000)]
    )
    assert (counts.sum(1) == 120).all()
    assert (np.abs(counts - exact) < 1).all()
    error = np.sqrt((exact % 1) * (1 - exact % 1) / 4000)
    assert (np.abs(counts.mean(0) - exact) < 4.5 * error + 1e-9).all()


def test_copies_have_the_weighted_objective_columns_and_validation() -> None:
    """Of any function of a row, such as a model's loss, the mean over the copies is the weighted mean."""
    x, weights = rows(200, 0).astype(np.float32), np.random.default_rng(1).exponential(size=200)
    columns = tuple(Column(name=name, kind="real") for name in "abc")
    data = Dataset("X", x, np.zeros(200, np.uint8), published_split=True, columns=columns)
    config = Config().updated(epochs=400, validation=0.2, batch_size=32)
    copied, changed = with_copies(data, config, weights=weights)
    assert changed.training.epochs == 20
    parts = data.with_validation(0.2, 0)
    losses = dict(zip(map(tuple, x.tolist()), -VAETransformer(epochs=2).fit(x).score_samples(x), strict=True))
    for part in ("train", "validation"):
        own, drawn = parts.indices(part), copied.indices(part)  # type: ignore[arg-type]
        assert len(drawn) == 20 * len(own)
        found = np.mean([losses[tuple(row)] for row in copied.x[drawn].tolist()])
        loss = np.array([losses[tuple(row)] for row in x[own].tolist()])
        # each row is drawn at most one time too often or too rarely of 20 n
        assert abs(found - np.average(loss, weights=weights[own])) < np.ptp(loss) / 20
    own = parts.indices("train")
    wanted = np.average(x[own], axis=0, weights=weights[own])
    assert [c.location for c in changed.model.columns] == pytest.approx(wanted, abs=0.05)
    assert np.abs(wanted - x[own].mean(0)).max() > 0.1


@pytest.mark.parametrize("likelihood", ["auto", "gaussian"])
def test_a_model_follows_the_weights(likelihood: str) -> None:
    x = np.repeat([[-3.0, 0.0], [3.0, 0.0]], 150, axis=0) + 0.3 * np.random.default_rng(0).normal(
        size=(300, 2)
    )
    model = VAETransformer(likelihood=likelihood, random_state=0, epochs=60)
    drawn = model.fit(x, sample_weight=np.repeat([0.9, 0.1], 150)).sample(2000, random_state=0)
    assert (drawn[:, 0] < 0).mean() == pytest.approx(0.9, abs=0.07)
    scores = model.score_samples(x)
    weights = np.repeat([0.5, 0.25], 150)
    assert model.score(x, sample_weight=weights) == pytest.approx(np.average(scores, weights=weights))


def test_an_imputer_fills_in_what_weighs_most() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"job": ["cook"] * 60 + ["nurse"] * 60, "pay": rows(120, 0)[:, 0]})
    for heavy, weights in (("cook", (0.8, 0.2)), ("nurse", (0.2, 0.8))):
        imputer = VAEImputer(epochs=20, random_state=0).fit(frame, sample_weight=np.repeat(weights, 60))
        hole = pd.DataFrame({"job": [None], "pay": [0.0]})
        assert imputer.transform(hole)["job"][0] == heavy


def test_the_threshold_is_a_quantile_of_the_weighted_rows() -> None:
    """Half of the rows, with narrower noise, weigh 0.1: the rate among rows of the wider noise is held."""
    x = rows(1000, 0)
    x[500:] *= 0.2
    weights = np.repeat([1.0, 0.1], 500)
    options = {"epochs": 4, "noise": 0.0, "random_state": 0, "importance_samples": 10}
    detector = VAEAnomalyDetector(false_alarm_rate=0.1, **options).fit(x, sample_weight=weights)
    flagged = detector.p_values(x) <= 0.1
    assert np.array_equal(flagged, detector.predict(x) == -1)
    known = detector.calibration_scores_ < detector.offset_
    held = detector.calibration_weights_
    assert (held[known].sum() + 1) / (held.sum() + 1) <= 0.1 < (held[known].sum() + 2) / (held.sum() + 1)
    new, plain = rows(1500, 1), VAEAnomalyDetector(false_alarm_rate=0.1, **options)
    flagged_new = (detector.predict(new) == -1).mean()
    assert abs(flagged_new - 0.1) < 0.09  # three standard deviations of the quantile of some 100 rows
    assert (plain.fit(x).predict(new) == -1).mean() > flagged_new + 0.03


def test_calibration_rows_that_weigh_little_hold_no_low_rate() -> None:
    detector = VAEAnomalyDetector(epochs=1, random_state=0)
    with pytest.warns(RunWarning, match=r"rows for calibration that weigh 2 hold no rate below 0\.333"):
        detector.fit(rows(100, 0), sample_weight=np.full(100, 0.1))
    again = detector.calibrate(rows(100, 1), sample_weight=np.full(100, 2))
    assert len(again.calibration_scores_) == 200


def test_weights_pass_through_a_pipeline() -> None:
    x, weights = rows(40, 0), np.arange(40) % 3
    model = make_pipeline(StandardScaler(), VAETransformer(epochs=1, random_state=0))
    found = model.fit(x, vaetransformer__sample_weight=weights).transform(x)
    scaled = StandardScaler().fit_transform(x)
    alone = VAETransformer(epochs=1, random_state=0).fit(scaled, sample_weight=weights).transform(scaled)
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"sample_weight has the shape \(2,\); give one number for each of 3 rows"),
        ([[1], [1], [1]], r"sample_weight has the shape \(3, 1\)"),
        ([1, -1, 1], r"sample_weight\[1\] = -1: must be finite and at least 0"),
        ([1, 1, np.nan], r"sample_weight\[2\] = nan"),
        ([np.inf, 1, 1], r"sample_weight\[0\] = inf"),
        ([0, 0, 0], "sample_weight is zero for every row"),
        (["a", "b", "c"], "sample_weight holds values that are not numbers"),
    ],
)
def test_other_weights_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        weighted_rows(rows(3, 0), weights)
    with pytest.raises(UsageError, match=message):
        VAETransformer().fit(rows(3, 0), sample_weight=weights)

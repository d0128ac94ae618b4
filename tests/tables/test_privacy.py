"""Nearest records: distances by hand, and samples that do and do not repeat the training rows."""

from __future__ import annotations

import numpy as np
import pytest

from elboroom.config.columns import Column
from elboroom.errors import UsageError
from elboroom.tables.privacy import _points, nearest_records

NAN = float("nan")
COLUMNS = (
    Column(name="age", kind="real", location=40.0, scale=10.0),
    Column(name="job", kind="category", categories=("cook", "nurse", "smith")),
)


@pytest.mark.parametrize(
    ("a", "b", "squared"),
    [
        ((50, 0), (30, 0), 4.0),
        ((50, 0), (50, 2), 1.0),
        ((50, 0), (45, 1), 1.25),
        ((50, NAN), (50, 1), 1.5),  # the flag, and half of a category
        ((NAN, 1), (40, 1), 1.0),
        ((NAN, NAN), (NAN, NAN), 0.0),
    ],
)
def test_the_distance_of_two_rows(a: tuple[float, ...], b: tuple[float, ...], squared: float) -> None:
    one, other = _points(np.array([a, b], float), COLUMNS, np.array([40.0, 0]), np.array([10.0, 1]))
    assert np.square(one - other).sum() == pytest.approx(squared)


def _rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    job = rng.integers(0, 3, n)
    age = 30 + 10 * job + 5 * rng.standard_normal(n)
    return np.stack([np.where(rng.random(n) < 0.1, np.nan, age), job], 1)


def test_fresh_rows_are_no_nearer_to_the_training_rows() -> None:
    found = nearest_records(_rows(2000, 0), _rows(4000, 1), _rows(1000, 2), COLUMNS)
    assert abs(found.closer_to_training - 0.5) < 3 * found.closer_error
    assert not found.is_suspect
    assert found.to_training == pytest.approx(found.held_out_to_training, rel=0.2)
    assert "no sign" in found.describe()[1]


def test_the_error_counts_that_samples_share_their_nearest_rows() -> None:
    """Honest rows give no alarm, however many are drawn: the share has the error that is stated."""
    gaps = []
    for seed in range(40):
        found = nearest_records(
            _rows(3000, seed), _rows(300, 100 + seed), _rows(60, 200 + seed), COLUMNS, seed
        )
        assert not found.is_suspect
        gaps.append((found.closer_to_training - 0.5) / found.closer_error)
        assert found.closer_error > 2 * 0.5 / 3000**0.5
    assert 0.7 < np.std(gaps) < 1.35


def test_rows_of_few_categories_are_met_in_no_order() -> None:
    rng = np.random.default_rng(0)
    job = COLUMNS[1]
    samples, training, held_out = (rng.integers(0, 3, (n, 1)).astype(float) for n in (2000, 500, 500))
    found = nearest_records(samples, training, held_out, [job])
    assert found.copies == 1
    assert not found.is_suspect


def test_a_tenth_of_copies_is_noticed() -> None:
    training = _rows(1000, 1)
    samples = np.concatenate([_rows(1800, 0), training[:200] + np.array([1e-9, 0])])
    found = nearest_records(samples, training, _rows(1000, 2), COLUMNS)
    fresh = nearest_records(samples[:1800], training, _rows(1000, 2), COLUMNS)
    assert found.copies - 0.9 * fresh.copies == pytest.approx(0.1, abs=1e-3)
    assert nearest_records(training, training, _rows(1000, 2), COLUMNS).is_suspect


def test_numbers_are_compared_in_standard_deviations_whatever_their_likelihood() -> None:
    """The scale of a log-normal column is that of the logarithm."""
    rng = np.random.default_rng(0)
    training, held_out = (np.exp(10 + rng.standard_normal((300, 1))) for _ in range(2))
    column = Column(name="income", kind="positive", location=10.0, scale=1.0)
    found = nearest_records(training[:1] + training.std(), training[:1], held_out, [column])
    assert found.to_training == pytest.approx(float(training.std()))  # one row has no deviation
    found = nearest_records(training[:1] + 100 * training.std(), training, held_out, [column])
    nearest = (training[0] + 100 * training.std() - training).min() / training.std()
    assert found.to_training == pytest.approx(float(nearest))


def test_something_of_each_is_needed() -> None:
    with pytest.raises(UsageError, match="held_out contains no rows"):
        nearest_records(_rows(5, 0), _rows(5, 1), _rows(5, 2)[:0], COLUMNS)

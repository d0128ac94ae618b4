from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from elboroom.config import ObjectiveConfig
from elboroom.objectives import Objective
from elboroom.objectives.schedules import Schedule, constant, cyclical, delayed, linear, sigmoid

RISING = {
    "linear": linear(3.0, ramp=20),
    "delayed": delayed(3.0, delay=10, ramp=20),
    "sigmoid": sigmoid(3.0, delay=10, ramp=20),
    "fractional": delayed(3.0, delay=0.5, ramp=2.25),
    "jump": delayed(3.0, delay=5, ramp=0.01),
    "cyclical": cyclical(3.0, ramp=20, period=10_000),
}


def assert_corners(values: dict[int, float], corners: dict[int, float]) -> None:
    """Both ends exactly, 0 and the full value; a step on the way to the last place of rounding."""
    assert values == pytest.approx(corners, rel=4e-16, abs=0)
    ends = {0.0, max(corners.values())}
    exact = {step: value for step, value in corners.items() if value in ends}
    assert {step: values[step] for step in exact} == exact


@pytest.mark.parametrize(
    ("schedule", "corners"),
    [
        (constant(4.0), {0: 4, 1: 4, 10**9: 4}),
        (linear(3.0, ramp=20), {0: 0, 5: 0.75, 10: 1.5, 20: 3, 21: 3, 10**9: 3}),
        (delayed(3.0, delay=10, ramp=20), {0: 0, 9: 0, 10: 0, 20: 1.5, 30: 3, 31: 3, 10**9: 3}),
        (sigmoid(3.0, delay=10, ramp=20), {0: 0, 9: 0, 10: 0, 20: 1.5, 30: 3, 31: 3, 10**9: 3}),
        (
            cyclical(3.0, ramp=20, period=50),
            {0: 0, 10: 1.5, 20: 3, 49: 3, 50: 0, 60: 1.5, 100: 0, 149: 3, 50 * 10**6: 0},
        ),
        (cyclical(3.0, ramp=50, period=50), {0: 0, 25: 1.5, 50: 0, 75: 1.5}),
        (delayed(0.0, delay=1, ramp=1), {0: 0, 1: 0, 2: 0}),
        (linear(3.0, ramp=2.5), {0: 0, 1: 1.2, 2: 2.4, 3: 3}),
        (delayed(3.0, delay=0.5, ramp=1.5), {0: 0, 1: 1, 2: 3}),
        (cyclical(3.0, ramp=1.5, period=2.5), {0: 0, 1: 2, 2: 3, 3: 1, 4: 3, 5: 0}),
    ],
)
def test_corners(schedule: Schedule, corners: dict[int, float]) -> None:
    assert_corners({step: schedule(step) for step in corners}, corners)


@pytest.mark.parametrize("schedule", RISING.values(), ids=RISING)
def test_never_falls_and_ends_at_the_value(schedule: Schedule) -> None:
    values = [schedule(step) for step in range(200)]
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] == 3.0


def test_sigmoid_is_symmetric_about_its_middle() -> None:
    schedule = sigmoid(3.0, delay=10, ramp=20)
    for away in range(15):
        # both are rounded, at 4e-16 of 3
        assert schedule(20 - away) + schedule(20 + away) == pytest.approx(3.0, abs=2e-15)


def test_sigmoid_is_the_stretched_logistic() -> None:
    t = np.arange(21) / 20
    expected = (special.expit(12 * t - 6) - special.expit(-6)) / (special.expit(6) - special.expit(-6))
    schedule = sigmoid(1.0, delay=10, ramp=20)
    np.testing.assert_allclose([schedule(10 + i) for i in range(21)], expected, rtol=0, atol=1e-15)


def test_cyclical_repeats() -> None:
    schedule = cyclical(3.0, ramp=7, period=13)
    values = [schedule(step) for step in range(13 * 5)]
    assert values == values[:13] * 5


@pytest.mark.parametrize(
    ("fields", "corners"),
    [
        ({"beta_schedule": "constant"}, {0: 2, 10**6: 2}),
        ({"beta_schedule": "linear", "beta_ramp": 3}, {0: 0, 15: 1, 30: 2, 99: 2}),
        ({"beta_schedule": "linear", "beta_ramp": 0.4}, {0: 0, 1: 0.5, 2: 1, 4: 2}),
        ({"beta_schedule": "delayed", "beta_delay": 2, "beta_ramp": 3}, {20: 0, 35: 1, 50: 2}),
        ({"beta_schedule": "delayed", "beta_delay": 0.25, "beta_ramp": 0.5}, {2: 0, 5: 1, 8: 2}),
        ({"beta_schedule": "sigmoid", "beta_delay": 2, "beta_ramp": 3}, {20: 0, 35: 1, 50: 2}),
        ({"beta_schedule": "cyclical", "beta_ramp": 2, "beta_period": 5}, {0: 0, 10: 1, 20: 2, 49: 2, 50: 0}),
        ({"beta_schedule": "cyclical", "beta_ramp": 0.5, "beta_period": 2.5}, {24: 2, 25: 0, 50: 0, 55: 2}),
    ],
)
def test_epochs_become_steps(fields: dict[str, object], corners: dict[int, float]) -> None:
    objective = Objective.from_config(ObjectiveConfig(beta=2.0, **fields), steps_per_epoch=10)
    values = {step: objective.coefficients(step) for step in corners}
    assert all(len(value) == 1 for value in values.values())
    assert_corners({step: value[0] for step, value in values.items()}, corners)


@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(0.07, 100), (1.11, 600), (1.08, 1875)])
def test_a_cycle_of_a_fraction_of_epochs_starts_on_its_step(epochs: float, steps_per_epoch: int) -> None:
    """0.07 · 100 is 7.000000000000001 in floating point; the cycle still begins anew at step 7."""
    config = ObjectiveConfig(beta_schedule="cyclical", beta_ramp=epochs / 2, beta_period=epochs)
    objective = Objective.from_config(config, steps_per_epoch)
    period = round(epochs * steps_per_epoch)
    # a beta left by rounding, 1e-13 of a step, would do no harm; a whole step late is beta 1 and not 0
    values = [objective.coefficients(n * period)[0] for n in range(10)]
    assert values == pytest.approx([0.0] * 10, abs=1e-9)

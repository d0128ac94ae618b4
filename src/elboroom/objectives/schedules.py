"""Schedules: plain functions from a step to a value, exact where a ramp begins and ends."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """Return the same value at every step.

    Examples
    --------
    >>> constant(4.0)(123)
    4.0
    """
    return lambda _step: value


def linear(value: float, ramp: float) -> Schedule:
    """Rise linearly from 0 at step 0 to ``value`` at step ``ramp``, then stay (warm-up, arXiv:1602.02282).

    Examples
    --------
    >>> [linear(2.0, ramp=4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.5, 2.0, 2.0]
    """
    return delayed(value, delay=0, ramp=ramp)


def delayed(value: float, delay: float, ramp: float) -> Schedule:
    """Stay 0 until step ``delay``, rise linearly to ``value`` at ``delay + ramp``, then stay.

    Examples
    --------
    >>> [delayed(1.0, delay=10, ramp=10)(step) for step in (0, 10, 15, 20, 30)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    return lambda step: value * min(1.0, max(0.0, (step - delay) / ramp))


def sigmoid(value: float, delay: float, ramp: float) -> Schedule:
    """Stay 0 until step ``delay``, rise along a sigmoid to ``value`` at ``delay + ramp``, then stay.

    The sigmoid is the logistic function over [−6, 6], rescaled to run exactly from 0 to ``value``.

    Examples
    --------
    >>> [sigmoid(2.0, delay=10, ramp=10)(step) for step in (10, 15, 20)]
    [0.0, 1.0, 2.0]
    """

    def at(step: int) -> float:
        t = min(1.0, max(0.0, (step - delay) / ramp))
        # As a hyperbolic tangent, the logistic function is exact in the middle and at both ends.
        return value * 0.5 * (1.0 + math.tanh(6.0 * t - 3.0) / math.tanh(3.0))

    return at


def cyclical(value: float, ramp: float, period: float) -> Schedule:
    """Rise linearly from 0 to ``value`` over ``ramp`` steps of each ``period`` (arXiv:1903.10145).

    Examples
    --------
    >>> [cyclical(1.0, ramp=5, period=10)(step) for step in (0, 5, 9, 10, 15)]
    [0.0, 1.0, 1.0, 0.0, 1.0]
    """
    return lambda step: value * min(1.0, (step % period) / ramp)

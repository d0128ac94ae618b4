"""Schedules: plain functions from step to value, exact at their corners."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """The same value at every step.

    Examples
    --------
    >>> constant(4.0)(123)
    4.0
    """
    return lambda _step: value


def linear(value: float, ramp: float) -> Schedule:
    """From 0 at step 0 to ``value`` at step ``ramp``, then flat (warm-up, arXiv:1602.02282).

    Examples
    --------
    >>> [linear(2.0, ramp=4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.5, 2.0, 2.0]
    """
    return delayed(value, delay=0, ramp=ramp)


def delayed(value: float, delay: float, ramp: float) -> Schedule:
    """0 up to step ``delay``, then linear to ``value`` at ``delay + ramp``, then flat.

    Examples
    --------
    >>> [delayed(1.0, delay=10, ramp=10)(step) for step in (0, 10, 15, 20, 30)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    return lambda step: value * min(1.0, max(0.0, (step - delay) / ramp))


def sigmoid(value: float, delay: float, ramp: float) -> Schedule:
    """0 up to step ``delay``, then an S-shaped ramp to ``value`` at ``delay + ramp``, then flat.

    The logistic function over [−6, 6], stretched so that both ends are met exactly.

    Examples
    --------
    >>> [sigmoid(2.0, delay=10, ramp=10)(step) for step in (10, 15, 20)]
    [0.0, 1.0, 2.0]
    """

    def at(step: int) -> float:
        t = min(1.0, max(0.0, (step - delay) / ramp))
        # The logistic function as a hyperbolic tangent, which is exact in the middle and at both ends.
        return value * 0.5 * (1.0 + math.tanh(6.0 * t - 3.0) / math.tanh(3.0))

    return at


def cyclical(value: float, ramp: float, period: float) -> Schedule:
    """In each ``period``: linear from 0 to ``value`` over ``ramp`` steps, then flat (arXiv:1903.10145).

    Examples
    --------
    >>> [cyclical(1.0, ramp=5, period=10)(step) for step in (0, 5, 9, 10, 15)]
    [0.0, 1.0, 1.0, 0.0, 1.0]
    """
    return lambda step: value * min(1.0, (step % period) / ramp)

"""Summaries over seeds: means, intervals, and which recipe is significantly best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from elboroom.config.likelihoods import LIKELIHOODS

LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A column: key in a row, heading, decimals, and whether high or low values are better, if either."""

    name: str
    title: str
    decimals: int
    best: Literal["high", "low"] | None = None


METRICS = (
    Metric("elbo", "ELBO", 2, "high"),
    Metric("nll", "NLL", 2, "low"),
    Metric("distortion", "distortion", 2),
    Metric("rate", "rate", 2),
    Metric("active_units", "active units", 1),
    Metric("seconds", "seconds", 1),
)


_COUNTED = ("active_units", "seconds")


class Interval(NamedTuple):
    """A mean with the half-width of its 95 % interval, None with fewer than two values."""

    mean: float
    half: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper limit; the mean twice if there is no interval."""
        return self.mean - (self.half or 0.0), self.mean + (self.half or 0.0)


def interval(values: Sequence[float]) -> Interval:
    """Mean of n values with Student's 95 % interval t(n − 1) · s / √n, s² divided by n − 1.

    Examples
    --------
    >>> interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, half=2.484...)
    >>> interval([4.0])
    Interval(mean=4.0, half=None)
    """
    from scipy.special import stdtrit

    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Interval(mean, None)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Interval(mean, float(stdtrit(n - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(n))


@dataclass(frozen=True)
class Summary:
    """The runs of a recipe over its seeds.

    Attributes
    ----------
    recipe : str
        Its name.
    rows : list of dict
        Of its runs that are done.
    failures : dict of int to str
        Seed to reason, of those that failed.
    left_out : str or None
        Why nothing was trained.
    """

    recipe: str
    rows: list[dict[str, Any]]
    failures: dict[int, str]
    left_out: str | None = None

    def values(self, metric: str) -> list[float]:
        """Values of the runs; empty if the metric does not apply or was not measured."""
        return [row[metric] for row in self.rows if row.get(metric) is not None]

    def interval(self, metric: str) -> Interval | None:
        """Mean and interval over the seeds; None without values."""
        values = self.values(metric)
        return interval(values) if values else None

    @property
    def monte_carlo(self) -> float | None:
        """Standard error of the mean NLL from the samples drawn: √(Σ stderr²) / n, nats."""
        errors = self.values("nll_stderr")
        return math.hypot(*errors) / len(errors) if errors else None

    def known(self, name: str) -> Any:
        """A value that all runs share, such as ``likelihood``; None without runs."""
        return self.rows[0][name] if self.rows else None

    def ends(self, metric: str) -> tuple[float, float] | None:
        """Ends of the interval, without what lies below 0 where the number cannot; None without values.

        Only the distortion and the measures made of it may be negative, and only under a density.
        """
        found = self.interval(metric)
        if found is None:
            return None
        low, high = found.ends
        can_be_negative = metric == "elbo" or (metric != "rate" and self.measure in ("density", "cells"))
        bounded = metric in _COUNTED or not can_be_negative
        return (max(low, min(found.mean, 0.0)) if bounded else low), high

    @property
    def measure(self) -> str | None:
        """The kind of likelihood: a density, or a probability and of what; None without runs."""
        likelihood = self.known("likelihood")
        row = LIKELIHOODS.get(likelihood)
        return likelihood if row is None else row.measure


def groups(summaries: Sequence[Summary]) -> dict[str, list[Summary]]:
    """Group summaries whose nats are comparable, by the first of each; those without a run are left out."""
    found: dict[str, list[Summary]] = {}
    for one in summaries:
        if one.measure is not None:
            found.setdefault(one.measure, []).append(one)
    return found


def winner(summaries: Sequence[Summary], metric: Metric) -> Summary | None:
    """The recipe whose interval is better than all others and overlaps none; None if there is no such.

    With a single seed there is no interval, and so none to compare with.
    """
    sign = 1 if metric.best == "high" else -1
    have = [(one, found) for one in summaries if (found := one.interval(metric.name)) is not None]
    if metric.best is None or len(have) < 2 or any(found.half is None for _, found in have):
        return None
    (first, best), *others = sorted(have, key=lambda pair: -sign * pair[1].mean)
    edge = min(sign * end for end in best.ends)
    return first if all(max(sign * end for end in found.ends) < edge for _, found in others) else None

"""Intervals against scipy and by brute force; nobody wins by noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from elboroom.comparison.summary import METRICS, groups, interval, winner

from .conftest import summary

ELBO = METRICS[0]


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_interval_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(-100, 3, n)
    found = interval(values.tolist())
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    # Both are float64; only the order of a few sums differs.
    assert found.ends == pytest.approx((low, high), rel=1e-12)


def test_the_interval_by_the_printed_table() -> None:
    # s = 1, so half is t / √3, and tables give t(2 degrees, 97.5 %) = 4.303.
    assert interval([1.0, 2.0, 3.0]).half == pytest.approx(4.303 / math.sqrt(3), abs=5e-4)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = [
        low <= 7.0 <= high for low, high in (interval(rng.normal(7, 2, 3).tolist()).ends for _ in range(4000))
    ]
    # Four standard errors of a share of 4000: 4 √(0.95 · 0.05 / 4000) = 0.0138.
    assert np.mean(hits) == pytest.approx(0.95, abs=0.0138)


def test_one_value_has_no_interval() -> None:
    assert interval([4.0]) == (4.0, None)
    assert interval([4.0]).ends == (4.0, 4.0)


@pytest.mark.parametrize(
    ("elbos", "expected"),
    [
        (((-100.0, -100.1, -99.9), (-90.0, -90.1, -89.9)), "b"),
        (((-100.0, -100.1, -99.9), (-99.9, -100.2, -99.7)), None),  # noise
        (((-100.0, -110.0, -90.0), (-90.0, -90.1, -89.9)), None),  # the other may be as good
        (((-100.0,), (-50.0,)), None),  # one seed
        (((-100.0, -100.1, -99.9), (-50.0,)), None),  # one of them has one seed
    ],
)
def test_who_wins(elbos: tuple[tuple[float, ...], ...], expected: str | None) -> None:
    found = winner([summary("a", *elbos[0]), summary("b", *elbos[1])], ELBO)
    assert (found.recipe if found else None) == expected


def test_less_is_better_for_nll_and_nothing_is_for_rate() -> None:
    both = [summary("a", -100.0, -100.1, -99.9), summary("b", -90.0, -90.1, -89.9)]
    won = {metric.name: found.recipe for metric in METRICS if (found := winner(both, metric)) is not None}
    assert won == {"elbo": "b", "nll": "b"}


def test_one_alone_wins_nothing() -> None:
    assert winner([summary("a", -1.0, -1.0)], ELBO) is None


def test_densities_and_probabilities_are_kept_apart() -> None:
    found = groups(
        [
            summary("vae", -1.0),
            summary("sigma-vae", -1.0, likelihood="gaussian"),
            summary("none-done"),
            summary("continuous-bernoulli", -1.0, likelihood="continuous_bernoulli"),
            summary("iwae", -1.0),
        ]
    )
    assert [[one.recipe for one in each] for each in found.values()] == [
        ["vae", "iwae"],
        ["sigma-vae", "continuous-bernoulli"],
    ]


def test_monte_carlo_errors_add_as_squares() -> None:
    # √(0.1² + 0.1²) / 2
    assert summary("a", -1.0, -2.0).monte_carlo == pytest.approx(0.1 / math.sqrt(2), rel=1e-12)
    assert summary("a", -1.0, nll_stderr=None).monte_carlo is None

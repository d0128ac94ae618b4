"""All words of the picture are inside it and apart, for few recipes and for many."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text

from elboroom.comparison.picture import draw, spread
from elboroom.comparison.summary import METRICS, Summary
from elboroom.objectives.recipes import RECIPES

from .conftest import summary


def some(n: int) -> list[Summary]:
    rng = np.random.default_rng(0)
    kinds = ["bernoulli"] if n < 12 else ["bernoulli", "bernoulli", "gaussian"]
    return [
        summary(name, *rng.normal(-100, 3, 3), likelihood=kinds[i % len(kinds)])
        for i, name in enumerate(list(RECIPES)[:n])
    ]


@pytest.mark.parametrize("n", [1, 2, 5, 39])
def test_no_word_is_cut_off(n: int) -> None:
    figure = draw(some(n), "digits: 500 test examples, mean and 95 % interval over seeds")
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert (box.x0 > 0, box.y0 > 0, box.x1 < width, box.y1 < height) == (True,) * 4


def test_names_beside_the_plane_do_not_cover_each_other() -> None:
    figure = draw(some(11), "")
    figure.draw_without_rendering()
    plane = figure.axes[len(METRICS)]
    boxes = sorted(
        (Text.get_window_extent(text) for text in plane.texts if text.get_text() in RECIPES),
        key=lambda box: float(box.y0),
    )
    assert len(boxes) == 11
    assert all(above.y0 >= below.y1 for below, above in pairwise(boxes))


def test_a_dot_and_its_interval_are_where_the_numbers_are() -> None:
    (axes, *_) = draw([summary("a", -100.0, -98.0, -99.0)], "").axes
    line, dot = axes.lines[1], axes.lines[2]
    # Mean -99, s = 1; t(2 degrees, 97.5 %) = 4.3027.
    assert np.asarray(line.get_xdata()) == pytest.approx(
        [-99 - 4.3027 / 3**0.5, -99 + 4.3027 / 3**0.5], abs=1e-4
    )
    assert np.asarray(dot.get_xdata()).item() == pytest.approx(-99)


def test_nothing_done_is_a_picture_too() -> None:
    assert draw([Summary("vae", [], {0: "diverged"})], "").axes == []


def test_labels_are_spread_as_near_as_can_be() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7):
        wanted = np.sort(rng.uniform(0.3, 0.7, n))
        found = spread(wanted, 0.05)
        assert (np.diff(found) >= 0.05 - 1e-9).all()
        # Brute force: nothing near is better and allowed.
        for _ in range(500):
            other = found + rng.normal(0, 0.02, n)
            if n == 1 or (np.diff(other) >= 0.05).all():
                assert np.square(other - wanted).sum() >= np.square(found - wanted).sum() - 1e-12

"""All words of the picture are inside it and apart, for few recipes and for many."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

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


def at(name: str, beta: float | None, *rates: float, distortion: float = 50.0, **more: Any) -> Summary:
    one = summary(name, *[-100.0] * len(rates), **more)
    rows = [
        {**row, "rate": rate, "distortion": distortion} for row, rate in zip(one.rows, rates, strict=True)
    ]
    return Summary(name, [row if beta is None else {**row, "beta": beta} for row in rows], {})


def joined(summaries: list[Summary]) -> list[tuple[list[float], list[float]]]:
    """Lines of more than two points in the plane, as rates and distortions."""
    plane = draw(summaries, "").axes[len(METRICS)]
    lines = [
        (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in plane.lines
    ]
    return [line for line in lines if len(line[0]) > 2]


def test_a_sweep_is_joined_in_order_of_beta() -> None:
    sweep = [
        at("beta-vae:beta=8", 8.0, 1.0, distortion=90.0),
        at("beta-vae", 4.0, 2.0, distortion=80.0),  # beta 4 by the recipe
        at("beta-vae:beta=0.5", 0.5, 9.0, distortion=60.0),
        Summary("beta-vae:beta=1", [], {0: "diverged"}),
        at("beta-vae:beta=2:latent-dim=20", 2.0, 5.0, distortion=75.0),  # another sweep, of one
        at("vae", 1.0, 6.0, distortion=70.0),
    ]
    assert joined(sweep) == [([9.0, 2.0, 1.0], [60.0, 80.0, 90.0])]
    # Runs of earlier versions do not have beta; then the names do.
    unknown = [
        Summary(one.recipe, [{k: v for k, v in row.items() if k != "beta"} for row in one.rows], {})
        for one in sweep
    ]
    assert joined(unknown) == joined(sweep)


def test_what_is_no_sweep_is_not_joined() -> None:
    """The same beta three times; one run; recipes that are not variants of each other."""
    assert joined([at(f"vae:latent-dim={d}", 1.0, d, distortion=50.0 + d) for d in (1, 2, 3)]) == []
    assert joined([at("vae", 1.0, 3.0)]) == []
    assert (
        joined([at(name, beta, beta) for name, beta in (("vae", 1.0), ("beta-vae", 4.0), ("iwae", 1.0))])
        == []
    )


def test_equal_points_of_a_sweep_have_names_apart() -> None:
    figure = draw([at(f"vae:beta={beta}", float(beta), 5.0) for beta in (1, 2, 3)], "")
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[len(METRICS)].texts if text.get_text().startswith("vae")]
    boxes = sorted((Text.get_window_extent(text) for text in texts), key=lambda box: float(box.y0))
    assert len(boxes) == 3
    assert all(above.y0 >= below.y1 for below, above in pairwise(boxes))


def test_no_interval_reaches_below_zero_where_the_number_cannot() -> None:
    one = at("vae", 1.0, 0.0, 2.0, distortion=1.0)
    low, high = one.interval("rate").ends  # type: ignore[union-attr]
    assert low < 0
    assert one.ends("rate") == (0.0, high)
    assert one.ends("elbo") == one.interval("elbo").ends  # type: ignore[union-attr]
    assert one.ends("none of them") is None
    density = summary("vae", -1.0, 3.0, likelihood="gaussian")  # distortions 0.8 and -2.4
    assert density.ends("distortion") == density.interval("distortion").ends  # type: ignore[union-attr]
    spread_out = summary("vae", -1.0, -9.0)
    assert spread_out.interval("distortion").ends[0] < 0  # type: ignore[union-attr]
    assert spread_out.ends("distortion")[0] == 0  # type: ignore[index]
    (rows, plane) = (draw([one], "").axes[3], draw([one], "").axes[len(METRICS)])
    for axes in (rows, plane):
        assert (
            min(
                np.min(line.get_xdata())
                for line in axes.lines
                if line.get_linestyle() == "-" and line.get_transform() == axes.transData
            )
            == 0
        )


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

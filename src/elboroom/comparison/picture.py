"""The comparison drawn: a dot with its interval per recipe and metric, and rate against distortion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elboroom.comparison.summary import METRICS, Metric, Summary, groups
from elboroom.comparison.variants import sweep_of
from elboroom.figures.style import FAINT, INK, PALETTE, canvas, panel, tidy
from elboroom.latent.arrays import Numbers

# Pixels.
_TITLE, _HEAD, _FOOT, _GAP, _MARGIN = 70, 80, 90, 45, 40
_PANEL, _LETTER, _LABEL = 250, 12.5, 34
_PLANE_HEIGHT, _LEADER = 620, 70
_STRONG = 10  # colours of the palette that thin words can be read in


def draw(summaries: Sequence[Summary], title: str) -> Figure:
    """Draw recipes whose nats can be set against each other together, each such group below the one before.

    Parameters
    ----------
    summaries : sequence of Summary
        Those without a run are left out.
    title : str
        Stands above all.
    """
    kinds = groups(summaries)
    names = [one.recipe for members in kinds.values() for one in members]
    names_width = _MARGIN + _LETTER * max(map(len, names), default=10) + 20
    width = names_width + len(METRICS) * (_PANEL + _GAP)
    heights = [_rows_height(len(members)) + _plane_height(members) for members in kinds.values()]
    figure = canvas(width, _TITLE + sum(heights) + 20)
    down = figure.get_size_inches()[1] * figure.dpi
    figure.text(_MARGIN / width, 1 - 40 / down, title, fontsize=11, color=INK, va="center")
    sweeps = list(dict.fromkeys(sweep_of(name)[0] for name in names))
    colors = {name: PALETTE[sweeps.index(sweep_of(name)[0]) % _STRONG] for name in names}
    top = float(_TITLE)
    for members, height in zip(kinds.values(), heights, strict=True):
        likelihoods = ", ".join(dict.fromkeys(one.known("likelihood") for one in members))
        _draw_rows(figure, names_width, top, members, colors, f"likelihood {likelihoods}")
        plane = _in_plane(members)
        if plane:
            below = top + _rows_height(len(members)) + _HEAD / 2
            across = width - 2 * names_width - _LEADER
            axes = panel(figure, names_width, below, across, _plane_height(members) - _HEAD / 2 - _FOOT)
            _draw_plane(axes, plane, colors)
        top += height
    return figure


def _rows_height(n: int) -> float:
    return _HEAD + _row(n) * n + _FOOT


def _row(n: int) -> float:
    return 56 if n <= 6 else 40


def _plane_height(members: Sequence[Summary]) -> float:
    n = len(_in_plane(members))
    return max(_PLANE_HEIGHT, n * _LABEL) + _HEAD / 2 + _FOOT if n else 0


class _Point(NamedTuple):
    """A recipe in the plane of rate and distortion."""

    name: str
    rate: float
    distortion: float
    rate_ends: tuple[float, float]
    distortion_ends: tuple[float, float]
    beta: float | None


def _in_plane(members: Sequence[Summary]) -> list[_Point]:
    """Return the points of those that have both rate and distortion."""
    points = []
    for one in members:
        rate, distortion = one.interval("rate"), one.interval("distortion")
        ends = one.ends("rate"), one.ends("distortion")
        if rate is None or distortion is None or ends[0] is None or ends[1] is None:
            continue
        beta = one.rows[0].get("beta", sweep_of(one.recipe)[1])  # runs of earlier versions do not have it
        points.append(_Point(one.recipe, rate.mean, distortion.mean, ends[0], ends[1], beta))
    return points


def curves(points: Sequence[_Point]) -> list[list[_Point]]:
    """Sweeps of at least two values of beta, each in their order: what is joined by a line."""
    found: dict[str, list[_Point]] = {}
    for point in points:
        if point.beta is not None:
            found.setdefault(sweep_of(point.name)[0], []).append(point)
    return [
        sorted(sweep, key=lambda point: (point.beta or 0.0, point.name))
        for sweep in found.values()
        if len({point.beta for point in sweep}) > 1
    ]


def _draw_rows(
    figure: Figure, left: float, top: float, members: list[Summary], colors: dict[str, str], title: str
) -> None:
    n = len(members)
    figure.text(
        _MARGIN / (figure.get_size_inches()[0] * figure.dpi),
        1 - (top + 18) / (figure.get_size_inches()[1] * figure.dpi),
        title, fontsize=10, color=INK, va="center", fontweight="bold",
    )  # fmt: skip
    for i, metric in enumerate(METRICS):
        axes = panel(figure, left + i * (_PANEL + _GAP), top + _HEAD, _PANEL, _row(n) * n)
        unit = {"active_units": "", "seconds": " of training"}.get(metric.name, ", nats")
        better = {"high": " (more is better)", "low": " (less is better)", None: ""}[metric.best]
        tidy(axes, f"{metric.title}{unit}", better.strip(" ()"))
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_yticks(range(n), [one.recipe for one in members] if i == 0 else [""] * n)
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.grid(axis="y", visible=False)
        for row, one in enumerate(members):
            _draw_dot(axes, row, one, metric, colors[one.recipe])
        if not any(one.values(metric.name) for one in members):
            axes.set_xticks([])
            continue
        # Three numbers fit beside each other, however long they are.
        axes.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2, integer=metric.name == "active_units"))
        axes.margins(x=0.08)
        if metric.name in ("active_units", "seconds"):  # an interval may reach below 0; they do not
            axes.set_xlim(left=max(axes.get_xlim()[0], -0.08 * axes.get_xlim()[1]))


def _draw_dot(axes: Axes, row: int, one: Summary, metric: Metric, color: str) -> None:
    axes.axhline(row, color=FAINT, linewidth=0.5, zorder=0)
    found = one.interval(metric.name)
    if found is None:
        middle: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
        axes.text(0.5, row, "none", fontsize=7, color="#888888", backgroundcolor="white", **middle)
        return
    axes.plot(
        one.ends(metric.name) or found.ends,
        (row, row),
        "-",
        color=color,
        linewidth=1.8,
        solid_capstyle="butt",
    )
    axes.plot(found.mean, row, "o", color=color, markersize=6.5, markeredgewidth=0)
    if len(one.rows) > 1:
        seeds = one.values(metric.name)
        style: dict[str, Any] = {"markeredgecolor": color, "markeredgewidth": 0.7}
        axes.plot(seeds, [row] * len(seeds), "o", color="white", markersize=3, **style)


def _draw_plane(axes: Axes, points: list[_Point], colors: dict[str, str]) -> None:
    tidy(axes, "Where the nats go: down and left is better", "rate, nats", "distortion, nats")
    for sweep in curves(points):
        across, up = [one.rate for one in sweep], [one.distortion for one in sweep]
        axes.plot(across, up, "-", color=colors[sweep[0].name], linewidth=1.6, alpha=0.7, zorder=3)
    for one in points:
        color = colors[one.name]
        axes.plot((one.rate, one.rate), one.distortion_ends, color=color, linewidth=1.3)
        axes.plot(one.rate_ends, (one.distortion,) * 2, color=color, linewidth=1.3)
        style: dict[str, Any] = {"markersize": 8, "markeredgecolor": "white", "zorder": 4}
        axes.plot(one.rate, one.distortion, "o", color=color, **style)
    axes.margins(0.1)
    for limits, set_limits in ((axes.get_xlim(), axes.set_xlim), (axes.get_ylim(), axes.set_ylim)):
        set_limits(*limits)
    _draw_elbos(axes)
    height = axes.get_window_extent().height
    order = sorted(points, key=lambda point: point.distortion)
    wanted = np.array([axes.transLimits.transform((0.0, point.distortion))[1] for point in order])
    # A line from each point to its name at the right, names as near to the points' heights as there is room.
    for one, at in zip(order, spread(wanted, _LABEL / height), strict=True):
        axes.annotate(
            one.name,
            (one.rate, one.distortion),
            (1 + _LEADER / axes.get_window_extent().width, float(at)),
            textcoords="axes fraction",
            fontsize=9,
            color=colors[one.name],
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0.0, 0.5),
                "color": colors[one.name],
                "linewidth": 0.6,
                "alpha": 0.6,
            },
        )


def _draw_elbos(axes: Axes) -> None:
    """Lines on which rate and distortion add up to the same −ELBO, each with its value at its end."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    for value in MaxNLocator(6).tick_values(x0 + y0, x1 + y1):
        if not x0 + y0 < value < x1 + y1:
            continue
        axes.plot((x0, x1), (value - x0, value - x1), "--", color="#BBBBBB", linewidth=0.8, zorder=1)
        x = max(x0, value - y1)
        if x + 0.12 * (x1 - x0) < x1 and value - x > y0 + 0.06 * (y1 - y0):
            axes.annotate(
                f"ELBO {0 - value:g}", (x, value - x), (4, -7), textcoords="offset points", fontsize=7,
                color="#888888", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip


def spread(wanted: Numbers, gap: float) -> Numbers:
    """Heights in [0, 1], ascending, at least ``gap`` apart and as near to the wanted ones as that allows.

    Examples
    --------
    >>> spread(np.array([0.5, 0.5, 0.9]), 0.25).tolist()
    [0.375, 0.625, 0.9]
    >>> spread(np.array([0.0, 0.0]), 0.5).tolist()
    [0.0, 0.5]
    """
    n = len(wanted)
    gap = min(gap, 1 / max(n - 1, 1))
    # Least squares under "ascending": isotonic regression once the gaps are taken off.
    steps = gap * np.arange(n)
    blocks: list[list[float]] = []
    for value in wanted - steps:
        blocks.append([float(value), 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, m), (b, k) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * k) / (m + k), m + k]]
    flat = np.concatenate([np.full(int(count), mean) for mean, count in blocks])
    return np.clip(flat, 0, 1 - gap * (n - 1)) + steps

"""A chart for each column of a table: their layout, and axes with units, dates and names of categories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from elboroom.errors import printable
from elboroom.figures.style import INK, LETTER, panel, tidy, titled_canvas
from elboroom.models.vae import VAE

if TYPE_CHECKING:
    from elboroom.config.columns import Column

MOST = 24
"""Columns that are drawn; of a wider table the first ones."""
NAMED = 8
"""Categories that have a name."""
_ACROSS, _WIDTH, _HEIGHT = 4, 260, 170  # charts in a row, and pixels of one
_LEFT, _ABOVE = 112, 34
_NAME, _TICK = 26, 9  # letters
_LETTER_WIDTH = 10  # pixels of a letter of a tick, with its share of the space between names
_WIDE = 20.0  # from smallest to largest number of a logarithmic scale
_LONG = 3 * 366 * 86400.0  # seconds, over which days are left out of dates


def charts_of(
    vae: VAE,
    title: str,
    *,
    x: str = "",
    y: str = "",
    beside: int = 0,
    legend: Sequence[tuple[str, str]] = (),
) -> tuple[Figure, list[tuple[int, Column, Axes]]]:
    """Make a figure with an empty chart for each column of a model's table.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood.
    title : str
        Title of the figure; it says if columns are left out.
    x, y : str
        Of the axes.
    beside : int
        Pixels to leave on the right of each chart.
    legend : sequence of (str, str)
        Names and colours.

    Returns
    -------
    figure, charts
        The figure, and number, column and axes of each.
    """
    every: tuple[Column, ...] = vae.likelihood.columns
    columns = every[:MOST]
    if len(every) > MOST:
        title = f"{title} (the first {MOST} of {len(every)} columns)"
    wide, tall = _LEFT + _WIDTH + 15 + beside, _ABOVE + _HEIGHT + (84 if x else 60)
    across = min(_ACROSS, len(columns))
    width = across * wide + 20
    entries = 34 if legend else 0
    figure, head = titled_canvas(width, math.ceil(len(columns) / across) * tall + entries + 10, title)
    if legend:
        height = figure.get_size_inches()[1] * figure.dpi
        handles = [Line2D([], [], color=colour, linewidth=3, label=name) for name, colour in legend]
        place = (30 / (figure.get_size_inches()[0] * figure.dpi), 1 - head / height)
        style: dict[str, Any] = {"loc": "upper left", "ncols": len(legend), "frameon": False, "fontsize": 9}
        figure.legend(handles=handles, bbox_to_anchor=place, labelcolor=INK, borderaxespad=0, **style)
    charts = []
    for i, column in enumerate(columns):
        left, top = i % across * wide + _LEFT, head + entries + i // across * tall + _ABOVE
        axes = panel(figure, left, top, _WIDTH, _HEIGHT)
        unit = f" ({column.unit})" if column.unit else ""
        tidy(axes, short(f"{column.name}{unit}", _NAME + beside // LETTER), x, y)
        axes.tick_params(labelsize=7)
        charts.append((i, column, axes))
    return figure, charts


def short(name: str, letters: int = _TICK) -> str:
    """A name as a figure can show it: at most so many letters, without mathematics."""
    name = printable(name)
    return (name if len(name) <= letters else name[: letters - 1] + "…").replace("$", r"\$")


def number_axis(axes: Axes, which: Literal["x", "y"], column: Column, values: NDArray[Any]) -> None:
    """Ticks for numbers of a column: few, as dates if they are, logarithmic over a wide range."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = float(np.min(values)), float(np.max(values))
    if column.kind == "datetime" and column.origin:
        axis.set_major_locator(MaxNLocator(3))
        letters = 7 if (high - low) * _SECONDS[column.step] > _LONG else 10
        axis.set_major_formatter(FuncFormatter(lambda value, _: _date(column, value)[:letters]))
    elif logarithmic(column, low, high):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(3 if which == "x" else 4))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}".replace("-", "−")))


def logarithmic(column: Column, low: float, high: float) -> bool:
    """Whether numbers of a column from low to high are drawn on a logarithmic scale."""
    return column.logged and low > 0 and high > _WIDE * low


def named_axis(axes: Axes, which: Literal["x", "y"], column: Column, shown: Iterable[int]) -> None:
    """Ticks for categories: their names."""
    places = list(shown)
    names = [short(column.categories[i]) for i in places]
    if which == "x":
        upright_names(axes, places, names)
    else:
        axes.set_yticks(places, names, fontsize=7)


def upright_names(axes: Axes, places: Sequence[int], names: Sequence[str]) -> None:
    """Ticks with names below a chart, turned if they would run into each other."""
    most = max(map(len, names), default=0)
    turned = most * len(names) * _LETTER_WIDTH > _WIDTH
    style: dict[str, Any] = {"rotation": 32, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(places, names, fontsize=7, **style)


def edges_of(centers: NDArray[Any]) -> NDArray[np.float64]:
    """Edges (n + 1,) of the cells around n ascending centres.

    Examples
    --------
    >>> edges_of(np.array([0.0, 1.0, 3.0])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    """
    if len(centers) == 1:
        return np.array([centers[0] - 0.5, centers[0] + 0.5])
    inner = (centers[1:] + centers[:-1]) / 2
    first, last = 1.5 * centers[0] - 0.5 * centers[1], 1.5 * centers[-1] - 0.5 * centers[-2]
    return np.concatenate([[first], inner, [last]])


def _date(column: Column, value: float) -> str:
    try:
        at = np.datetime64(column.origin, "s") + np.timedelta64(round(value * _SECONDS[column.step]), "s")
    except (ValueError, OverflowError):
        return ""
    return str(at)[:10]


_SECONDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1, "": 1}

"""Charts of ``story.md`` that the program does not draw: lines, points, bars and a drawing of networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import elboroom
from elboroom.figures.latent_maps import draw_codes
from elboroom.figures.style import FAINT, INK, PALETTE, panel, tidy, titled_canvas
from elboroom.latent.arrays import codes_of
from elboroom.networks.summary import Row, summarize

Floats = NDArray[np.floating[Any]]


def panels(title: str, count: int, width: int = 440, height: int = 340) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes beside each other."""
    figure, head = titled_canvas(count * (width + 130) + 60, height + 120, title)
    return figure, [panel(figure, 110 + i * (width + 130), head + 35, width, height) for i in range(count)]


def draw_lines(axes: Axes, lines: Mapping[str, tuple[Sequence[float], Any]], *, first: int = 0) -> None:
    """A line with markers for each name; the mean over the last axis where there are several values."""
    for i, (name, (x, values)) in enumerate(lines.items()):
        y, color = np.asarray(values, dtype=float), PALETTE[first + i]
        if y.ndim == 2:
            axes.plot(x, y, ".", color=color, markersize=5, alpha=0.7)
            y = y.mean(1)
        axes.plot(x, y, "-", color=color, linewidth=1.6, marker="o", markersize=3.5, label=name)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)


def draw_points(axes: Axes, x: Floats, y: Floats, labels: Floats, names: Sequence[str]) -> None:
    """A point for each example, coloured by its label."""
    for label, name in enumerate(names):
        here = labels == label
        axes.scatter(x[here], y[here], s=9, alpha=0.6, linewidths=0, color=PALETTE[label], label=name)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)


def draw_bars(axes: Axes, bars: Mapping[str, Sequence[float]], names: Sequence[str]) -> None:
    """A group of bars for each name, with a bar of each kind."""
    wide = 0.8 / len(bars)
    for i, (kind, values) in enumerate(bars.items()):
        at = np.arange(len(names)) - 0.4 + wide * (i + 0.5)
        axes.bar(at, values, wide * 0.92, color=PALETTE[i], label=kind)
    axes.set_xticks(range(len(names)), names)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)


def two_maps(models: Mapping[str, elboroom.VAE], data: elboroom.Dataset, title: str) -> Figure:
    """The codes of the held-out examples in each model, side by side; a circle holds 95 % of N(0, I)."""
    figure, axes = panels(title, len(models), 560, 560)
    rows, radius = data.indices("test"), np.sqrt(-2 * np.log(0.05))
    turn = np.linspace(0, 2 * np.pi, 200)
    assert data.labels is not None
    for one, (name, vae) in zip(axes, models.items(), strict=True):
        draw_codes(one, codes_of(vae, data.values(rows)), data.labels[rows], data.label_names, key=False)
        one.plot(radius * np.cos(turn), radius * np.sin(turn), "--", color=INK, linewidth=1, scalex=False)
        one.set_title(name, loc="left", fontsize=10, color=INK)
    return figure


def network(vae: elboroom.VAE, title: str) -> Figure:
    """Draw the layers of encoder and decoder as bars as long as the logarithm of their width."""
    assert vae.config is not None
    assert vae.config.shape is not None
    chains = summarize(vae, vae.config.shape, 1).chains
    figure, head = titled_canvas(1180, 430, title)
    axes = panel(figure, 30, head, 1120, 400)
    at = _draw_chain(axes, 0, int(np.prod(vae.config.shape)), "image", chains[0].rows, "mean and\nspread")
    at = _draw_chain(axes, at + 1.4, vae.config.latent_dim, "code", chains[1].rows, "pixels")
    axes.set(xlim=(-0.8, at + 0.8), ylim=(-4.9, 4.3))
    axes.axis("off")
    return figure


def _draw_chain(axes: Axes, at: float, size: int, name: str, rows: Sequence[Row], last: str) -> float:
    """Draw the input of a network and the output of each layer with weights; return the place of the last."""
    with_weights = [row for row in rows if row.parameters]
    names = [name, *["hidden"] * (len(with_weights) - 1), last]
    sizes = [size, *(int(np.prod(row.shape)) for row in with_weights)]
    halves = [0.35 * np.log2(one + 1) for one in sizes]
    for i, (one, half, word) in enumerate(zip(sizes, halves, names, strict=True)):
        color = PALETTE[1] if word == "code" else PALETTE[2] if word == last else PALETTE[0]
        axes.fill([at - 0.16, at + 0.16, at + 0.16, at - 0.16], [-half, -half, half, half], color=color)
        axes.text(at, half + 0.2, f"{one:,}", ha="center", fontsize=9, color=INK)
        axes.text(at, -half - 0.25, word, ha="center", va="top", fontsize=9, color=INK)
        if i < len(with_weights):
            edges = [at + 0.2, at + 1.2, at + 1.2, at + 0.2], [-half, -halves[i + 1], halves[i + 1], half]
            axes.fill(*edges, color=FAINT, alpha=0.6)
            label = f"{with_weights[i].parameters:,}\nparameters"
            axes.text(at + 0.7, 0, label, ha="center", va="center", fontsize=8, color=INK)
            at += 1.4
    return at


def labelled(axes: Axes, title: str, x: str, y: str, **settings: Any) -> None:
    """Give axes the common style, and what else is asked, such as ``xscale="log"``."""
    tidy(axes, title, x, y)
    axes.set(**settings)

"""What all figures share: canvas, axes, colours, type and number format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from elboroom.latent.arrays import Numbers

DPI = 150
LETTER = 11  # width of a wide letter in screen pixels
INK, FAINT = "#333333", "#dddddd"
# Okabe and Ito's colours, safe for colour-blind readers, four more, and lighter and darker variants.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#5D3A9B", "#8A5A2B", "#4D4D4D", "#A8B400"),
    *("#7FB8D8", "#F2AE80", "#80CFB9", "#E9C3D6", "#F3CF80"),
    *("#1B3A5C", "#AE9CCD", "#C9AD90", "#A6A6A6", "#5E6400"),
)

_DOT = 8.0  # half the side of the square kept free around a point, in screen pixels
_NARROWEST = 700  # screen pixels of a figure with a title, which then takes few lines


class Picture(Figure):
    """A figure with its own canvas, which notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def canvas(width: float, height: float) -> Picture:
    """Create an empty white figure of this size in pixels."""
    figure = Picture(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def titled_canvas(width: float, height: float, title: str) -> tuple[Picture, int]:
    """Create an empty figure with a wrapped title; return it and the height of the title in pixels."""
    if not title:
        return canvas(width, height), 0
    width = max(width, _NARROWEST)
    lines = wrap(title, int((width - 60) / LETTER))
    head = 18 + 27 * len(lines)
    figure = canvas(width, height + head)
    style: dict[str, Any] = {"fontsize": 10, "color": INK, "va": "top", "linespacing": 1.25}
    figure.text(30 / width, 1 - 16 / (height + head), "\n".join(lines), **style)
    return figure, head


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a position in pixels from the figure's upper left corner."""
    across, down = figure.get_size_inches() * DPI
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def tidy(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Apply the common style to axes: thin grey lines, left-aligned title."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(which="both", labelsize=8, color=FAINT, labelcolor=INK)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#999999")


def moved_apart(
    at: Numbers, half: Numbers, fixed: Numbers, frame: tuple[float, float, float, float]
) -> Numbers:
    """Move boxes apart until none overlaps another: each, in turn, to the nearest free position.

    Parameters
    ----------
    at, half : numpy.ndarray
        Centre, and half of width and height, of each box, (n, 2).
    fixed : numpy.ndarray
        Points (m, 2) that no box may cover.
    frame : tuple of float
        Left, lower, right and upper edge of the area for the boxes.

    Returns
    -------
    numpy.ndarray
        New centres, (n, 2).

    Examples
    --------
    >>> two = moved_apart(np.zeros((2, 2)), np.ones((2, 2)), np.empty((0, 2)), (-9, -9, 9, 9))
    >>> bool((abs(two[0] - two[1]) >= 2).any())
    True
    """
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False) + np.pi / 2
    rings = np.arange(0, 80)[:, None, None] * half.min() / 3
    offsets = (rings * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)
    low, high = np.array(frame[:2]) + half, np.array(frame[2:]) - half
    middles, sizes = fixed.astype(np.float64), np.full((len(fixed), 2), _DOT)
    moved = at.astype(np.float64)
    for i in range(len(at)):  # the first free position on rings around the wanted one
        tried = (at[i] + offsets).clip(low[i], np.maximum(low[i], high[i]))
        lap = sizes + half[i] - np.abs(tried[:, None] - middles)
        free = (lap <= 0).any(-1).all(-1)
        moved[i] = tried[free.argmax()]
        middles, sizes = np.concatenate([middles, moved[i : i + 1]]), np.concatenate([sizes, half[i : i + 1]])
    return moved


@contextmanager
def boxes_for_unknown_letters() -> Iterator[None]:
    """Letters that the font lacks, such as emoji in names, are drawn as boxes without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def to_png(figure: Figure) -> bytes:
    """Encode a figure as PNG."""
    buffer = BytesIO()
    # Level 4 takes half the time of the default 6 for files of the same size.
    with boxes_for_unknown_letters():
        figure.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"compress_level": 4})
    return buffer.getvalue()


def written(values: Numbers) -> list[str]:
    """Format values with decimals that suit their range, and up to two more, so that equal steps look equal.

    Examples
    --------
    >>> written(np.linspace(-1, 1, 5))
    ['−1.0', '−0.5', '0.0', '0.5', '1.0']
    >>> written(np.linspace(0, 1, 8))[:4]
    ['0.00', '0.14', '0.29', '0.43']
    """
    steps = np.diff(np.unique(values))
    spread = float(steps.sum())
    decimals = max(0, 1 - int(np.floor(np.log10(spread)))) if spread > 0 else 1
    for _ in range(2):
        if steps.size and np.abs(values - values.round(decimals)).max() > 0.1 * steps.min():
            decimals += 1
    return [f"{value + 0.0:.{decimals}f}".replace("-", "−") for value in values.round(decimals)]

"""What all drawings share: the sheet, its colours and type, and numbers of a model that are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from textwrap import wrap
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.model import VAE, Array

Numbers = NDArray[Any]

DPI = 150
LETTER = 11  # width of a wide letter in screen pixels
INK, FAINT = "#333333", "#dddddd"
# Okabe and Ito's colours, which colour-blind readers can tell apart, four more, and lighter or darker ones.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#5D3A9B", "#8A5A2B", "#4D4D4D", "#A8B400"),
    *("#7FB8D8", "#F2AE80", "#80CFB9", "#E9C3D6", "#F3CF80"),
    *("#1B3A5C", "#AE9CCD", "#C9AD90", "#A6A6A6", "#5E6400"),
)

_DOT = 8.0  # half the side in screen pixels of what is kept free around a point
_NARROWEST = 700  # screen pixels of a figure with a title, so that it takes few lines
_BATCH = 2000
_POINTS = 10_000
DRAWS = 32  # of the code of an image whose loss is told


class Picture(Figure):
    """A figure with a canvas of its own, which notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def canvas(width: float, height: float) -> Picture:
    """Make an empty white figure of this many pixels."""
    figure = Picture(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def titled_canvas(width: float, height: float, title: str) -> tuple[Picture, int]:
    """Make an empty figure with a title above, in as many lines as it takes; return it and their pixels."""
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
    """Add axes at a place given in pixels from the figure's upper left corner."""
    across, down = figure.get_size_inches() * DPI
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def tidy(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Give axes the style that all figures share: thin grey lines, a title flush left."""
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
    """Find places for boxes so that none lies on another: each, in turn, the nearest that is free.

    Parameters
    ----------
    at, half : numpy.ndarray
        Middle and half width and height of each box, (n, 2).
    fixed : numpy.ndarray
        Points (m, 2) that no box may cover.
    frame : tuple of float
        Left, lower, right and upper edge, within which the boxes stay.

    Returns
    -------
    numpy.ndarray
        New middles, (n, 2).

    Examples
    --------
    >>> two = moved_apart(np.zeros((2, 2)), np.ones((2, 2)), np.empty((0, 2)), (-9, -9, 9, 9))
    >>> bool((abs(two[0] - two[1]) >= 2).any())
    True
    """
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False) + np.pi / 2
    rings = np.arange(0, 80)[:, None, None] * half.min() / 3
    ways = (rings * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)
    low, high = np.array(frame[:2]) + half, np.array(frame[2:]) - half
    middles, sizes = fixed.astype(np.float64), np.full((len(fixed), 2), _DOT)
    moved = at.astype(np.float64)
    for i in range(len(at)):  # the first free place on rings around where it would be
        tried = (at[i] + ways).clip(low[i], np.maximum(low[i], high[i]))
        lap = sizes + half[i] - np.abs(tried[:, None] - middles)
        free = (lap <= 0).any(-1).all(-1)
        moved[i] = tried[free.argmax()]
        middles, sizes = np.concatenate([middles, moved[i : i + 1]]), np.concatenate([sizes, half[i : i + 1]])
    return moved


def to_png(figure: Figure) -> bytes:
    """Encode a figure as PNG."""
    buffer = BytesIO()
    # Level 4 takes half the time of the usual 6 for files of the same size.
    figure.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"compress_level": 4})
    return buffer.getvalue()


@contextmanager
def seeded(vae: VAE, seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside, and leave the caller's random state as it was."""
    device = next(vae.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would also reset the devices that were not forked.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def evenly(n: int, limit: int = _POINTS) -> NDArray[np.int64]:
    """Indices of at most ``limit`` of n examples, evenly taken from first to last.

    Examples
    --------
    >>> evenly(9, 3).tolist(), evenly(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, n - 1, min(n, limit)).round().astype(np.int64)


def codes_of(vae: VAE, x: Array) -> Numbers:
    """Embed x (n, *shape) a few thousand examples at a time: float32 (n, d)."""
    return _in_batches(vae.embed, x)


def losses_of(vae: VAE, x: Array, seed: int = 0) -> Numbers:
    """−ELBO of each example of x (n, *shape) with one draw each, nats: float32 (n,).

    Quick, for how the losses of many are spread; the loss of one image is :func:`losses_with_errors`.
    """
    with seeded(vae, seed):
        return _in_batches(lambda part: -vae.elbo(part), x)


def losses_with_errors(vae: VAE, x: Array, seed: int = 0) -> tuple[Numbers, Numbers]:
    """−ELBO of each example as the mean over 32 draws of its code, and the standard error of that mean.

    This is the loss of an image wherever one is written down. The same image always has the same one: each
    gets the same noise, whatever others stand beside it.

    Parameters
    ----------
    vae : VAE
        The model; the caller's random state is left alone.
    x : array
        Examples (n, *shape), of a conditional model with their conditions.
    seed : int
        Of the noise.

    Returns
    -------
    value, stderr : numpy.ndarray
        float64 (n,), nats.
    """
    values, errors = np.empty(len(x)), np.empty(len(x))
    for i in range(len(x)):
        with seeded(vae, seed):
            losses = -vae.elbo(x[np.full(DRAWS, i)]).double().cpu()
        values[i], errors[i] = losses.mean(), losses.std() / DRAWS**0.5
    return values, errors


def with_error(value: float, error: float) -> str:
    """Write a value with its standard error, to the error's first digit.

    Examples
    --------
    >>> with_error(-2943.21, 6.52), with_error(134.567, 0.234), with_error(1.5, 0.0)
    ('−2,943 ± 7', '134.6 ± 0.2', '1.50')
    """
    if not (np.isfinite(value) and np.isfinite(error)):
        return f"{value:.4g}"
    if error <= 1e-6 * max(1.0, abs(value)):  # nothing is drawn: all that differs is rounding
        return f"{value:,.2f}".replace("-", "−")
    decimals = max(0, -int(np.floor(np.log10(error))))
    return f"{value:,.{decimals}f} ± {error:,.{decimals}f}".replace("-", "−")


def _in_batches(function: Callable[[Array], Tensor], x: Array) -> Numbers:
    if not len(x):
        raise UsageError("got 0 examples to draw; give at least one")
    return np.concatenate([numbers(function(x[i : i + _BATCH])) for i in range(0, len(x), _BATCH)])


def numbers(values: Array) -> Numbers:
    """Bring an array or a tensor from any device to a float32 numpy array."""
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(array, dtype=np.float32)


def known_dims(vae: VAE, dims: Sequence[int]) -> list[int]:
    """Return different latent dimensions as they were given.

    Raises
    ------
    UsageError
        If one is twice among them or not of the model, or there is none.
    """
    known = [dim for dim in dict.fromkeys(dims) if 0 <= dim < vae.latent_dim]
    if known != list(dims) or not known:
        raise UsageError(
            f"dims = {list(dims)}: give different latent dimensions from 0 to {vae.latent_dim - 1}"
        )
    return known


def written(values: Numbers) -> list[str]:
    """Write values with as many decimals as their spread calls for."""
    spread = float(np.ptp(values))
    decimals = max(0, 1 - int(np.floor(np.log10(spread)))) if spread > 0 else 1
    return [f"{value + 0.0:.{decimals}f}".replace("-", "−") for value in values.round(decimals)]

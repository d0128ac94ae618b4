"""What all drawings share: the sheet, its colours and type, and numbers of a model that are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
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
INK, FAINT = "#333333", "#dddddd"
# Okabe and Ito's colours, which colour-blind readers can tell apart, four more, and lighter or darker ones.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#5D3A9B", "#8A5A2B", "#4D4D4D", "#A8B400"),
    *("#7FB8D8", "#F2AE80", "#80CFB9", "#E9C3D6", "#F3CF80"),
    *("#1B3A5C", "#AE9CCD", "#C9AD90", "#A6A6A6", "#5E6400"),
)

_BATCH = 2000
_POINTS = 10_000


class Picture(Figure):
    """A figure with a canvas of its own, which notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def canvas(width: float, height: float) -> Picture:
    """Make an empty white figure of this many pixels."""
    figure = Picture(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


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
    """−ELBO of each example of x (n, *shape) with one sample each, nats: float32 (n,)."""
    with seeded(vae, seed):
        return _in_batches(lambda part: -vae.elbo(part), x)


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

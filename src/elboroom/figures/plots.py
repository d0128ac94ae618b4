"""Plots of numbers: training curves, the map of codes and the histogram of losses.

Each function returns a new matplotlib figure: save it with ``figure.savefig(path)``, or let a notebook show
it. No display is needed, and the global random state is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from elboroom.errors import UsageError
from elboroom.figures.latent_maps import latent_scatter as latent_scatter
from elboroom.figures.style import FAINT, INK, PALETTE, panel, tidy, titled_canvas
from elboroom.latent.arrays import DRAWS, Numbers, loss_name, losses_of, losses_with_errors, with_error
from elboroom.models.vae import VAE, Array
from elboroom.runs.best_epoch import bound_name, can_be_best, quality


def loss_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw −ELBO, distortion and rate over the epochs, and the schedules of β and the learning rate.

    Parameters
    ----------
    history : sequence of mappings
        One per epoch, as :func:`elboroom.fit` returns them: ``epoch loss distortion rate beta
        learning_rate`` and perhaps ``val_distortion val_rate``; nats per example. Values that are not
        finite leave a gap.

    Raises
    ------
    UsageError
        If the history is empty.

    Examples
    --------
    >>> row = dict(loss=150.0, distortion=144.0, rate=6.0, beta=1.0, learning_rate=1e-3)
    >>> len(loss_curves([dict(row, epoch=1), dict(row, epoch=2)]).axes)
    5
    """
    if not history:
        raise UsageError("the history contains 0 epochs; train for at least one")
    epochs = _column(history, "epoch")
    train = {name: _column(history, name) for name in ("loss", "distortion", "rate")}
    held_out = {name: _column(history, f"val_{name}") for name in ("distortion", "rate")}
    train["elbo"] = train["distortion"] + train["rate"]
    held_out["elbo"] = held_out["distortion"] + held_out["rate"]
    best = _best_epoch(history, held_out["elbo"])
    noun = "training and validation examples" if np.isfinite(held_out["elbo"]).any() else "training examples"
    figure, head = titled_canvas(1500, 920, f"Means over the {noun} in each epoch")
    name = bound_name(float(np.nanmax(train["rate"], initial=0.0)))
    titles = {"elbo": f"−{name} = distortion + rate", "distortion": "Distortion", "rate": "Rate"}
    for i, (name, title) in enumerate(titles.items()):
        axes = panel(figure, 110 + 760 * (i % 2), head + 40 + 450 * (i // 2), 600, 320)
        tidy(axes, title, "epoch", "nats per example")
        if best is not None:
            axes.axvline(epochs[best], color=FAINT, linewidth=1.2)
        _curve(axes, epochs, train[name], PALETTE[0], "train")
        _curve(axes, epochs, held_out[name], PALETTE[1], "validation")
        if name == "elbo":
            if (np.abs(train["loss"] - train["elbo"]) > 1e-3 * np.abs(train["elbo"])).any():
                _curve(axes, epochs, train["loss"], PALETTE[0], "training loss", linestyle=":")
            if best is not None:
                value = held_out["elbo"][best]
                label = f"best: {value:.4g} in epoch {epochs[best]:.0f}"
                if "val_bound" in history[best]:
                    label = f"epoch {epochs[best]:.0f}, which has the best bound"
                axes.plot(epochs[best], value, "*", color=PALETTE[1], markersize=11, label=label)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
        _whole_epochs(axes, epochs)
    _draw_schedules(figure, 870, head + 490, epochs, history)
    return figure


def _best_epoch(history: Sequence[Mapping[str, Any]], losses: Numbers) -> int | None:
    """Index of the epoch whose weights are kept for its bound, or None; ``losses`` are −ELBOs."""
    rows = [{**row, "val_elbo": -loss} for row, loss in zip(history, losses, strict=True)]
    found = {i: quality(row) for i, row in enumerate(rows) if can_be_best(row) and np.isfinite(losses[i])}
    return max(found, key=lambda i: found[i], default=None)


def _column(history: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    values = [row.get(name) for row in history]
    column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(column), column, np.nan)


def _curve(axes: Axes, x: Numbers, y: Numbers, color: str, label: str, linestyle: str = "-") -> None:
    seen = np.isfinite(y)
    if seen.any():
        # A point between two gaps, as a single epoch is, shows only if it has a marker.
        gap = np.pad(~seen, 1, constant_values=True)
        dots = np.flatnonzero(seen & ((len(x) <= 30) | (gap[:-2] & gap[2:])))
        # Where there is no line, as of a single epoch, a square tells a dotted curve from the other.
        marker = {"marker": "o", "markersize": 3} if linestyle == "-" else {"marker": "s", "mfc": "none"}
        style: dict[str, Any] = {**marker, "markevery": dots} if len(dots) else {}
        axes.plot(x, y, linestyle, color=color, linewidth=1.6, label=label, **style)


def _whole_epochs(axes: Axes, epochs: Numbers) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    margin = max(0.5, 0.03 * len(epochs))
    axes.set_xlim(np.nanmin(epochs) - margin, np.nanmax(epochs) + margin)


def _draw_schedules(
    figure: Figure, left: float, top: float, epochs: Numbers, history: Sequence[Mapping[str, Any]]
) -> None:
    # Separate panels: in a shared one, two constant lines would cover each other.
    axes = panel(figure, left, top, 600, 135)
    tidy(axes, "β, weight of the rate")
    _draw_schedule(axes, epochs, _column(history, "beta"), PALETTE[2])
    axes.tick_params(labelbottom=False)
    axes = panel(figure, left, top + 185, 600, 135)
    tidy(axes, "Learning rate", "epoch")
    _draw_schedule(axes, epochs, _column(history, "learning_rate"), PALETTE[6])


def _draw_schedule(axes: Axes, epochs: Numbers, values: Numbers, color: str) -> None:
    _curve(axes, epochs, values, color, "")
    _whole_epochs(axes, epochs)
    seen = values[np.isfinite(values) & (values > 0)]
    if len(seen) == len(values) and seen.max() > 20 * seen.min():
        axes.set_yscale("log")
    else:
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), high + 0.15 * (high - min(0.0, low)))
        axes.yaxis.set_major_locator(MaxNLocator(4))


def loss_histogram(
    vae: VAE, x: Array, marks: Mapping[str, Array] | None = None, *, noun: str = "examples"
) -> Figure:
    """Draw a histogram of the −ELBO of examples, and mark those of some named examples.

    Parameters
    ----------
    vae : VAE
        The model; its ELBO is computed with one draw per example, with a fixed seed.
    x : array
        Examples (n, *shape).
    marks : mapping of str to array, optional
        Named examples (*shape) to mark, such as a possible anomaly; each with the mean of 32 draws and its
        standard error.
    noun : str
        What the title calls the examples.

    Raises
    ------
    UsageError
        If there are no examples, or one does not have the model's shape.
    """
    losses = losses_of(vae, x)
    losses = losses[np.isfinite(losses)]
    at = {name: losses_with_errors(vae, one[None]) for name, one in (marks or {}).items()}
    title = f"Loss of {len(losses):,} {noun}, one draw each"
    if len(losses):
        mean, spread = (_rounded(value, 4) for value in (losses.mean(), losses.std()))
        title += f": mean {mean}, standard deviation {spread} nats"
        title += f"; marks: mean of {DRAWS} draws" if at else ""
    figure, head = titled_canvas(1300, 660, title)
    axes = panel(figure, 120, head + 20, 1140, 550)
    if len(losses):
        # Bar widths follow the bulk of the data: a few outliers would otherwise squeeze it into one bar.
        low, high = np.percentile(losses, [0.1, 99.9])
        fine = np.clip(2 * len(losses) ** 0.5, 8, 60)
        bars = int(np.clip(fine * np.ptp(losses) / max(high - low, 1e-6), 1, 400))
        axes.hist(losses, bins=bars, color="#9CC9E3", edgecolor="white", linewidth=0.3)
    tidy(axes, "", f"{loss_name(vae)}, nats", "examples")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_marks(axes, {name: (float(v[0]), float(e[0])) for name, (v, e) in at.items() if np.isfinite(v[0])})
    return figure


def _draw_marks(axes: Axes, at: Mapping[str, tuple[float, float]]) -> None:
    """Draw a dashed line for each mark, with labels at different heights."""
    top = axes.get_ylim()[1]
    for value, _ in at.values():
        axes.axvline(value, color="none")  # fixes the limits before the labels are placed
    low, high = axes.get_xlim()
    for level, (name, (value, error)) in enumerate(sorted(at.items(), key=lambda item: item[1])):
        color = PALETTE[(level + 1) % 10]
        axes.axvline(value, color=color, linestyle="--", linewidth=1.5)
        right = value > low + 0.6 * (high - low)
        axes.annotate(
            f"{name}  {with_error(value, error)}",
            (value, top * (1 - 0.9 * (level + 0.5) / max(8, len(at)))),
            xytext=(-5 if right else 5, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=9,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )


def _rounded(value: float, digits: int) -> str:
    """Format a number with this many significant digits, or all integer digits, without an exponent.

    Examples
    --------
    >>> _rounded(-5671.4, 4), _rounded(45.4321, 4)
    ('−5,671', '45.43')
    """
    text = f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
    return text.replace("-", "−")

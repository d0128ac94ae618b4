"""A picture of the evidence: one panel for each thing that was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from elboroom.doctor.chart import Chart
from elboroom.doctor.diagnosis import Diagnosis
from elboroom.evaluation.health import ACTIVE_VARIANCE
from elboroom.figures.grids import tile
from elboroom.figures.style import INK, PALETTE, canvas, panel, tidy

_WIDE, _HIGH, _LEFT, _HEAD, _FOOT = 700, 420, 120, 60, 100  # pixels of a panel and around it
_COLUMNS = 2
_PAIRS = 6
_MANY_TIMES = 100.0
_IDLE = 0.1  # nats
_BLUE, _RED = PALETTE[:2]


def picture_of(chart: Chart, found: Diagnosis) -> Figure | None:
    """Draw what the findings and notes of a run rest on; None if there are none.

    Findings with the same evidence share a panel.
    """
    titles: dict[Callable[[Axes, Chart], None], list[str]] = {}
    for one in (*found.findings, *found.notes):
        titles.setdefault(_PANELS[one.disease], []).append(one.disease)
    if not titles:
        return None
    columns = min(_COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    across, down = _LEFT + _WIDE + 30, _HEAD + _HIGH + _FOOT
    figure = canvas(columns * across, rows * down)
    for number, (draw, names) in enumerate(titles.items()):
        row, column = divmod(number, columns)
        axes = panel(figure, column * across + _LEFT, row * down + _HEAD, _WIDE, _HIGH)
        tidy(axes, ", ".join(names))
        draw(axes, chart)
    return figure


def _course(axes: Axes, chart: Chart) -> None:
    """Losses of the training and the validation examples."""
    curves = {"training": chart.losses(), "validation": chart.losses(held_out=True)}
    curves = {name: losses for name, losses in curves.items() if losses}
    if not curves:
        _words(axes, "No epoch ended with a loss.")
        return
    _lines(axes, chart, curves, "distortion + beta · rate, nats")


def _parts(axes: Axes, chart: Chart) -> None:
    """Distortion and rate."""
    curves = {name: [float(row[name]) for row in chart.history] for name in ("distortion", "rate")}
    _lines(axes, chart, curves, "nats")


def _rates(axes: Axes, chart: Chart) -> None:
    """KL of each dimension, or of the whole code where dimensions have none of their own."""
    if chart.codes is None:
        _lines(axes, chart, {"rate": [float(row["rate"]) for row in chart.history]}, "rate, nats")
        return
    order = np.argsort(-chart.codes.rates)
    active = chart.codes.mean.var(0)[order] > ACTIVE_VARIANCE
    heights = chart.codes.rates[order]
    at = np.arange(len(order))
    for chosen, color, label in ((active, _BLUE, "active"), (~active, _RED, "not active")):
        if chosen.any():
            axes.bar(at[chosen], heights[chosen], color=color, label=label)
    axes.set_ylim(0, max(1.1 * float(heights.max()), _IDLE))
    if len(at) <= 20:
        axes.set_xticks(at, [str(number + 1) for number in order])
    _named(axes, "dimension, by KL", "KL to N(0, 1), nats")


def _layers(axes: Axes, chart: Chart) -> None:
    """Rates of the layers, and what counts as none."""
    rates = [float(rate) for rate in chart.metrics["rate_of_layers"]]
    at = range(1, len(rates) + 1)
    axes.bar(at, rates, color=[_RED if rate < _IDLE else _BLUE for rate in rates])
    for number, rate in zip(at, rates, strict=True):
        axes.annotate(f"{rate:.2g}", (number, max(rate, 0)), (0, 3), textcoords="offset points", ha="center")
    axes.axhline(_IDLE, color=INK, linestyle="--", linewidth=1, label="idle below")
    axes.set_xticks(list(at))
    _named(axes, "layer", "rate, nats")


def _codebook(axes: Axes, chart: Chart) -> None:
    """Codes in use by epoch, beside the codebook's size."""
    used = [float(row["perplexity"]) for row in chart.history]
    _lines(axes, chart, {"perplexity": used}, "codebook entries")
    axes.axhline(chart.config.model.codebook_size, color=INK, linestyle="--", linewidth=1, label="codebook")
    axes.set_yscale("log")
    _legend(axes)


def _schedule(axes: Axes, chart: Chart) -> None:
    """Beta and learning rate of each epoch, as shares of the configured ones."""
    beta, lr = chart.config.objective.beta, chart.config.optimizer.lr
    curves = {f"beta / {beta:g}": [row["beta"] / beta if beta else 0.0 for row in chart.history]}
    rates = [row.get("learning_rate") for row in chart.history]
    if chart.config.optimizer.lr_schedule is not None and None not in rates:
        curves[f"learning rate / {lr:g}"] = [rate / lr for rate in rates if rate is not None]
    if not chart.history:
        _words(axes, "No epoch has ended.")
        return
    _lines(axes, chart, curves, "share of the configured value")
    axes.set_ylim(-0.05, None)


def _values(axes: Axes, chart: Chart) -> None:
    """Values of the training examples."""
    assert chart.values is not None
    x = chart.values[np.isfinite(chart.values)]
    whole = bool((x == np.round(x)).all()) and np.ptp(x) < 100
    bins = np.arange(x.min() - 0.5, x.max() + 1).tolist() if whole else 40
    axes.hist(x, bins=bins, color=_BLUE)
    _named(axes, "value", "count")


def _spreads(axes: Axes, chart: Chart) -> None:
    """Standard deviations and means of the columns."""
    assert chart.values is not None
    means, spreads = np.abs(chart.values.mean(0, dtype=np.float64)), chart.values.std(0, dtype=np.float64)
    order = np.argsort(-spreads)
    axes.plot(spreads[order], "o", color=_BLUE, label="standard deviation")
    axes.plot(means[order], "x", color=_RED, label="size of the mean")
    axes.set_yscale("log")
    if len(order) <= 20:
        axes.set_xticks(range(len(order)), [str(number) for number in order])
    _named(axes, "column, by standard deviation", "model units")


def _copies(axes: Axes, chart: Chart) -> None:
    """How many held-out examples are copies."""
    assert chart.repeats is not None
    found = chart.repeats
    shares = [found.leaked / found.held_out, found.near / max(1, found.looked_at)]
    axes.bar(["equal", "all but equal"], shares, color=[_RED, PALETTE[4]], width=0.5)
    axes.set_ylim(0, 1)
    _named(axes, "to a training example", "share of held-out examples")


def _prior(axes: Axes, chart: Chart) -> None:
    """Codes over the prior, in the two dimensions of the largest rates."""
    codes, row = chart.codes, chart.history[-1]
    if codes is None:
        axes.bar(
            ["hole", "rate"],
            [chart.hole or 0.0, float(row.get("val_rate", row["rate"]))],
            color=[_RED, _BLUE],
        )
        _named(axes, "", "nats")
        return
    noise = np.random.default_rng(0).normal(size=codes.mean.shape)
    drawn = (codes.mean + codes.scale * noise)[:, np.argsort(-codes.rates)[:2]]
    normal = chart.config.model.prior in ("auto", "normal")
    if drawn.shape[1] == 1:
        axes.hist(drawn[:, 0], bins=40, density=True, color=_BLUE, label="codes")
        x = np.linspace(-4, 4, 200)
        axes.plot(x, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), color=_RED, label="N(0, 1)")
        _named(axes, "code", "density")
        return
    axes.plot(*drawn.T, ".", color=_BLUE, markersize=3, label="codes")
    turn = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2, 3) if normal else ():
        label = "prior: 1, 2, 3 standard deviations" if radius == 1 else None
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=_RED, linewidth=1, label=label)
    axes.set_aspect("equal", "datalim")
    _named(axes, "code with the largest rate", "second")


def _bounds(axes: Axes, chart: Chart) -> None:
    """ELBO of training and held-out examples, by the encoder and refined."""
    assert chart.held_out is not None
    for part, color, at in (("train", _BLUE, 0), ("held_out", _RED, 1)):
        seen = getattr(chart.held_out, part)
        for draw, values in enumerate((seen.encoder, seen.refined)):
            mean, error = float(values.mean()), float(values.std() / math.sqrt(len(values)))
            label = ("training", "held out")[at] if draw == 0 else None
            axes.errorbar(draw + 0.1 * at, mean, error, fmt="o", color=color, capsize=4, label=label)
            axes.annotate(
                f"{mean:.4g}", (draw + 0.1 * at, mean), (8, -3), textcoords="offset points", color=color
            )
    axes.set_xticks([0.05, 1.05], ["by the encoder", "after 50 gradient steps"])
    axes.set_xlim(-0.8, 1.6)
    _named(axes, "", "ELBO, nats")
    axes.legend(fontsize=8, frameon=False, loc="center left")


def _twins(axes: Axes, chart: Chart) -> None:
    """Samples above the training examples that they are nearest to; of rows how many are near."""
    assert chart.samples is not None
    seen, shape = chart.samples, chart.shape or ()
    if len(shape) != 3:
        axes.bar(["samples"], [seen.nearer], yerr=seen.error, color=_RED, capsize=4, width=0.4)
        axes.axhline(0.5, color=INK, linestyle="--", linewidth=1, label="nothing memorised")
        axes.set_ylim(0, 1)
        _named(axes, "", "share nearer to a training example")
        return
    flat = [values.reshape(len(values), -1) for values in (seen.drawn, seen.train)]
    distances, rows = NearestNeighbors(n_neighbors=1).fit(flat[1]).kneighbors(flat[0])
    best = np.argsort(distances[:, 0])[:_PAIRS]
    pictures = np.concatenate([seen.drawn[best], seen.train[rows[best, 0]]])
    low, high = float(seen.train.min()), float(seen.train.max())
    image = tile((pictures - low) / max(high - low, 1e-12), len(best))
    axes.imshow(image, interpolation="nearest")
    axes.set_yticks([image.shape[0] * 0.25, image.shape[0] * 0.75], ["sample", "training"])
    axes.set_xticks([])
    axes.grid(visible=False)


_PANELS: dict[str, Callable[[Axes, Chart], None]] = {
    "weights not finite": _course,
    "unscaled data": _spreads,
    "counts under a density": _values,
    "grey values under Bernoulli": _values,
    "learning rate too high": _course,
    "learning rate too low": _course,
    "wrong KL weight": _parts,
    "schedule does not fit": _schedule,
    "leaked examples": _copies,
    "posterior collapse": _rates,
    "unused dimensions": _rates,
    "idle layers": _layers,
    "dead codes": _codebook,
    "hole in the prior": _prior,
    "overfit encoder": _bounds,
    "overfit decoder": _bounds,
    "memorised samples": _twins,
    "overfitting": _course,
}


def _lines(axes: Axes, chart: Chart, curves: dict[str, list[float]], y: str) -> None:
    """Draw curves that end with the last epoch."""
    positive: list[NDArray[np.float64]] = []
    for number, (name, values) in enumerate(curves.items()):
        epochs = [row.get("epoch", i + 1) for i, row in enumerate(chart.history)][-len(values) :]
        marker = "o" if len(values) == 1 else None
        axes.plot(epochs, values, color=PALETTE[number], label=name, marker=marker)
        positive.append(np.asarray(values, dtype=np.float64))
    every = np.concatenate(positive)
    if every.min() > 0 and every.max() > _MANY_TIMES * every.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _named(axes, "epoch", y)


def _named(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    _legend(axes)


def _legend(axes: Axes) -> None:
    shown: Sequence[object] = axes.get_legend_handles_labels()[0]
    if shown:
        axes.legend(fontsize=8, frameon=False)


def _words(axes: Axes, said: str) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, said, ha="center", va="center", fontsize=9, color=INK)

"""Pictures of a model of a table, column by column: samples, reconstructions, the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from elboroom.figures.column_charts import (
    NAMED,
    charts_of,
    edges_of,
    logarithmic,
    named_axis,
    number_axis,
    short,
    upright_names,
)
from elboroom.figures.style import INK, PALETTE
from elboroom.latent.arrays import Numbers, codes_of, evenly, known_dims, numbers, seeded
from elboroom.models.conditioning import Examples, apart
from elboroom.models.vae import VAE, Array

if TYPE_CHECKING:
    from elboroom.config.columns import Column

_BINS, _POINTS, _DRAWN, _LINES = 30, 500, 2000, 6
_DATA, _MODEL = "#A6A6A6", PALETTE[1]


def sampled_columns(vae: VAE, x: Array, title: str = "") -> Figure:
    """Draw the distribution of each column of a table, and that of 2,000 rows drawn from the model.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood.
    x : array
        Rows (n, d); missing cells are left out. A conditional model draws rows with their conditions.
    title : str
        Title of the figure.
    """
    cells = numbers(apart(x)[0])
    with seeded(vae, 0):
        if isinstance(x, Examples):
            given = x.condition[evenly(len(x), _DRAWN)]
            drawn = numbers(vae.sample(len(given), condition=given, observe=True))
        else:
            drawn = numbers(vae.sample(_DRAWN, observe=True))
    figure, charts = charts_of(vae, title, legend=(("data", _DATA), ("drawn from the model", _MODEL)))
    for i, column, axes in charts:
        known = cells[~np.isnan(cells[:, i]), i]
        if column.categories:
            _draw_shares(axes, column, known, drawn[:, i])
        elif len(known):
            _draw_histograms(axes, column, known, drawn[:, i])
        axes.set_yticks([])
    return figure


def reconstructed_columns(vae: VAE, x: Array, title: str = "") -> Figure:
    """Draw each column's reconstructed against its observed cells; categories with the share of each.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood.
    x : array
        Rows (n, d), of which 500 are drawn, taken evenly.
    title : str
        Title of the figure.
    """
    shown = x[evenly(len(x), _POINTS)]
    cells, again = numbers(apart(shown)[0]), numbers(vae.reconstruct(shown))
    figure, charts = charts_of(vae, title, x="observed", y="reconstructed")
    for i, column, axes in charts:
        known = ~np.isnan(cells[:, i])
        observed, decoded = cells[known, i], again[known, i]
        if column.categories:
            _draw_confusion(axes, column, observed.astype(int), decoded.astype(int))
        elif len(observed):
            low, high = observed.min(), observed.max()
            axes.plot([low, high], [low, high], color=_DATA, linewidth=1)
            axes.plot(observed, decoded, ".", color=_MODEL, markersize=2.5, alpha=0.6)
            number_axis(axes, "x", column, observed)
            number_axis(axes, "y", column, np.concatenate([observed, decoded]))
    return figure


def map_of_columns(
    vae: VAE, grid: Tensor, names: tuple[str, str], ticks: tuple[Numbers, Numbers], title: str = ""
) -> Figure:
    """Draw what is decoded of each column on a grid of codes: numbers as colours, categories by name.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood; a conditional one given its condition.
    grid : Tensor
        Codes (g, h, d), the top row first.
    names : (str, str)
        Of the horizontal and the vertical direction.
    ticks : (array, array)
        Coordinates (h,) and (g,) of the grid, from left to right and from the lowest row upwards.
    title : str
        Title of the figure.
    """
    flat = grid.reshape(-1, grid.shape[-1])
    decoded = numbers(vae.decode(flat).mean).reshape(*grid.shape[:2], -1)[::-1]
    figure, charts = charts_of(vae, title, x=names[0], y=names[1], beside=110)
    edges = [edges_of(one) for one in ticks]
    for i, column, axes in charts:
        axes.grid(visible=False)
        values = decoded[..., i]
        if column.categories:
            found, counts = np.unique(values.astype(int), return_counts=True)
            colours = np.array([to_rgb(PALETTE[j % len(PALETTE)]) for j in range(len(column.categories))])
            axes.pcolormesh(*edges, colours[values.astype(int)])
            for j in sorted(found[np.argsort(-counts)[:NAMED]]):
                axes.plot([], [], "s", color=colours[j], label=short(column.categories[j], 11))
            axes.legend(**_BESIDE)
        else:
            low, high = float(values.min()), float(values.max())
            norm = (LogNorm if logarithmic(column, low, high) else Normalize)(low, high)
            mesh = axes.pcolormesh(*edges, values, norm=norm)
            inset = axes.inset_axes((1.03, 0, 0.05, 1))
            figure.colorbar(mesh, cax=inset).outline.set_visible(False)
            inset.tick_params(labelsize=7, labelcolor=INK, length=0, which="both")
            number_axis(inset, "y", column, values)
    return figure


def traversed_columns(
    vae: VAE,
    x: Array | None,
    dims: Sequence[int] | None = None,
    span: float = 3.0,
    steps: int = 41,
    title: str = "",
) -> Figure:
    """Draw what is decoded of each column while one latent dimension varies, a line for each dimension.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood; a conditional one given its condition.
    x : array or None
        Rows (n, d): the other dimensions have the mean of their codes; 0 if there are none.
    dims : list of int, optional
        Which dimensions, at most 20; the six with the largest standard deviation if not given.
    span : float
        They vary from −span to span, in units of the prior.
    steps : int
        Codes along a line.
    title : str
        Title of the figure.
    """
    known = np.zeros((1, vae.latent_dim), np.float32)
    if x is not None:
        known = numbers(vae.standardized(codes_of(vae, x[evenly(len(x))])))
    if dims is None:
        dims = np.argsort(-known.std(0), kind="stable")[:_LINES].tolist()
    dims = known_dims(vae, dims)[: len(PALETTE)]
    at = torch.linspace(-span, span, steps)
    codes = torch.from_numpy(known.mean(0)).repeat(len(dims), steps, 1)
    for row, dim in zip(codes, dims, strict=True):
        row[:, dim] = at
    decoded = numbers(vae.decode(vae.placed(codes.reshape(-1, vae.latent_dim))).mean)
    lines = decoded.reshape(len(dims), steps, -1)
    legend = [(f"$z_{{{dim}}}$", PALETTE[j]) for j, dim in enumerate(dims)]
    figure, charts = charts_of(vae, title, x="latent dimension", legend=legend)
    for i, column, axes in charts:
        for j, line in enumerate(lines[..., i]):
            style: dict[str, Any] = {"color": PALETTE[j], "linewidth": 1.4}
            if column.categories:  # a little apart, so that equal ones are all seen
                axes.step(at, line + 0.06 * (j - (len(dims) - 1) / 2), where="mid", **style)
            else:
                axes.plot(at, line, **style)
        if column.categories:
            found = np.unique(lines[..., i].astype(int))
            named_axis(axes, "y", column, found)
            axes.set_ylim(found[0] - 0.5, found[-1] + 0.5)
        else:
            number_axis(axes, "y", column, lines[..., i])
    return figure


def morphed_columns(
    vae: VAE,
    path: Tensor,
    ends: tuple[Array | None, Array | None],
    condition: Tensor | None = None,
    title: str = "",
) -> Figure:
    """Draw what is decoded of each column along a path of codes, and the rows at its ends as dots.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood.
    path : Tensor
        Codes (steps, d).
    ends : (array or None, array or None)
        The rows (d,) that the path leads from and to, if any.
    condition : Tensor, optional
        (steps, C), of a conditional model.
    title : str
        Title of the figure.
    """
    decoded, at = numbers(vae.decode(path, condition).mean), np.linspace(0, 1, len(path))
    rows = {place: numbers(apart(row)[0]) for place, row in zip((0, 1), ends, strict=True) if row is not None}
    figure, charts = charts_of(vae, title, x="from start (0) to end (1)")
    for i, column, axes in charts:
        line = decoded[:, i]
        known = {place: float(row[i]) for place, row in rows.items() if not np.isnan(row[i])}
        style: dict[str, Any] = {"color": _MODEL, "linewidth": 1.6}
        axes.step(at, line, where="mid", **style) if column.categories else axes.plot(at, line, **style)
        axes.plot([*known], [*known.values()], "o", color=INK, markersize=5, clip_on=False)
        shown = np.concatenate([line, [*known.values()]])
        if column.categories:
            found = np.unique(shown.astype(int))
            named_axis(axes, "y", column, found)
            axes.set_ylim(found[0] - 0.5, found[-1] + 0.5)
        else:
            number_axis(axes, "y", column, shown)
    return figure


_BESIDE: dict[str, Any] = {
    **{"loc": "upper left", "bbox_to_anchor": (1.0, 1.03), "frameon": False, "fontsize": 7},
    **{"labelcolor": INK, "handlelength": 0.8, "handletextpad": 0.4, "borderaxespad": 0.2},
}


def _draw_shares(axes: Axes, column: Column, data: Numbers, drawn: Numbers) -> None:
    size = len(column.categories)
    shares = [np.bincount(part.astype(int), minlength=size) / max(1, len(part)) for part in (data, drawn)]
    most = np.sort(np.argsort(-np.maximum(*shares), kind="stable")[:NAMED])
    for side, values, colour in zip((-0.2, 0.2), shares, (_DATA, _MODEL), strict=True):
        axes.bar(np.arange(len(most)) + side, values[most], 0.4, color=colour)
    upright_names(axes, range(len(most)), [short(column.categories[i], 7) for i in most])
    _say_more(axes, size - len(most))


def _say_more(axes: Axes, count: int) -> None:
    """Say that so many categories are not drawn."""
    if count:
        style: dict[str, Any] = {"fontsize": 7, "color": INK, "ha": "right", "va": "bottom"}
        axes.text(1, 1.02, f"and {count:,} more", transform=axes.transAxes, **style)


def _draw_histograms(axes: Axes, column: Column, data: Numbers, drawn: Numbers) -> None:
    low, high = np.quantile(np.concatenate([data, drawn]), (0.002, 0.998))
    if column.logged:
        bins = np.geomspace(max(low, 1e-30), max(high, low * 1.001), _BINS + 1)
    elif column.kind == "count" and high - low < _BINS:
        bins = np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    else:
        bins = np.linspace(low, max(high, np.nextafter(low, np.inf) + 1e-12), _BINS + 1)
    for values, colour, kind in ((data, _DATA, "stepfilled"), (drawn, _MODEL, "step")):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, bins, weights=weights, histtype=kind, color=colour, linewidth=1.4)  # type: ignore[arg-type]
    number_axis(axes, "x", column, bins)


def _draw_confusion(axes: Axes, column: Column, observed: Numbers, decoded: Numbers) -> None:
    counts = np.bincount(observed, minlength=len(column.categories))
    most = np.sort(np.argsort(-counts, kind="stable")[:NAMED])
    pairs = np.zeros((len(column.categories),) * 2)
    np.add.at(pairs, (decoded, observed), 1 / np.maximum(counts[observed], 1))
    shares = pairs[np.ix_(most, most)]
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Oranges", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (j, i), share in np.ndenumerate(shares):
        dark = "white" if share > 0.6 else INK
        axes.text(i, j, f"{share:.0%}", ha="center", va="center", fontsize=6, color=dark)
    names = [short(column.categories[i], 7) for i in most]
    upright_names(axes, range(len(most)), names)
    _say_more(axes, len(counts) - len(most))
    axes.set_yticks(range(len(most)), names, fontsize=7)

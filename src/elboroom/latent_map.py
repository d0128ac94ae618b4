"""The map of codes: where each example lies, coloured by its label or value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from elboroom.canvas import (
    FAINT,
    INK,
    PALETTE,
    Numbers,
    canvas,
    codes_of,
    evenly,
    numbers,
    panel,
    tidy,
)
from elboroom.errors import UsageError
from elboroom.model import VAE, Array


def latent_scatter(
    vae: VAE,
    x: Array,
    labels: Array | None = None,
    label_names: Sequence[str] = (),
    *,
    path: Array | None = None,
    grid: Array | None = None,
) -> Figure:
    """Draw the codes of examples, coloured by label: a map of the latent space.

    One latent dimension becomes a strip per label, as thick as the codes are dense; two are drawn as they
    are, and of more the two principal components.

    Parameters
    ----------
    vae : VAE
        Embeds the examples.
    x : array
        Examples (n, *shape); of more than 10,000, that many evenly taken ones are drawn.
    labels : array, optional
        (n,); up to 20 different whole numbers get a legend, anything else a colour bar.
    label_names : sequence of str
        Names of labels 0, 1, …
    path : array, optional
        Codes (steps, d) to join by a line from start to end, such as a morph's.
    grid : array, optional
        Codes (g, g, d) to outline, such as :func:`elboroom.pictures.manifold_grid`'s.

    Raises
    ------
    UsageError
        If there are no examples or not as many labels.
    """
    chosen = evenly(len(x))
    if labels is not None:
        if len(labels) != len(x):
            raise UsageError(f"got {len(labels)} labels for {len(x)} examples; give one label per example")
        labels = (labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels))[chosen]
    bare = labels is None and path is None and grid is None
    figure = canvas(990 if bare else 1240, 960)
    axes = panel(figure, 110, 30, 840, 840)
    draw_codes(axes, codes_of(vae, x[chosen]), labels, label_names, path=path, grid=grid)
    return figure


def draw_codes(
    axes: Axes,
    codes: Numbers,
    labels: Numbers | None = None,
    label_names: Sequence[str] = (),
    *,
    path: Array | None = None,
    grid: Array | None = None,
) -> None:
    """Draw codes (n, d) on axes as :func:`latent_scatter` does; the legend goes to their right."""
    project, names = _plane(codes)
    classes = None if labels is None else _classes(labels)
    points = project(codes)
    if codes.shape[1] == 1:
        points[:, 1] = _strips(codes[:, 0], np.zeros(len(codes)) if classes is None else classes[0])
    # Shuffled, so that data sorted by label do not hide one class under another.
    order = np.random.default_rng(0).permutation(len(codes))
    dots = axes.scatter(
        points[order, 0],
        points[order, 1],
        s=float(np.clip(20_000 / len(codes), 5, 18)),
        alpha=float(np.clip(4000 / len(codes), 0.45, 0.75)),
        linewidths=0,
        c=PALETTE[0]
        if labels is None
        else np.array(PALETTE)[classes[0]][order]
        if classes
        else labels[order],
    )
    tidy(axes, "", *names)
    if codes.shape[1] == 1:
        axes.set_yticks([])
    else:
        axes.set_aspect("equal", adjustable="datalim")
    key = [] if classes is None else _class_key(axes, points, classes, label_names)
    key += _overlay(axes, project, path, grid)
    if labels is not None and classes is None:
        _bar(axes, dots)
    if key:
        corner = (1.02, 0.2 if labels is not None and classes is None else 1.0)  # below a colour bar
        axes.legend(
            handles=key,
            loc="upper left",
            bbox_to_anchor=corner,
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )


def _plane(codes: Numbers) -> tuple[Callable[[Array], Numbers], tuple[str, str]]:
    """Find how codes (..., d) become points (n, 2), and the names of the two axes."""
    d = codes.shape[1]
    if d == 1:
        return lambda z: np.stack([numbers(z).ravel(), np.full(numbers(z).size, -0.8)], 1), ("$z_0$", "")
    if d == 2 or len(codes) < 3:
        return lambda z: numbers(z).reshape(-1, d)[:, :2], ("$z_0$", "$z_1$")
    with np.errstate(invalid="ignore"):  # codes that are all the same have no variance to explain
        from sklearn.decomposition import PCA  # over a second to import

        pca = PCA(2).fit(codes)
    first, second = np.nan_to_num(pca.explained_variance_ratio_)
    names = (f"principal component 1 ({first:.0%} of variance)", f"principal component 2 ({second:.0%})")
    return lambda z: pca.transform(numbers(z).reshape(-1, d)), names


def _classes(labels: Numbers) -> tuple[Numbers, Numbers] | None:
    """Index of each label among the different ones, and those; None if they are many or continuous."""
    values, index = np.unique(labels, return_inverse=True)
    few = len(values) <= len(PALETTE) and np.array_equal(values, np.round(values))
    return (index, values) if few else None


def _strips(codes: Numbers, index: Numbers) -> Numbers:
    """Heights that spread one-dimensional codes (n,) into a strip per class, as thick as they are dense."""
    counts, edges = np.histogram(codes, bins=60)
    density = np.interp(codes, (edges[1:] + edges[:-1]) / 2, counts / counts.max())
    jitter = np.random.default_rng(0).uniform(-0.42, 0.42, len(codes))
    return index + jitter * density


def _overlay(
    axes: Axes, project: Callable[[Array], Numbers], path: Array | None, grid: Array | None
) -> list[Line2D]:
    """Draw a grid and a path over the codes; return what the legend shows of them."""
    shown: list[Line2D] = []
    if grid is not None:
        rows = numbers(grid)
        edge = np.concatenate([rows[0], rows[:, -1], rows[-1, ::-1], rows[::-1, 0]])
        axes.plot(*project(rows).T, ".", color=INK, markersize=2.5, alpha=0.6)
        shown += axes.plot(*project(edge).T, "-", color=INK, linewidth=1.4, label="decoded grid")
    if path is not None:
        points = project(path)
        halo = [withStroke(linewidth=4, foreground="white")]
        axes.plot(*points.T, "-", color=INK, linewidth=1.8, path_effects=halo)
        for point, marker, name in ((points[0], "o", "start"), (points[-1], "s", "end")):
            style = {"markersize": 9, "markeredgecolor": "white", "markeredgewidth": 1.5, "zorder": 5}
            shown += axes.plot(*point[:, None], marker, color=INK, label=name, **style)  # type: ignore[arg-type]
    return shown


def _class_key(
    axes: Axes, points: Numbers, classes: tuple[Numbers, Numbers], label_names: Sequence[str]
) -> list[Line2D]:
    """Write short names in the midst of their classes; return the legend of all."""
    index, values = classes
    key = []
    halo = [withStroke(linewidth=4, foreground="white")]
    for i, value in enumerate(values.astype(float)):
        name = label_names[int(value)] if 0 <= value < len(label_names) else f"{value:g}"
        key += [Line2D([], [], color=PALETTE[i], label=name, marker="o", linestyle="", markersize=7)]
        if len(name) <= 8 and len(values) > 1:
            x, y = np.median(points[index == i], axis=0)
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 13, "fontweight": "bold"}
            axes.text(x, y, name, color=PALETTE[i], path_effects=halo, zorder=4, **style)
    return key


def _bar(axes: Axes, dots: PathCollection) -> None:
    """Say right of the axes what the colours of many labels mean."""
    inset = axes.inset_axes((1.03, 0.3, 0.03, 0.7))
    opaque = ScalarMappable(norm=dots.norm, cmap=dots.cmap)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.colorbar(opaque, cax=inset).outline.set_visible(False)
    inset.tick_params(labelsize=8, color=FAINT, labelcolor=INK)

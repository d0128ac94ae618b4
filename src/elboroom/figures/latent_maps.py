"""The map of codes: a point for each example, coloured by label or value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.figures.style import (
    FAINT,
    INK,
    LETTER,
    PALETTE,
    boxes_for_unknown_letters,
    moved_apart,
    panel,
    tidy,
    titled_canvas,
)
from elboroom.latent.arrays import Numbers, codes_of, codes_title, evenly, numbers
from elboroom.latent.planes import principal_directions
from elboroom.models.vae import VAE, Array

_SIDE, _HALF = 840, 560  # screen pixels of a single map, and of each of two


@dataclass(frozen=True)
class _View:
    """A projection of codes (..., d) to points (n, 2), and the names of its axes."""

    project: Callable[[Array], Numbers]
    names: tuple[str, str]


def latent_scatter(
    vae: VAE,
    x: Array,
    labels: Array | None = None,
    label_names: Sequence[str] = (),
    *,
    path: Array | None = None,
    grid: Array | None = None,
    reference: tuple[Array, Array] | None = None,
    title: str = "",
) -> Figure:
    """Draw a map of the codes of examples, coloured by label.

    One latent dimension is drawn as a strip for each label, whose thickness shows the density. Two are
    drawn as they are. Of more, the first two principal components are drawn; with a few classes also,
    beside them, the two directions that separate the classes best (linear discriminant analysis).

    Parameters
    ----------
    vae : VAE
        Encodes the examples.
    x : array
        Examples (n, *shape); of more than 10,000, that many are drawn, taken evenly.
    labels : array, optional
        (n,); up to 20 different integers get a legend, anything else a colour bar.
    label_names : sequence of str
        Names of labels 0, 1, …
    path : array, optional
        Codes (steps, d) to connect by a line, such as those of a morph.
    grid : array, optional
        Codes (g, g, d) to outline, such as those of :func:`elboroom.figures.images.manifold_grid`; then only
        the principal components are drawn.
    reference : tuple of array, optional
        Codes (m, d) and labels (m,) of other examples, to fit the separating directions to. Fitted to the
        examples shown, they exaggerate the separation.
    title : str
        Title of the figure; names the number of examples if not given.

    Raises
    ------
    UsageError
        If there are no examples, or the number of labels differs.
    """
    chosen = evenly(len(x))
    if labels is not None:
        if len(labels) != len(x):
            raise UsageError(f"got {len(labels)} labels for {len(x)} examples; give one label per example")
        labels = (labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels))[chosen]
    codes = codes_of(vae, x[chosen])
    views = [_plane(codes)]
    if labels is not None and grid is None and codes.shape[1] > 2:
        views += _separating(codes, labels, reference)
    side = _SIDE if len(views) == 1 else _HALF
    width = 110 + len(views) * (side + 110) - 70
    if labels is not None or path is not None or grid is not None:
        few = () if labels is None else (_classes(labels) or ((), ()))[1]
        names = [_name_of(float(value), label_names) for value in few]
        width += 70 + LETTER * max(map(len, [*names, "decoded grid"]))
    figure, head = titled_canvas(width, side + 120, title or f"{codes_title(vae)} of {len(x):,} examples")
    for i, view in enumerate(views):
        axes = panel(figure, 110 + i * (side + 110), head + 15, side, side)
        last = i == len(views) - 1
        draw_codes(axes, codes, labels, label_names, path=path, grid=grid, view=view, key=last)
    return figure


def draw_codes(
    axes: Axes,
    codes: Numbers,
    labels: Numbers | None = None,
    label_names: Sequence[str] = (),
    *,
    path: Array | None = None,
    grid: Array | None = None,
    view: _View | None = None,
    key: bool = True,
) -> None:
    """Draw codes (n, d) on axes as :func:`latent_scatter` does; the legend goes to their right."""
    view = view or _plane(codes)
    classes = None if labels is None else _classes(labels)
    points = view.project(codes)
    if codes.shape[1] == 1:
        points[:, 1] = _strips(codes[:, 0], np.zeros(len(codes)) if classes is None else classes[0])
    # Shuffled: in data sorted by label, the last class would cover the others.
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
    tidy(axes, "", *view.names)
    if codes.shape[1] == 1:
        axes.set_yticks([])
    else:
        axes.set_aspect("equal", adjustable="datalim")
    shown = _overlay(axes, view.project, path, grid)
    if classes is not None:
        names = [_name_of(value, label_names) for value in classes[1].astype(float)]
        endpoints = None if path is None else view.project(path)[[0, -1]]
        _write_names(axes, points, classes[0], names, endpoints)
        style: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 7}
        shown = [
            Line2D([], [], color=PALETTE[i], label=name, **style) for i, name in enumerate(names)
        ] + shown
    if labels is not None and classes is None and key:
        _bar(axes, dots)
    if shown and key:
        corner = (1.02, 0.2 if labels is not None and classes is None else 1.0)  # below a colour bar
        axes.legend(
            handles=shown,
            loc="upper left",
            bbox_to_anchor=corner,
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )


def _plane(codes: Numbers) -> _View:
    """One or two latent dimensions as they are, or the first two principal components of more."""
    d = codes.shape[1]
    if d == 1:
        return _View(
            lambda z: np.stack([numbers(z).ravel(), np.full(numbers(z).size, -0.8)], 1), ("$z_0$", "")
        )
    if d == 2 or len(codes) < 3:
        return _View(lambda z: numbers(z).reshape(-1, d)[:, :2], ("$z_0$", "$z_1$"))
    mean, directions, (first, second) = principal_directions(codes)
    names = (f"principal component 1 ({first:.0%} of variance)", f"principal component 2 ({second:.0%})")
    return _View(lambda z: (numbers(z).reshape(-1, d) - mean) @ directions.T, names)


def _separating(codes: Numbers, labels: Numbers, reference: tuple[Array, Array] | None) -> list[_View]:
    """The two directions that separate classes best; of two classes, one and the orthogonal of most variance.

    Empty if they are undefined: with one class, few examples, or codes that do not vary.
    """
    fitted = (codes, labels) if reference is None else (numbers(reference[0]), np.asarray(reference[1]))
    z, classes = fitted[0], _classes(fitted[1])
    if classes is None or len(classes[1]) < 2 or len(z) < 3 * len(classes[1]) or not (z.std(0) > 0).any():
        return []
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # takes over a second to import

    lda = LinearDiscriminantAnalysis(
        solver="eigen", shrinkage="auto", n_components=min(2, len(classes[1]) - 1)
    )
    try:
        lda.fit(z.astype(np.float64), classes[0])
    except (np.linalg.LinAlgError, ValueError):
        return []
    axes, mean = lda.scalings_[:, :2], z.mean(0)
    names = ["LDA axis 1: best separation of the classes", "LDA axis 2"]
    if len(classes[1]) == 2:
        along = axes[:, :1] / np.linalg.norm(axes[:, :1])
        rest = z - mean - (z - mean) @ along @ along.T
        axes = np.concatenate([axes[:, :1], principal_directions(rest)[1][:1].T], 1)
        names[1] = "orthogonal direction of most variance"
    if reference is not None:
        names[0] = "LDA axis 1: best separation of the training classes"
    return [_View(lambda w: (numbers(w).reshape(-1, len(mean)) - mean) @ axes, (names[0], names[1]))]


def _name_of(value: float, label_names: Sequence[str]) -> str:
    if 0 <= value < len(label_names):
        return label_names[int(value)]
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def _classes(labels: Numbers) -> tuple[Numbers, Numbers] | None:
    """Index of each label among the distinct labels, and these; None if they are many or continuous."""
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
    """Draw a grid and a path over the codes; return their legend entries."""
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


def _write_names(
    axes: Axes, points: Numbers, index: Numbers, names: Sequence[str], endpoints: Numbers | None
) -> None:
    """Write short names at the medians of their classes, moved apart where they would overlap."""
    if len(names) < 2:
        return
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 13, "fontweight": "bold"}
    halo = [withStroke(linewidth=4, foreground="white")]
    texts, places, colors = [], [], []
    for i, name in enumerate(names):
        if len(name) <= 8:
            x, y = np.median(points[index == i], axis=0)
            places.append((x, y))
            colors.append(PALETTE[i])
            texts.append(axes.text(x, y, name, color=PALETTE[i], path_effects=halo, zorder=4, **style))
    if not texts:
        return
    axes.autoscale_view()
    axes.apply_aspect()
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    with boxes_for_unknown_letters():
        boxes = [text.get_window_extent() for text in texts]
    at = axes.transData.transform(np.array(places))
    half = np.array([[box.width, box.height] for box in boxes]) / 2 + 2
    fixed = np.empty((0, 2)) if endpoints is None else axes.transData.transform(endpoints)
    frame = axes.get_window_extent()
    moved = moved_apart(at, half, fixed, (frame.x0, frame.y0, frame.x1, frame.y1))
    for text, place, (x, y), (px, py), color in zip(
        texts, places, axes.transData.inverted().transform(moved), moved - at, colors, strict=True
    ):
        text.set_position((x, y))
        if np.hypot(px, py) > 20:
            axes.plot(
                [place[0], x],
                [place[1], y],
                color=color,
                linewidth=0.8,
                zorder=3.9,
                scalex=False,
                scaley=False,
            )


def _bar(axes: Axes, dots: PathCollection) -> None:
    """Draw a colour bar for the labels, right of the axes."""
    inset = axes.inset_axes((1.03, 0.3, 0.03, 0.7))
    opaque = ScalarMappable(norm=dots.norm, cmap=dots.cmap)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.colorbar(opaque, cax=inset).outline.set_visible(False)
    inset.tick_params(labelsize=8, color=FAINT, labelcolor=INK)

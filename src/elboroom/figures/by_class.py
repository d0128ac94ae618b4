"""Sheets by class: examples, reconstructions and transformations; also named images, neighbours and UMAP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from textwrap import wrap

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.dataset import Dataset, Part
from elboroom.errors import UsageError
from elboroom.evaluation.examples import examples_of
from elboroom.evaluation.neighbours import Neighbours
from elboroom.figures.grids import ImageGrid, as_images, images_of, stack, titled
from elboroom.figures.latent_maps import draw_codes
from elboroom.figures.morphs import Morph, sheet
from elboroom.figures.row_tables import draw_tables, neighbouring_rows
from elboroom.figures.style import canvas, panel, tidy
from elboroom.latent.arrays import (
    Numbers,
    codes_of,
    evenly,
    loss_of_images,
    losses_with_errors,
    numbers,
    with_error,
)
from elboroom.latent.paths import LatentPath, linear
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

_LINE = 20  # characters in a line of a row label


def examples_of_part(part: Part, noun: str = "examples") -> str:
    """Name the examples of a part, for titles.

    Examples
    --------
    >>> examples_of_part("train"), examples_of_part("all"), examples_of_part("test", "example")
    ('training examples', 'examples', 'test example')
    """
    return {"train": "training ", "all": ""}.get(part, f"{part} ") + noun


def examples_by_class(data: Dataset, n: int = 10, part: Part = "train", *, vae: VAE | None = None) -> Figure:
    """Draw n examples of each class from the data, a row for each class.

    Parameters
    ----------
    data : Dataset
        Labelled.
    n : int
        Examples in a row.
    part : {"train", "test", "validation", "all"}
        Which examples.
    vae : VAE, optional
        The model whose value range or standardisation to draw them with.

    Raises
    ------
    UsageError
        If the data have no labels or the part no examples.
    """
    classes = list(_classes(data, part))
    n = min(n, max(len(rows) for _, rows in classes))
    chosen = [rows[evenly(len(rows), n)] for _, rows in classes]
    values = data.values(np.concatenate(chosen))
    drawn = as_images(values) if vae is None else images_of(vae, values)
    images = in_rows(drawn, [*map(len, chosen)], n)
    title = f"{examples_of_part(part).capitalize()} of each class, from the data"
    grid = ImageGrid(images, n, row_labels=[wrapped(name) for name, _ in classes])
    return stack(grid, title=title if vae is None else titled(vae, title))


def reconstructions_by_class(vae: VAE, data: Dataset, n: int = 10, part: Part = "test") -> Figure:
    """Draw n examples of each class above their reconstructions.

    Raises
    ------
    UsageError
        If the data have no labels or the part no examples.
    """
    classes = list(_classes(data, part))
    n = min(n, max(len(rows) for _, rows in classes))
    chosen = [rows[evenly(len(rows), n)] for _, rows in classes]
    x = examples_of(vae, data, np.concatenate(chosen))
    both = images_of(vae, torch.cat([vae.as_input(apart(x)[0]), vae.reconstruct(x)]))
    counts = [*map(len, chosen)]
    above, below = (in_rows(half, counts, n) for half in (both[: len(x)], both[len(x) :]))
    pairs = np.stack([rows.reshape(len(classes), n, *both.shape[1:]) for rows in (above, below)], 1)
    names = [word for name, _ in classes for word in (wrapped(name), "reconstruction")]
    title = f"{examples_of_part(part).capitalize()} of each class, and below each its reconstruction"
    return stack(ImageGrid(pairs.reshape(-1, *both.shape[1:]), n, row_labels=names), title=titled(vae, title))


def _classes(data: Dataset, part: Part) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Name and rows of each label that occurs in a part."""
    if data.labels is None:
        raise UsageError(f"{data.name} has no labels to group examples by; use labelled data")
    rows = data.indices(part)
    if not len(rows):
        raise UsageError(f"{data.name} has no {part} examples; choose another part")
    for label in np.unique(data.labels[rows]).tolist():
        yield data.label_name(label), rows[data.labels[rows] == label]


def in_rows(images: Numbers, counts: Sequence[int], n: int) -> Numbers:
    """Arrange images in rows of n, ``counts`` images in each; the rest of a row is white."""
    filled = np.ones((len(counts) * n, *images.shape[1:]), images.dtype)
    filled[[i * n + j for i, count in enumerate(counts) for j in range(count)]] = images
    return filled


def friends(vae: VAE, images: Array, names: Sequence[str], refined: Tensor | None = None) -> Figure:
    """Draw named images beside their reconstructions, a row each with name and loss.

    Parameters
    ----------
    vae : VAE
        The model; the loss is −ELBO, the mean of 32 draws with its standard error.
    images : array
        (n, *shape); of a conditional model with their conditions.
    names : sequence of str
        One per image; long names are wrapped.
    refined : Tensor, optional
        Codes (n, d) from :func:`elboroom.latent.targets.refine`, to show decoded as well.

    Raises
    ------
    UsageError
        If there are no images or not as many names.
    """
    if not len(images) or len(names) != len(images):
        raise UsageError(
            f"got {len(names)} names for {len(images)} images; give at least one image, and one name for each"
        )
    plain, condition = apart(images)
    columns = [vae.as_input(plain), vae.reconstruct(images)]
    columns += [] if refined is None else [vae.decode(refined, condition).mean]
    losses = [f"{with_error(*loss)} nats" for loss in zip(*losses_with_errors(vae, images), strict=True)]
    grid = ImageGrid(
        images_of(vae, torch.stack(columns, 1).flatten(0, 1)),
        len(columns),
        row_labels=[f"{wrapped(name)}\n{loss}" for name, loss in zip(names, losses, strict=True)],
        captions=["original", "decoded", "refined"][: len(columns)],
    )
    title = f"Named images and their reconstructions; loss: {loss_of_images(vae)}"
    return stack(grid, title=titled(vae, title))


def wrapped(name: str, width: int = _LINE) -> str:
    """Break a name into lines that fit beside a row of images.

    Examples
    --------
    >>> print(wrapped("grandmother-at-the-seaside.jpg"))
    grandmother-at-the-
    seaside.jpg
    """
    return "\n".join(wrap(name, width))


def transformation(
    vae: VAE,
    data: Dataset,
    from_label: int,
    to_label: int,
    n: int = 8,
    *,
    part: Part = "test",
    path: LatentPath = linear,
    steps: int = 9,
    seed: int = 0,
    originals: bool = True,
) -> Figure:
    """Draw morphs from examples of one class to examples of another, a row for each pair.

    Parameters
    ----------
    vae : VAE
        The model.
    data : Dataset
        Labelled.
    from_label, to_label : int
        The two classes.
    n : int
        Number of rows; fewer if a class has fewer examples.
    part : {"train", "test", "validation", "all"}
        Which examples.
    path : callable
        The path between two codes, one of :mod:`elboroom.latent.paths`.
    steps : int
        Number of codes of a path.
    seed : int
        Seed for the pairing; the caller's random state is left alone.
    originals : bool
        Show the examples themselves at both endpoints. Without them the sheet holds only decoded images, for
        data that may not be shown.

    Raises
    ------
    UsageError
        If the part has no example of a class.
    """
    classes = dict(_classes(data, part))
    names = [data.label_name(label) for label in (from_label, to_label)]
    rng = np.random.default_rng(seed)
    drawn = []
    for name in names:
        if name not in classes:
            raise UsageError(
                f"{data.name}: no {part} example has label {name!r}; choose from {', '.join(classes)}"
            )
        drawn.append(rng.permutation(classes[name])[:n])
    starts, ends = (examples_of(vae, data, rows[: min(map(len, drawn))]) for rows in drawn)
    codes = vae.embed(starts), vae.embed(ends)
    shown = (numbers(starts), numbers(ends)) if originals else ([None] * len(starts),) * 2
    name = f"{names[0]} → {names[1]}"
    first, last = (vae.condition_vectors(apart(x)[1], len(x)) for x in (starts, ends))
    condition = (
        None if first is None or last is None else linear(first[0], last[0], steps)
    )  # the same in all rows
    rows = [
        Morph(path(a, b, steps), x, y, name, condition=condition)
        for a, b, x, y in zip(*codes, *shown, strict=True)
    ]
    title = f"From {names[0]} to {names[1]}, {examples_of_part(part)}: decoded codes along the path"
    title += ", originals at both endpoints" if originals else ""
    return sheet(vae, rows, steps, title=title)


def neighbour_sheet(
    data: Dataset,
    queries: Array,
    names: Sequence[str],
    found: Neighbours,
    *,
    vae: VAE | None = None,
) -> Figure:
    """Draw queries (m, *shape) beside the examples nearest to each, with their distances.

    A query that is a copy, or nearly one, of its nearest example is labelled so. With a model, images are
    drawn in its value range, and numbers standardised if it standardises them.

    Raises
    ------
    UsageError
        If there are no queries.
    """
    if not len(queries):
        raise UsageError("got 0 images to draw; give at least one")
    n = found.rows.shape[1]
    near = data.values(found.rows.ravel()).reshape(len(queries), n, *data.shape)
    rows = np.concatenate([numbers(apart(queries)[0])[:, None], near], 1)
    if vae is not None and bool(getattr(vae.likelihood, "columns", ())):
        title = "Each row (left) and the training rows nearest to it, with distances; grey: the same"
        heads = [["", *(f"{value:.3f}" for value in distances)] for distances in found.distances]
        named = [
            f"{name}: the first is the same" if copy else name
            for name, copy in zip(names, found.copies(data), strict=True)
        ]
        parts = zip(rows, named, heads, strict=True)
        return draw_tables(vae, title, [neighbouring_rows(vae, *part) for part in parts])
    values = rows.reshape(-1, *data.shape)
    images = as_images(values) if vae is None else images_of(vae, values)
    images = images.reshape(len(rows), n + 1, *images.shape[1:])
    words = [wrapped(name) for name in names]
    for i in np.flatnonzero(found.copied):
        words[i] += "\n(nearly) a copy"
    title = "Each image (left) and the training examples nearest to it, with their distances"
    return stack(
        *(
            ImageGrid(row, n + 1, row_labels=[word], captions=["", *(f"{value:.3f}" for value in distances)])
            for row, word, distances in zip(images, words, found.distances, strict=True)
        ),
        title=title if vae is None else titled(vae, title),
    )


def latent_umap(
    vae: VAE,
    x: Array,
    labels: Array | None = None,
    label_names: Sequence[str] = (),
    *,
    seed: int = 0,
    title: str = "",
) -> Figure:
    """Draw the codes of examples in two dimensions by UMAP (arXiv:1802.03426), coloured by label.

    Parameters
    ----------
    vae : VAE
        Embeds the examples.
    x : array
        Examples (n, *shape), at least 5; of more than 10,000, that many are drawn, taken evenly.
    labels : array, optional
        (n,).
    label_names : sequence of str
        Names of labels 0, 1, …
    seed : int
        Seed of UMAP; the caller's random state is left alone.
    title : str
        Title of the figure.

    Raises
    ------
    UsageError
        If umap-learn is not installed, or there are fewer than 5 examples.
    """
    if len(x) < 5:
        raise UsageError(f"got {len(x)} examples; UMAP needs at least 5")
    try:
        umap = import_module("umap")
    except ModuleNotFoundError:
        raise UsageError("a UMAP map needs umap-learn: pip install 'elboroom[umap]'") from None
    chosen = evenly(len(x))
    codes = codes_of(vae, x[chosen])
    near = min(15, len(codes) - 1)
    # A seed makes UMAP use one core; without n_jobs=1 it warns about that.
    points = umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(codes)
    figure = canvas(990 if labels is None else 1240, 960)
    axes = panel(figure, 110, 60, 840, 810)
    draw_codes(axes, numbers(points), None if labels is None else np.asarray(labels)[chosen], label_names)
    tidy(axes, title or f"Codes of {len(codes):,} examples in two dimensions by UMAP", "UMAP 1", "UMAP 2")
    return figure

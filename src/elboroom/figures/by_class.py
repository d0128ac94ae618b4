"""Sheets for data of several kinds: each with its reconstructions, friends, and one kind into another."""

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
from elboroom.figures.style import canvas, panel, tidy
from elboroom.latent.arrays import DRAWS, Numbers, codes_of, evenly, losses_with_errors, numbers, with_error
from elboroom.latent.paths import LatentPath, linear
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

_LINE = 20  # letters of a name in a line


def examples_of_part(part: Part, noun: str = "examples") -> str:
    """What titles call the examples of a part.

    Examples
    --------
    >>> examples_of_part("train"), examples_of_part("all"), examples_of_part("test", "example")
    ('training examples', 'examples', 'test example')
    """
    return {"train": "training ", "all": ""}.get(part, f"{part} ") + noun


def examples_by_class(data: Dataset, n: int = 10, part: Part = "train", *, vae: VAE | None = None) -> Figure:
    """Draw n examples of each class, evenly taken, a row each: what there is to learn, and no model's work.

    Parameters
    ----------
    data : Dataset
        Labelled.
    n : int
        Examples in a row.
    part : {"train", "test", "validation", "all"}
        Which examples.
    vae : VAE, optional
        The model whose black and white, or whose standardisation of numbers, to draw them in.

    Raises
    ------
    UsageError
        If the data have no labels or the part no examples.
    """
    kinds = list(_kinds(data, part))
    n = min(n, max(len(rows) for _, rows in kinds))
    chosen = [rows[evenly(len(rows), n)] for _, rows in kinds]
    values = data.values(np.concatenate(chosen))
    drawn = as_images(values) if vae is None else images_of(vae, values)
    images = in_rows(drawn, [*map(len, chosen)], n)
    title = f"{examples_of_part(part).capitalize()} of each class, as they are in the data"
    grid = ImageGrid(images, n, row_labels=[wrapped(name) for name, _ in kinds])
    return stack(grid, title=title if vae is None else titled(vae, title))


def reconstructions_by_class(vae: VAE, data: Dataset, n: int = 10, part: Part = "test") -> Figure:
    """Draw n examples of each class, evenly taken, above what the model makes of them.

    Raises
    ------
    UsageError
        If the data have no labels or the part no examples.
    """
    kinds = list(_kinds(data, part))
    n = min(n, max(len(rows) for _, rows in kinds))
    chosen = [rows[evenly(len(rows), n)] for _, rows in kinds]
    x = examples_of(vae, data, np.concatenate(chosen))
    both = images_of(vae, torch.cat([vae.as_input(apart(x)[0]), vae.reconstruct(x)]))
    counts = [*map(len, chosen)]
    above, below = (in_rows(half, counts, n) for half in (both[: len(x)], both[len(x) :]))
    pairs = np.stack([rows.reshape(len(kinds), n, *both.shape[1:]) for rows in (above, below)], 1)
    names = [word for name, _ in kinds for word in (wrapped(name), "rebuilt")]
    title = f"{examples_of_part(part).capitalize()} of each class, and below each its reconstruction"
    return stack(ImageGrid(pairs.reshape(-1, *both.shape[1:]), n, row_labels=names), title=titled(vae, title))


def _kinds(data: Dataset, part: Part) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Name and rows of each label that occurs in a part."""
    if data.labels is None:
        raise UsageError(f"{data.name} has no labels, so there are no kinds to tell apart; use labelled data")
    rows = data.indices(part)
    if not len(rows):
        raise UsageError(f"{data.name} has no {part} examples; choose another part")
    for label in np.unique(data.labels[rows]).tolist():
        yield data.label_name(label), rows[data.labels[rows] == label]


def in_rows(images: Numbers, counts: Sequence[int], n: int) -> Numbers:
    """Images, so many of each row one after the other, with white ones where a row has fewer than n."""
    filled = np.ones((len(counts) * n, *images.shape[1:]), images.dtype)
    filled[[i * n + j for i, count in enumerate(counts) for j in range(count)]] = images
    return filled


def friends(vae: VAE, images: Array, names: Sequence[str], refined: Tensor | None = None) -> Figure:
    """Draw images from outside beside their reconstructions, each a row with its name and its loss.

    Parameters
    ----------
    vae : VAE
        The model; the loss is −ELBO as the mean of 32 draws, with its standard error.
    images : array
        (n, *shape); of a conditional model with their conditions.
    names : sequence of str
        One per image; long ones go on in further lines.
    refined : Tensor, optional
        Codes (n, d) that :func:`elboroom.latent.targets.refine` found, to show what they decode to as well.

    Raises
    ------
    UsageError
        If there are no images or not as many names.
    """
    if not len(images) or len(names) != len(images):
        raise UsageError(
            f"got {len(names)} names for {len(images)} images; give at least one image, and its name"
        )
    plain, condition = apart(images)
    columns = [vae.as_input(plain), vae.reconstruct(images)]
    columns += [] if refined is None else [vae.decode(refined, condition).mean]
    losses = [f"{with_error(*loss)} nats" for loss in zip(*losses_with_errors(vae, images), strict=True)]
    grid = ImageGrid(
        images_of(vae, torch.stack(columns, 1).flatten(0, 1)),
        len(columns),
        row_labels=[f"{wrapped(name)}\n{loss}" for name, loss in zip(names, losses, strict=True)],
        captions=["original", "rebuilt", "refined"][: len(columns)],
    )
    title = f"Named images and what the model makes of them; loss: −ELBO, mean of {DRAWS} draws"
    return stack(grid, title=titled(vae, title))


def wrapped(name: str, width: int = _LINE) -> str:
    """Break a name into lines, for there is little room beside a row of images.

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
    walk: LatentPath = linear,
    steps: int = 9,
    seed: int = 0,
    originals: bool = True,
) -> Figure:
    """Draw held-out examples of one kind on their way to held-out ones of another: a row each.

    Parameters
    ----------
    vae : VAE
        The model.
    data : Dataset
        Labelled.
    from_label, to_label : int
        The two kinds.
    n : int
        Rows; fewer if there are not so many examples.
    part : {"train", "test", "validation", "all"}
        Which examples.
    walk : callable
        The way between two codes, one of :mod:`elboroom.latent.paths`.
    steps : int
        Codes on the way.
    seed : int
        Which examples are paired; the caller's random state is left alone.
    originals : bool
        Show the examples themselves at both ends; without them the sheet holds nothing but the model's own
        pictures, for data that may not be shown.

    Raises
    ------
    UsageError
        If the part has no example of a kind.
    """
    kinds = dict(_kinds(data, part))
    names = [data.label_name(label) for label in (from_label, to_label)]
    rng = np.random.default_rng(seed)
    drawn = []
    for name in names:
        if name not in kinds:
            raise UsageError(
                f"{data.name}: no {part} example has label {name!r}; choose of {', '.join(kinds)}"
            )
        drawn.append(rng.permutation(kinds[name])[:n])
    starts, ends = (examples_of(vae, data, rows[: min(map(len, drawn))]) for rows in drawn)
    codes = vae.embed(starts), vae.embed(ends)
    shown = (numbers(starts), numbers(ends)) if originals else ([None] * len(starts),) * 2
    name = f"{names[0]} → {names[1]}"
    first, last = (vae.condition_vectors(apart(x)[1], len(x)) for x in (starts, ends))
    condition = None if first is None or last is None else linear(first[0], last[0], steps)  # alike in all
    rows = [
        Morph(walk(a, b, steps), x, y, name, condition=condition)
        for a, b, x, y in zip(*codes, *shown, strict=True)
    ]
    title = f"From {names[0]} to {names[1]}, {examples_of_part(part)}: decoded codes on the way"
    title += ", the originals at both ends" if originals else ""
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

    A query that is (nearly) a copy of the nearest says so under its name. With a model, images are drawn in
    its black and white, and numbers standardised if it standardises them.

    Raises
    ------
    UsageError
        If there are no queries.
    """
    if not len(queries):
        raise UsageError("got 0 images to draw; give at least one")
    n = found.rows.shape[1]
    near = data.values(found.rows.ravel()).reshape(len(queries), n, *data.shape)
    rows = np.concatenate([numbers(queries)[:, None], near], 1)
    values = rows.reshape(-1, *data.shape)
    images = as_images(values) if vae is None else images_of(vae, values)
    images = images.reshape(len(rows), n + 1, *images.shape[1:])
    words = [wrapped(name) for name in names]
    for i in np.flatnonzero(found.copied):
        words[i] += "\n(nearly) a copy"
    title = "Each image and, right of it, the training examples nearest to it, with their distances"
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
        Examples (n, *shape), at least 5; of more than 10,000, that many evenly taken ones are drawn.
    labels : array, optional
        (n,).
    label_names : sequence of str
        Names of labels 0, 1, …
    seed : int
        Of UMAP; the caller's random state is left alone.
    title : str
        Says whose codes they are.

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
    # With a seed it runs on one core, and says so if not told.
    points = umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(codes)
    figure = canvas(990 if labels is None else 1240, 960)
    axes = panel(figure, 110, 60, 840, 810)
    draw_codes(axes, numbers(points), None if labels is None else np.asarray(labels)[chosen], label_names)
    tidy(axes, title or f"Codes of {len(codes):,} examples in two dimensions by UMAP", "UMAP 1", "UMAP 2")
    return figure

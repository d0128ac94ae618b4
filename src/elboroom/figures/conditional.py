"""Sheets by class or condition: samples, grids and analogies of several labels or vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.neighbours import embed_rows
from elboroom.figures.by_class import in_rows, wrapped
from elboroom.figures.grids import ImageGrid, images_of, lay_out, stack, titled
from elboroom.figures.images import manifold_grid, manifold_image_grid, plane_image_grid
from elboroom.latent.arrays import Numbers, codes_of, evenly, seeded
from elboroom.latent.planes import Plane
from elboroom.models.conditioning import Condition, Examples, apart
from elboroom.models.vae import VAE, Array

GIVEN_EACH = "Samples given each class: every row decodes the same draws"
_LABELS, _GRIDS = 20, 12  # most labels in a sheet, and grids side by side
_SORTED = 1000  # draws that are sorted by class
_REFERENCE, _NEIGHBOURS = 5000, 10  # training examples to sort them by, and how many vote


def conditions_to_show(vae: VAE, x: Array, most: int) -> tuple[list[Condition], list[str]]:
    """Conditions to draw a conditional model with, and their names: labels, or some examples' vectors."""
    assert vae.condition is not None
    if vae.condition.kind == "labels":
        places = evenly(vae.condition.size, most)
        return vae.condition.labels[places].tolist(), [vae.condition.name_of(i) for i in places.tolist()]
    assert isinstance(x, Examples)
    chosen = evenly(len(x), most)
    return list(x.condition[chosen]), [f"as example {i}" for i in chosen]


def name_of(vae: VAE, condition: Condition) -> str:
    """Name a condition of a conditional model: by its label if it is one."""
    assert vae.condition is not None
    vector = vae.condition_vectors(condition, 1)
    if vector is None or vae.condition.kind != "labels" or not bool((vector == 1).sum() == 1):
        return "one condition"
    return vae.condition.name_of(int(vector[0].argmax()))


def conditional_grid(
    vae: VAE, conditions: Sequence[Condition], names: Sequence[str], n: int = 10, seed: int = 0
) -> ImageGrid:
    """Sample a conditional model: a row of n for each condition, with the same noise in each row.

    Parameters
    ----------
    vae : VAE
        Conditional.
    conditions : sequence
        Labels or vectors.
    names : sequence of str
        Labels of the rows.
    n : int
        Number of samples in a row.
    seed : int
        The same seed draws the same samples; the caller's random state is left alone.
    """
    drawn = []
    for condition in conditions:
        with seeded(vae, seed):
            drawn.append(vae.sample(n, condition=condition))
    return ImageGrid(images_of(vae, torch.cat(drawn)), n, row_labels=[wrapped(name) for name in names], gap=3)


def samples_by_class(vae: VAE, data: Dataset, n: int = 10, seed: int = 0) -> Figure:
    """Draw samples by class, a row of n for each.

    A model conditional on labels samples given each label. For an unconditional model, 1,000 draws from the
    prior are decoded, encoded again and assigned to the majority class of the ten training examples with the
    nearest codes. Each row is labelled with its class's share of the draws; it is not full if they are few.

    Raises
    ------
    UsageError
        If the data have no labels, or the model is conditional on something else.
    """
    if vae.condition is not None and vae.condition.kind == "labels":
        grid = conditional_grid(vae, *conditions_to_show(vae, data.x, _LABELS), n, seed)
        return stack(grid, title=titled(vae, GIVEN_EACH))
    if data.labels is None or vae.condition is not None:
        raise UsageError(
            "samples by class need labelled data and an unconditional or label-conditional model; "
            f"{data.name} has {'no ' if data.labels is None else ''}labels"
        )
    rows = data.indices("train")
    rows = rows[evenly(len(rows), _REFERENCE)]
    with seeded(vae, seed):
        drawn = vae.sample(_SORTED)
    labels = data.labels[rows]
    found = nearest_class(codes_of(vae, drawn), embed_rows(vae, data, rows), labels)
    chosen = [np.flatnonzero(found == label)[:n] for label in np.unique(labels)]
    images = in_rows(images_of(vae, drawn[np.concatenate(chosen)]), [*map(len, chosen)], n)
    shares = [float((found == label).mean()) for label in np.unique(labels)]
    names = [wrapped(data.label_name(int(label))) for label in np.unique(labels)]
    words = [f"{name}  {share:.0%}" for name, share in zip(names, shares, strict=True)]
    title = (
        f"Samples: {_SORTED:,} decoded draws from the prior, sorted by the class of the training examples "
        "whose codes are nearest, with each class's share of the draws"
    )
    return stack(ImageGrid(images, n, row_labels=words, gap=3), title=titled(vae, title))


def nearest_class(codes: Numbers, known: Numbers, labels: Numbers) -> Numbers:
    """Label of each of codes (m, d): the commonest among the ten nearest of known ones (n, d).

    Examples
    --------
    >>> nearest_class(np.array([[0.1], [4.9]]), np.array([[0.0], [5.0]]), np.array([3, 7])).tolist()
    [3, 7]
    """
    from sklearn.neighbors import KNeighborsClassifier  # over a second to import

    votes = min(_NEIGHBOURS, max(1, len(known) // 2))
    found: Numbers = KNeighborsClassifier(votes, algorithm="brute").fit(known, labels).predict(codes)
    return found


def analogies(
    vae: VAE, x: Array, n: int = 8, *, title: str = "Examples, and what they decode to given each class"
) -> Figure:
    """Draw examples with every label in turn, all else being equal (arXiv:1406.5298 fig. 1b).

    Parameters
    ----------
    vae : VAE
        Conditional on labels.
    x : Examples
        Of which n are taken evenly, a row each: the example, and what its code, carried to each label
        (:meth:`elboroom.VAE.carried`), decodes to given that label.
    n : int
        Rows.
    title : str
        Says whose images they are.

    Raises
    ------
    UsageError
        If the model is not conditional on labels, or there are no examples.
    """
    if vae.condition is None or vae.condition.kind != "labels":
        raise UsageError("analogies change labels, and this model takes none; take one conditional on labels")
    if not len(x):
        raise UsageError("got 0 examples to draw; give at least one")
    shown = x[evenly(len(x), n)]
    labels, names = conditions_to_show(vae, shown, _LABELS)
    plain, own = apart(shown)
    assert own is not None
    codes = vae.embed(shown)
    columns = [vae.as_input(plain)]
    columns += [vae.decode(vae.carried(codes, own, label), label).mean for label in labels]
    images = images_of(vae, torch.stack(columns, 1).flatten(0, 1))
    grid = ImageGrid(images, len(columns), captions=["original", *map(wrapped, names)])
    return stack(grid, title=titled(vae, title))


def manifolds(
    vae: VAE,
    x: Array,
    *,
    steps: int = 8,
    dims: Sequence[int] = (0, 1),
    plane: Plane | None = None,
    title: str = "What codes on a grid decode to, given each condition",
) -> Figure:
    """Draw what codes on a grid decode to given each label, or vectors of some examples x: a grid each.

    The grid is over the prior in two dimensions, or in a plane of more.

    Raises
    ------
    UsageError
        If the model is not conditional.
    """
    if vae.condition is None:
        raise UsageError("this model takes no condition; draw its one manifold")
    conditions, names = conditions_to_show(vae, x, _GRIDS)
    image_grids = []
    for condition, name in zip(conditions, names, strict=True):
        given = vae.given(condition)
        if plane is None:
            grid = manifold_image_grid(given, manifold_grid(given, steps, dims=dims), dims)
        else:
            grid = plane_image_grid(given, plane, steps)
        grid.title, grid.x_label, grid.y_label = name, "", ""
        image_grids.append(grid)
    return lay_out(image_grids, int(np.ceil(np.sqrt(len(image_grids)))), title=titled(vae, title))

"""Sheets of conditional models: samples, grids and analogies of several labels or vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from elboroom.canvas import evenly, seeded
from elboroom.conditions import Condition, Examples, apart
from elboroom.errors import UsageError
from elboroom.model import VAE, Array
from elboroom.pictures import manifold_grid, manifold_plate
from elboroom.plates import Plate, as_images, lay_out, stack
from elboroom.sheets import wrapped

_LABELS, _PLATES = 20, 12  # most labels in a sheet, and plates side by side


def conditions_to_show(vae: VAE, x: Array, most: int) -> tuple[list[Condition], list[str]]:
    """Conditions of a conditional model to draw it by, with names: its labels, or some examples' vectors."""
    assert vae.condition is not None
    if vae.condition.kind == "labels":
        labels = evenly(vae.condition.size, most).tolist()
        return labels, [vae.condition.name_of(label) for label in labels]
    assert isinstance(x, Examples)
    chosen = evenly(len(x), most)
    return list(x.condition[chosen]), [f"as example {i}" for i in chosen]


def given_plate(
    vae: VAE, conditions: Sequence[Condition], names: Sequence[str], n: int = 10, seed: int = 0
) -> Plate:
    """Samples of a conditional model, a row of n for each condition, from the same noise in each row.

    Parameters
    ----------
    vae : VAE
        Conditional.
    conditions : sequence
        Labels or vectors.
    names : sequence of str
        To write beside the rows.
    n : int
        Samples in a row.
    seed : int
        The same seed draws the same samples; the caller's random state is left alone.
    """
    drawn = []
    for condition in conditions:
        with seeded(vae, seed):
            drawn.append(vae.sample(n, condition=condition))
    return Plate(as_images(torch.cat(drawn)), n, row_labels=[wrapped(name) for name in names], gap=3)


def analogies(vae: VAE, x: Array, n: int = 8) -> Figure:
    """Draw examples with every label in turn, all else being equal (arXiv:1406.5298 fig. 1b).

    Parameters
    ----------
    vae : VAE
        Conditional on labels.
    x : Examples
        Of which n are taken evenly, a row each: the example, and what its code, carried to each label
        (:meth:`VAE.carried`), decodes to given that label.
    n : int
        Rows.

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
    images = as_images(torch.stack(columns, 1).flatten(0, 1))
    return stack(Plate(images, len(columns), captions=["original", *map(wrapped, names)]))


def manifolds(vae: VAE, x: Array, *, steps: int = 8, dims: Sequence[int] = (0, 1)) -> Figure:
    """Draw what codes on a grid decode to given each label, or vectors of some examples x: a plate each.

    Raises
    ------
    UsageError
        If the model is not conditional.
    """
    if vae.condition is None:
        raise UsageError("this model takes no condition; draw its one manifold")
    conditions, names = conditions_to_show(vae, x, _PLATES)
    plates = []
    for condition, name in zip(conditions, names, strict=True):
        given = vae.given(condition)
        plate = manifold_plate(given, manifold_grid(given, steps, dims=dims), dims)
        plate.title, plate.x_label, plate.y_label = name, "", ""
        plates.append(plate)
    return lay_out(plates, int(np.ceil(np.sqrt(len(plates)))))

"""The table of the standard figures: a row each.

To add one, write a function that draws it from a :class:`~elboroom.figures.scene.Scene` and a title, and
add a row to ``STANDARD_FIGURES``. The names, the choices of ``elboroom figures --only``, the list in the
documentation and the tests follow from the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from elboroom.figures import by_class, columns, conditional, grids, images, latent_maps, morphs, plots
from elboroom.figures.grids import ImageGrid
from elboroom.figures.scene import STEPS, Scene, directions_of
from elboroom.figures.traversals import by_channel
from elboroom.latent import arrays
from elboroom.latent.arrays import evenly
from elboroom.latent.planes import plane_between
from elboroom.models.conditioning import Examples, apart, together

_MOST_CLASSES = 20  # rows of a figure by class
_SAMPLES = 64


def _always(_scene: Scene) -> bool:
    """True: the figure needs nothing in particular."""
    return True


@dataclass(frozen=True)
class StandardFigure:
    """A row: one figure of the standard set.

    Attributes
    ----------
    name : str
        Its file without ``.png``, and its name for ``--only``.
    shows : str
        What it shows, a sentence for the documentation.
    draw : callable
        From the scene and the title to the figure.
    title : str
        May hold ``{examples}``, ``{Examples}``, ``{count}``, ``{codes}``, ``{given}``, ``{prior}``; empty if
        ``draw`` writes its own.
    applies : callable, optional
        Whether a scene has what the figure needs; always if not given.
    needs : str
        What that is, for a message.
    on_demand : bool
        Drawn only if asked for by name.
    """

    name: str
    shows: str
    draw: Callable[[Scene, str], Figure]
    title: str = ""
    applies: Callable[[Scene], bool] = _always
    needs: str = ""
    on_demand: bool = False

    def __call__(self, scene: Scene) -> Figure:
        """Draw it."""
        return self.draw(scene, scene.titled(self.title))


def _latent(scene: Scene, title: str, **overlay: Any) -> Figure:
    known = (scene.vae, scene.x, scene.labels, scene.data.label_names)
    return latent_maps.latent_scatter(*known, reference=scene.reference, title=title, **overlay)


def _manifold(scene: Scene, title: str) -> Figure:
    """Decode codes on a grid; with a conditional model and no condition, on a grid for each of several."""
    one = scene.vae.condition is None or scene.condition is not None
    if scene.plane is None:
        title = f"Decoded codes on a grid over the {scene.prior} (from its 2 % to its 98 % quantiles)"
    else:
        title = (
            f"Decoded codes in the plane through the mean code of the {scene.noun}, along the two principal "
            "directions"
        )
        title += "" if one else " from −2 to 2 standard deviations"
    if scene.of_table:
        title += scene.given
        return columns.map_of_columns(scene.conditioned, scene.grid, *scene.directions, title)
    if one:
        steps = 20 if scene.plane is None else 15
        return images.manifold(scene.conditioned, steps, plane=scene.plane, title=f"{title}{scene.given}")
    return conditional.manifolds(
        scene.vae, scene.x, plane=scene.plane, title=f"{title}, given each condition"
    )


def _samples(scene: Scene, title: str) -> Figure:
    """Draw from the prior; with a conditional model and no condition, given each of several."""
    vae = scene.vae
    if scene.of_table:
        source = "each given the condition of one of them" if scene.given else f"drawn from the {scene.prior}"
        return columns.sampled_columns(vae, scene.x, f"Columns of the {scene.noun} and of rows {source}")
    if vae.condition is None or scene.condition is not None:
        return images.samples(scene.conditioned, title=title)
    if isinstance(scene.x, Examples) and scene.by_label:  # samples_by_class has a row for each label
        labels = scene.x.condition[evenly(len(scene.x), _SAMPLES)]
        with arrays.seeded(vae, 0):
            drawn = vae.sample(len(labels), condition=labels)
        grid = ImageGrid(grids.images_of(vae, drawn), 8)
        title = f"Samples, each given the class of one of the {scene.noun}"
    else:
        grid = conditional.conditional_grid(vae, *scene.conditions)
        title = conditional.GIVEN_EACH.replace("class", "condition")
    return grids.stack(grid, title=grids.titled(vae, title))


def _manifold_around(scene: Scene, title: str) -> Figure:
    """Decode the square around the middle of the morph that holds both of its endpoints."""
    start = scene.endpoints[0]
    vae, row = scene.vae, ", which runs along the middle row"
    if isinstance(start, Examples):
        vae, row = vae.given(start.condition), ", given the condition of the first"
    if vae.latent_dim > 2:
        plane = plane_between(vae, scene.path[0], scene.path[-1], apart(scene.x)[0])
        if scene.of_table:
            grid = plane.grid(vae)
            across, up = (np.linspace(-tick, tick, len(grid)) for tick in plane.ticks)
            names = ("from start (−1) to end (1)", "orthogonal (sd)")
            return columns.map_of_columns(vae, grid, names, (across, up), title + row)
        return images.manifold(vae, 15, plane=plane, title=title + row)
    row = row if isinstance(start, Examples) else ""
    radius = max(float((scene.path[-1] - scene.path[0]).abs().max()) / 2, 1e-3)
    if scene.of_table:
        grid = images.manifold_grid(vae, center=scene.path.mean(0), radius=radius)
        return columns.map_of_columns(vae, grid, *directions_of(grid), title)
    return images.manifold(vae, center=scene.path.mean(0), radius=radius, title=title + row)


def _traversals(scene: Scene, title: str) -> Figure:
    if scene.of_table:
        title = "Traversals: each line varies one latent dimension around the mean code of the "
        title = f"{title}{scene.noun}{scene.given}"
        return columns.traversed_columns(scene.conditioned, scene.x_given, title=title)
    if by_channel(scene.conditioned):
        title = title.replace("varies one latent dimension", "moves one channel at all places")
    return images.traversals(scene.conditioned, scene.x_given, title=title)


def _reconstructions(scene: Scene, title: str) -> Figure:
    if scene.of_table:
        title += "; of categories, the share of each observed one"
        return columns.reconstructed_columns(scene.vae, scene.x, title)
    return images.reconstructions(scene.vae, scene.x[evenly(len(scene.x), 10)], title=title)


def _umap(scene: Scene, title: str) -> Figure:
    known = (scene.vae, scene.x, scene.labels, scene.data.label_names)
    return by_class.latent_umap(*known, title=title)


def _friends(scene: Scene, _title: str) -> Figure:
    return by_class.friends(scene.vae, together(list(scene.marks.values())), list(scene.marks))


def _reconstructions_by_class(scene: Scene, _title: str) -> Figure:
    return by_class.reconstructions_by_class(scene.vae, scene.data, part=scene.part)


def _transformation(scene: Scene, _title: str) -> Figure:
    return by_class.transformation(scene.vae, scene.data, *scene.classes[:2], part=scene.part)


def _has_classes(scene: Scene) -> bool:
    return 1 < len(scene.classes) <= _MOST_CLASSES


def _one_prior(scene: Scene) -> bool:
    condition = scene.vae.condition
    return condition is None or "prior" not in condition.parts or scene.condition is not None


_CODES = "{codes} of {count} {examples}"
_CLASSES = f"labels of 2 to {_MOST_CLASSES} classes"

STANDARD_FIGURES = (
    StandardFigure(
        "loss",
        "ELBO, distortion, rate, β and learning rate over the epochs.",
        lambda scene, _: plots.loss_curves(scene.history),
        applies=lambda scene: bool(scene.history),
        needs="a training history",
    ),
    StandardFigure(
        "reconstructions",
        "Ten examples above their reconstructions; of a table, reconstructed against observed cells.",
        _reconstructions,
        "{Examples} and their reconstructions",
    ),
    StandardFigure("latent", "Map of the codes, coloured by label.", _latent, _CODES),
    StandardFigure(
        "latent_path",
        "The same map, with the path of the morph.",
        lambda scene, title: _latent(scene, title, path=scene.path),
        f"{_CODES}, with the path of the morph",
    ),
    StandardFigure(
        "latent_grid",
        "The same map, with the codes that `manifold` decodes.",
        lambda scene, title: _latent(scene, title, grid=scene.grid),
        f"{_CODES}, with the grid that manifold.png decodes",
        applies=_one_prior,
        needs="one prior for all examples, or a condition",
    ),
    StandardFigure(
        "manifold",
        "Decoded codes on a grid over the prior; with more than two latent dimensions, in the plane of the "
        "codes' principal directions; of a conditional model, a grid for each condition.",
        _manifold,
    ),
    StandardFigure(
        "manifold_around",
        "Decoded codes in the square around the morph.",
        _manifold_around,
        "Decoded codes around the morph between two {examples}",
    ),
    StandardFigure(
        "morph",
        "Two well reconstructed examples, of different labels if there are labels, and the decoded codes "
        "between them; `morph.gif` is the same as an animation.",
        lambda scene, title: morphs.morph_strip(scene.vae, *scene.endpoints, steps=STEPS, title=title),
        "From one of the {examples} (framed) to another: decoded codes along the straight line",
    ),
    StandardFigure(
        "traversals",
        "Decoded codes that differ in one latent dimension, a row for each dimension.",
        _traversals,
        "Traversals: each row varies one latent dimension around the mean code of the {examples} "
        "(±: standard deviation of their codes){given}",
    ),
    StandardFigure(
        "samples",
        "Decoded draws from the prior; of a table, the columns of the data and of draws.",
        _samples,
        "Samples: decoded draws from the {prior}{given}",
    ),
    StandardFigure(
        "analogies",
        "Examples and their codes decoded with each label.",
        lambda scene, title: conditional.analogies(scene.vae, scene.x, title=title),
        "{Examples} and their codes decoded given each class",
        applies=lambda scene: scene.by_label,
        needs="a model conditional on labels",
    ),
    StandardFigure(
        "loss_histogram",
        "Histogram of the −ELBO of the examples, with the marked images.",
        lambda scene, _: plots.loss_histogram(scene.vae, scene.x, scene.marks, noun=scene.noun),
    ),
    StandardFigure(
        "best_and_worst",
        "The examples with the lowest and the highest −ELBO, and their reconstructions.",
        lambda scene, _: images.best_and_worst(scene.vae, scene.x, noun=scene.noun),
    ),
    StandardFigure(
        "examples_by_class",
        "Training examples, a row for each class.",
        lambda scene, _: by_class.examples_by_class(scene.data, vae=scene.vae),
        applies=_has_classes,
        needs=_CLASSES,
    ),
    StandardFigure(
        "samples_by_class",
        "Samples, a row for each class: given that class, or else sorted by the nearest training codes.",
        lambda scene, _: conditional.samples_by_class(scene.vae, scene.data),
        applies=lambda scene: _has_classes(scene) and (scene.vae.condition is None or scene.by_label),
        needs=f"{_CLASSES}, and a model that is unconditional or conditional on labels",
    ),
    StandardFigure(
        "reconstructions_by_class",
        "Examples above their reconstructions, for each class.",
        _reconstructions_by_class,
        applies=_has_classes,
        needs=_CLASSES,
    ),
    StandardFigure(
        "transformation",
        "Of data with two classes, morphs from examples of one to examples of the other.",
        _transformation,
        applies=lambda scene: len(scene.classes) == 2,
        needs="labels of two classes",
    ),
    StandardFigure(
        "friends",
        "The marked images beside their reconstructions, with their loss.",
        _friends,
        applies=lambda scene: bool(scene.marks),
        needs="images to mark",
    ),
    StandardFigure(
        "umap",
        "Map of the codes by UMAP; slow, and needs `pip install 'elboroom[umap]'`.",
        _umap,
        "Codes of {count} {examples} in two dimensions, by UMAP",
        on_demand=True,
    ),
)
"""All standard figures, in the order in which they are drawn."""

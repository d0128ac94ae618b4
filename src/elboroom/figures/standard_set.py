"""The standard set of figures, written into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from elboroom.errors import UsageError, is_lack, nearest
from elboroom.evaluation.examples import examples_of
from elboroom.evaluation.neighbours import embed_rows
from elboroom.figures import by_class, conditional, grids, images, latent_maps, morphs, plots, style
from elboroom.figures.choices import morph_ends
from elboroom.figures.grids import ImageGrid
from elboroom.figures.progress import draw_progress as draw_progress
from elboroom.io.files import write_atomic
from elboroom.latent import arrays
from elboroom.latent.arrays import Numbers, evenly
from elboroom.latent.planes import Plane, plane_between, principal_plane
from elboroom.models.conditioning import Condition, Examples, apart, together
from elboroom.models.vae import VAE, Array

if TYPE_CHECKING:
    from elboroom.data.dataset import Dataset

_EXAMPLES = 10_000  # most that are embedded or scored
_CANDIDATES = 1000  # most among which the ends of the morph are chosen
_KINDS = 20  # most rows of a figure by class
_SAMPLES = 64
_TOLD = 10  # most conditions that samples are drawn by
_STEPS, _FRAMES = 25, 32  # of the morph as a strip and as an animation
_REFERENCE = 5000  # most training examples that say which directions part the classes


class _Scene:
    """What several of the figures share, worked out once."""

    def __init__(
        self,
        vae: VAE,
        data: Dataset,
        history: Sequence[Mapping[str, Any]],
        marks: Mapping[str, Array] | None,
        condition: Condition | None = None,
    ):
        self.vae, self.data, self.history, self.condition = vae, data, history, condition
        self.part: Literal["test", "all"] = "test" if len(data.indices("test")) else "all"
        self.marks = marks or {}
        self.rows = data.indices(self.part)
        self.rows = self.rows[evenly(len(self.rows), _EXAMPLES)]

    @cached_property
    def x(self) -> Array:
        """The examples, (n, *shape) in model units, with their conditions if the model takes some."""
        return examples_of(self.vae, self.data, self.rows)

    @cached_property
    def fixed(self) -> VAE:
        """The model; a conditional one given the condition asked for, or the first example's."""
        if not isinstance(self.x, Examples):
            return self.vae
        return self.vae.given(self.x.condition[0] if self.condition is None else self.condition)

    @property
    def given(self) -> str:
        """What titles say of the condition of ``fixed``."""
        if not isinstance(self.x, Examples):
            return ""
        condition = self.x.condition[0] if self.condition is None else self.condition
        return f", given {conditional.name_of(self.vae, condition)}"

    @cached_property
    def alike(self) -> Array:
        """Examples with the condition of ``fixed``, or all where none is like it."""
        if not isinstance(self.x, Examples):
            return self.x
        own = self.vae.condition_vectors(self.x.condition, len(self.x))
        given = self.vae.condition_vectors(
            self.x.condition[:1] if self.condition is None else self.condition, 1
        )
        assert own is not None
        assert given is not None
        same = (own == given).all(1).cpu().numpy()
        return apart(self.x)[0][same] if same.any() else apart(self.x)[0]

    @cached_property
    def labels(self) -> Numbers | None:
        """Their labels, (n,)."""
        return None if self.data.labels is None else np.asarray(self.data.labels)[self.rows]

    @cached_property
    def kinds(self) -> list[int]:
        """Labels that occur, ascending."""
        return [] if self.labels is None else np.unique(self.labels).tolist()

    @property
    def whose(self) -> str:
        """What titles call the examples."""
        return by_class.whose(self.part)

    @cached_property
    def plane(self) -> Plane | None:
        """Of more than two latent dimensions, the plane in which the codes vary most."""
        return principal_plane(self.vae, self.x) if self.vae.latent_dim > 2 else None

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """Two examples worth morphing into each other."""
        chosen = evenly(len(self.x), _CANDIDATES)
        labels = None if self.labels is None else self.labels[chosen]
        a, b = morph_ends(self.vae, self.x[chosen], labels)
        return self.x[chosen[a]], self.x[chosen[b]]

    @cached_property
    def path(self) -> Tensor:
        """Codes of the morph, (steps, d)."""
        first, last = self.vae.embed(together(self.ends))
        return torch.lerp(first, last, torch.linspace(0, 1, _STEPS).to(first)[:, None])

    def grid(self) -> Tensor:
        """Codes over the prior, or in the plane that matters most."""
        return images.manifold_grid(self.fixed) if self.plane is None else self.plane.grid(self.fixed)

    def manifold(self) -> Figure:
        """Decode that grid; of a conditional model given each of several conditions, if none is asked for."""
        title = "What codes decode to, on a grid over the prior (from its 2 % to its 98 % quantiles)"
        if self.plane is not None:
            title = f"What codes decode to in the plane through the mean code of the {self.whose}"
        if self.vae.condition is None or self.condition is not None:
            return images.manifold(
                self.fixed, 20 if self.plane is None else 15, plane=self.plane, title=title
            )
        if self.plane is not None:
            title += ", along their principal directions from −2 to 2 standard deviations"
        return conditional.manifolds(
            self.vae, self.x, plane=self.plane, title=f"{title}, given each condition"
        )

    def samples(self) -> Figure:
        """Draw from the prior; of a conditional model a row for each of several conditions."""
        if self.vae.condition is None or self.condition is not None:
            return images.samples(self.fixed, title=f"Samples: decoded draws from the prior{self.given}")
        if isinstance(self.x, Examples) and _by_label(self.vae):  # those by class have a figure of their own
            classes = self.x.condition[evenly(len(self.x), _SAMPLES)]
            with arrays.seeded(self.vae, 0):
                drawn = self.vae.sample(len(classes), condition=classes)
            grid = ImageGrid(grids.images_of(self.vae, drawn), 8)
            title = f"Samples, each given the class of one of the {self.whose}"
            return grids.stack(grid, title=grids.titled(self.vae, title))
        grid = conditional.conditional_grid(self.vae, *self.told)
        title = conditional.GIVEN_EACH.replace("class", "condition")
        return grids.stack(grid, title=grids.titled(self.vae, title))

    @cached_property
    def told(self) -> tuple[list[Condition], list[str]]:
        """Conditions to draw samples by, with their names."""
        return conditional.conditions_to_show(self.vae, self.x, _TOLD)

    def around(self) -> Figure:
        """Decode the square around the middle of the morph that holds both of its ends."""
        start = self.ends[0]
        vae = self.vae.given(start.condition) if isinstance(start, Examples) else self.vae
        title = f"What codes decode to around the morph between two {self.whose}"
        row = ", which is the row in the middle"
        if isinstance(start, Examples):
            row, title = "", f"{title}, given the condition of the first"
        if vae.latent_dim > 2:
            plane = plane_between(vae, self.path[0], self.path[-1], apart(self.x)[0])
            return images.manifold(vae, 15, plane=plane, title=title + row)
        radius = max(float((self.path[-1] - self.path[0]).abs().max()) / 2, 1e-3)
        return images.manifold(vae, center=self.path.mean(0), radius=radius, title=title)

    @cached_property
    def reference(self) -> tuple[Array, Array] | None:
        """Codes and labels of training examples, to find what parts the classes."""
        if self.data.labels is None or self.vae.latent_dim < 3:
            return None
        rows = self.data.indices("train")
        rows = rows[evenly(len(rows), _REFERENCE)]
        return embed_rows(self.vae, self.data, rows), np.asarray(self.data.labels)[rows]

    def latent(self, more: str = "", path: Tensor | None = None, grid: Tensor | None = None) -> Figure:
        """Map the codes, with something drawn over them."""
        title = f"Codes (posterior means) of {len(self.x):,} {self.whose}{more}"
        known = (self.vae, self.x, self.labels, self.data.label_names)
        return latent_maps.latent_scatter(*known, path=path, grid=grid, reference=self.reference, title=title)

    def umap(self) -> Figure:
        """Map the codes by UMAP."""
        title = f"Codes of {len(self.x):,} {self.whose}, in two dimensions by UMAP"
        return by_class.latent_umap(self.vae, self.x, self.labels, self.data.label_names, title=title)

    def reconstructions(self) -> Figure:
        """Rebuild a few examples."""
        title = f"{self.whose.capitalize()} and their reconstructions"
        return images.reconstructions(self.vae, self.x[evenly(len(self.x), 10)], title=title)

    def morph(self) -> Figure:
        """Join the two ends."""
        title = f"From one of the {self.whose} (framed) to another: decoded codes on the straight line"
        return morphs.morph_strip(self.vae, *self.ends, steps=_STEPS, title=title)

    def traversals(self) -> Figure:
        """Change one dimension at a time."""
        title = (
            f"What changes when one latent dimension does, around the mean code of the {self.whose} "
            f"(±: standard deviation of their codes){self.given}"
        )
        return images.traversals(self.fixed, self.alike, title=title)


_FIGURES: dict[str, Callable[[_Scene], Figure]] = {
    "loss": lambda s: plots.loss_curves(s.history),
    "reconstructions": _Scene.reconstructions,
    "latent": lambda s: s.latent(),
    "latent_path": lambda s: s.latent(", with the path of the morph", path=s.path),
    "latent_grid": lambda s: s.latent(", with the grid that manifold.png decodes", grid=s.grid()),
    "manifold": _Scene.manifold,
    "manifold_around": _Scene.around,
    "morph": _Scene.morph,
    "traversals": _Scene.traversals,
    "samples": _Scene.samples,
    "analogies": lambda s: conditional.analogies(
        s.vae, s.x, title=f"{s.whose.capitalize()}, and what their codes decode to given each class"
    ),
    "loss_histogram": lambda s: plots.loss_histogram(s.vae, s.x, s.marks, whose=s.whose),
    "best_and_worst": lambda s: images.best_and_worst(s.vae, s.x, whose=s.whose),
    "examples_by_class": lambda s: by_class.examples_by_class(s.data, vae=s.vae),
    "samples_by_class": lambda s: conditional.samples_by_class(s.vae, s.data),
    "reconstructions_by_class": lambda s: by_class.reconstructions_by_class(s.vae, s.data, part=s.part),
    "transformation": lambda s: by_class.transformation(s.vae, s.data, *s.kinds[:2], part=s.part),
    "friends": lambda s: by_class.friends(s.vae, together(list(s.marks.values())), list(s.marks)),
    "umap": _Scene.umap,
}
FIGURE_NAMES = tuple(_FIGURES)

# Figures that not every run has something for, and what it takes.
_NEEDS: dict[str, tuple[Callable[[_Scene], bool], str]] = {
    "loss": (lambda s: bool(s.history), "a history of training"),
    "latent_grid": (lambda s: _one_prior(s.vae) or s.condition is not None, "one prior for all, or --label"),
    "analogies": (lambda s: _by_label(s.vae), "a model that is conditional on labels"),
    "examples_by_class": (lambda s: 1 < len(s.kinds) <= _KINDS, "labels of 2 to 20 kinds"),
    "samples_by_class": (
        lambda s: 1 < len(s.kinds) <= _KINDS and (s.vae.condition is None or _by_label(s.vae)),
        "labels of 2 to 20 kinds, and a model that is conditional on nothing else",
    ),
    "reconstructions_by_class": (lambda s: 1 < len(s.kinds) <= _KINDS, "labels of 2 to 20 kinds"),
    "transformation": (lambda s: len(s.kinds) == 2, "labels of two kinds"),
    "friends": (lambda s: bool(s.marks), "images to mark"),
}
_ON_DEMAND = {"umap"}  # slow, and of an extra


def _one_prior(vae: VAE) -> bool:
    return vae.condition is None or "prior" not in vae.condition.parts


def _by_label(vae: VAE) -> bool:
    return vae.condition is not None and vae.condition.kind == "labels"


def draw_all(
    vae: VAE,
    data: Dataset,
    history: Sequence[Mapping[str, Any]],
    out_dir: str | os.PathLike[str],
    *,
    marks: Mapping[str, Array] | None = None,
    only: Iterable[str] | None = None,
    condition: Condition | None = None,
    place: Callable[[Sequence[Path]], Sequence[Path]] | None = None,
    on_lack: Callable[[Path, Exception], None] | None = None,
) -> list[Path]:
    """Write the standard figures of a trained model into a folder.

    They are ``loss reconstructions latent latent_path latent_grid manifold manifold_around morph traversals
    samples loss_histogram best_and_worst``, each ``.png``, and ``morph.gif``; of labelled data also
    ``examples_by_class samples_by_class reconstructions_by_class`` and, of two kinds, ``transformation``;
    with ``marks`` ``friends``; and only when asked for ``umap``. They show test examples if there are any,
    else all; ``examples_by_class`` shows training examples. Each has a title that says what it shows. The
    morph joins two well reconstructed examples, of different labels if there are labels; ``latent_path``
    shows its way, and ``manifold_around`` the square that holds it. Of more than two latent dimensions
    ``manifold`` shows the plane along the principal directions of the codes. Of a conditional model
    ``samples`` and ``manifold`` show several conditions, and ``analogies`` examples with each label in turn.

    Parameters
    ----------
    vae : VAE
        The model; its random state and mode are left as they were.
    data : Dataset
        Of more than 10,000 examples, that many evenly taken ones are shown.
    history : sequence of mappings
        One per epoch; if there are none, ``loss`` is left out.
    out_dir : path
        Made if it is not there. Each file is written whole or not at all.
    marks : mapping of str to array, optional
        Named examples (*shape) to point out in ``loss_histogram`` and to rebuild in ``friends``.
    only : iterable of str, optional
        Names of the figures to write; ``morph`` stands for the strip and the animation.
    condition : int, str or array, optional
        Of a conditional model: draw samples, manifolds and traversals given this one alone; if not given,
        traversals and ``latent_grid`` have the first example's.
    place : callable, optional
        From the files to be written to those to write instead, such as numbered ones; files that are there
        are replaced if not given.
    on_lack : callable, optional
        Called with a file for which there was no room on the disk or in memory, and the error; the others
        are drawn all the same. If not given, the error is raised.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    UsageError
        If ``only`` holds an unknown name; the nearest is offered. Or a figure there is nothing for.
    FailureError
        If a file cannot be written.
    """
    scene = _Scene(vae, data, history, marks, condition)
    names = [f"{name}.png" for name in _chosen(scene, only)]
    files = [file for name in names for file in ((name, "morph.gif") if name == "morph.png" else (name,))]
    paths = [Path(out_dir) / file for file in files]
    places = list(paths if place is None else place(paths))
    written = []
    for file, path in zip(files, places, strict=True):
        try:
            _write(scene, file, path)
            written.append(path)
        except Exception as error:
            if on_lack is None or not is_lack(error):
                raise
            on_lack(path, error)
    return written


def _write(scene: _Scene, file: str, path: Path) -> None:
    if file == "morph.gif":
        morphs.save_gif(morphs.morph_frames(scene.vae, *scene.ends, steps=_FRAMES), path)
    else:
        write_atomic(path, style.to_png(_FIGURES[Path(file).stem](scene)))


def _chosen(scene: _Scene, only: Iterable[str] | None) -> list[str]:
    """The figures asked for, or all that there is something for."""

    def fits(name: str) -> bool:
        return name not in _NEEDS or _NEEDS[name][0](scene)

    if only is None:
        return [name for name in _FIGURES if fits(name) and name not in _ON_DEMAND]
    names = list(dict.fromkeys(only))
    for name in names:
        if name not in _FIGURES:
            raise UsageError(f"unknown figure {name!r}; {nearest(name, _FIGURES)}")
        if not fits(name):
            raise UsageError(f"figure {name!r} needs {_NEEDS[name][1]}, and this run has none; leave it out")
    return names

"""The standard set of figures, written into a folder; and a quick one to watch while a model learns."""

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

from elboroom import canvas, conditional_sheets, figures, latent_map, morphs, pictures, plates, sheets
from elboroom.canvas import Numbers, evenly, numbers
from elboroom.conditions import Condition, Examples, apart, together
from elboroom.errors import UsageError, nearest
from elboroom.evaluation.examples import examples_of
from elboroom.files import write_atomic
from elboroom.model import VAE, Array
from elboroom.plates import Plate

if TYPE_CHECKING:
    from elboroom.data.dataset import Dataset

_EXAMPLES = 10_000  # most that are embedded or scored
_CANDIDATES = 1000  # most among which the ends of the morph are chosen
_KINDS = 20  # most rows of a figure by class
_TOLD = 10  # most conditions that samples are drawn by
_STEPS, _FRAMES = 25, 32  # of the morph as a strip and as an animation


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

    @cached_property
    def alike(self) -> Array:
        """Examples with the condition of ``fixed``, or all where none is like it."""
        if not isinstance(self.x, Examples):
            return self.x
        own = self.vae.told(self.x.condition, len(self.x))
        given = self.vae.told(self.x.condition[:1] if self.condition is None else self.condition, 1)
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

    @cached_property
    def dims(self) -> list[int]:
        """The two latent dimensions whose codes vary most, in ascending order."""
        spread = canvas.codes_of(self.vae, self.x).std(0)
        return sorted(np.argsort(-spread, kind="stable")[:2].tolist())

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """Two examples worth morphing into each other."""
        chosen = evenly(len(self.x), _CANDIDATES)
        labels = None if self.labels is None else self.labels[chosen]
        a, b = _ends(self.vae, self.x[chosen], labels)
        return self.x[chosen[a]], self.x[chosen[b]]

    @cached_property
    def path(self) -> Tensor:
        """Codes of the morph, (steps, d)."""
        first, last = self.vae.embed(together(self.ends))
        return torch.lerp(first, last, torch.linspace(0, 1, _STEPS).to(first)[:, None])

    def grid(self) -> Tensor:
        """Codes over the prior in the two dimensions that matter most."""
        return pictures.manifold_grid(self.fixed, dims=self.dims)

    def manifold(self) -> Figure:
        """Decode that grid; of a conditional model given each of several conditions, if none is asked for."""
        if self.vae.condition is None or self.condition is not None:
            return pictures.manifold(self.fixed, dims=self.dims)
        return conditional_sheets.manifolds(self.vae, self.x, dims=self.dims)

    def samples(self) -> Figure:
        """Draw from the prior; of a conditional model a row for each of several conditions."""
        if self.vae.condition is None or self.condition is not None:
            return pictures.samples(self.fixed)
        return plates.stack(conditional_sheets.given_plate(self.vae, *self.told))

    @cached_property
    def told(self) -> tuple[list[Condition], list[str]]:
        """Conditions to draw samples by, with their names."""
        return conditional_sheets.conditions_to_show(self.vae, self.x, _TOLD)

    def around(self) -> Figure:
        """Decode the square around the middle of the morph that holds both of its ends."""
        across = (self.path[-1] - self.path[0]).abs()
        dims = sorted(across.argsort(descending=True, stable=True)[:2].tolist())
        radius = max(float(across.max()) / 2, 1e-3)
        start = self.ends[0]
        vae = self.vae.given(start.condition) if isinstance(start, Examples) else self.vae
        return pictures.manifold(vae, center=self.path.mean(0), radius=radius, dims=dims)

    def latent(self, **overlay: Tensor) -> Figure:
        """Map the codes, with something drawn over them."""
        return latent_map.latent_scatter(self.vae, self.x, self.labels, self.data.label_names, **overlay)


_FIGURES: dict[str, Callable[[_Scene], Figure]] = {
    "loss": lambda s: figures.loss_curves(s.history),
    "reconstructions": lambda s: pictures.reconstructions(s.vae, s.x[evenly(len(s.x), 10)]),
    "latent": lambda s: s.latent(),
    "latent_path": lambda s: s.latent(path=s.path),
    "latent_grid": lambda s: s.latent(grid=s.grid()),
    "manifold": _Scene.manifold,
    "manifold_around": _Scene.around,
    "morph": lambda s: morphs.morph_strip(s.vae, *s.ends, steps=_STEPS),
    "traversals": lambda s: pictures.traversals(s.fixed, s.alike),
    "samples": _Scene.samples,
    "analogies": lambda s: conditional_sheets.analogies(s.vae, s.x),
    "loss_histogram": lambda s: figures.loss_histogram(s.vae, s.x, s.marks),
    "best_and_worst": lambda s: pictures.best_and_worst(s.vae, s.x),
    "samples_by_class": lambda s: sheets.samples_by_class(s.data),
    "reconstructions_by_class": lambda s: sheets.reconstructions_by_class(s.vae, s.data, part=s.part),
    "transformation": lambda s: sheets.transformation(s.vae, s.data, *s.kinds[:2], part=s.part),
    "friends": lambda s: sheets.friends(s.vae, together(list(s.marks.values())), list(s.marks)),
    "umap": lambda s: sheets.latent_umap(s.vae, s.x, s.labels, s.data.label_names),
}

# Figures that not every run has something for, and what it takes.
_NEEDS: dict[str, tuple[Callable[[_Scene], bool], str]] = {
    "loss": (lambda s: bool(s.history), "a history of training"),
    "latent_grid": (lambda s: _one_prior(s.vae) or s.condition is not None, "one prior for all, or --label"),
    "analogies": (lambda s: _by_label(s.vae), "a model that is conditional on labels"),
    "samples_by_class": (lambda s: 1 < len(s.kinds) <= _KINDS, "labels of 2 to 20 kinds"),
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
) -> list[Path]:
    """Write the standard figures of a trained model into a folder.

    They are ``loss reconstructions latent latent_path latent_grid manifold manifold_around morph traversals
    samples loss_histogram best_and_worst``, each ``.png``, and ``morph.gif``; of labelled data also
    ``samples_by_class reconstructions_by_class`` and, of two kinds, ``transformation``; with ``marks``
    ``friends``; and only when asked for ``umap``. They show test examples if there are any, else all. The
    morph joins two well reconstructed examples, of different labels if there are labels; ``latent_path``
    shows its way, and ``manifold_around`` the square that holds it. Of a conditional model ``samples`` and
    ``manifold`` show several conditions, and ``analogies`` examples with each label in turn.

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
    scene, written = _Scene(vae, data, history, marks, condition), []
    for name in _chosen(scene, only):
        written.append(Path(out_dir) / f"{name}.png")
        write_atomic(written[-1], canvas.to_png(_FIGURES[name](scene)))
        if name == "morph":
            written.append(Path(out_dir) / "morph.gif")
            morphs.save_gif(morphs.morph_frames(vae, *scene.ends, steps=_FRAMES), written[-1])
    return written


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


def _ends(vae: VAE, x: Array, labels: Numbers | None) -> tuple[int, int]:
    """Choose two examples: rebuilt well, of different labels if there are labels, and with codes far apart.

    Among the best rebuilt, one per label, the two farthest apart pass the most on their way. What is called
    well rebuilt is measured against an example's own contrast, or the dullest ones would win.
    """
    flat, rebuilt = (numbers(values).reshape(len(x), -1) for values in (x, vae.reconstruct(x)))
    contrast = flat.var(1) if flat.shape[1] > 1 else np.ones(len(flat))
    error = np.square(flat - rebuilt).mean(1) / np.maximum(contrast, 1e-6)
    order = np.argsort(error, kind="stable")
    few = order[: max(2, len(order) // 20)]
    if labels is not None and len(np.unique(labels)) > 1:
        _, first = np.unique(labels[order], return_index=True)
        few = order[np.sort(first)[:100]]
    codes = numbers(vae.embed(x[few]))
    apart = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    a, b = sorted(int(few[i]) for i in np.unravel_index(int(apart.argmax()), apart.shape))
    return a, b


def draw_progress(vae: VAE, data: Dataset, epoch: int, out_dir: str | os.PathLike[str]) -> Path:
    """Draw how far training has come as one picture: reconstructions, the latent map, what codes decode to.

    With two latent dimensions or one, the decoded grid over the prior is shown, else samples, always from
    the same codes; of a conditional model samples of several conditions. It takes about a second.

    Parameters
    ----------
    vae : VAE
        The model under way; its random state and mode are left as they were.
    data : Dataset
        Validation examples are shown if there are any, else test examples, else all.
    epoch : int
        Names the file: ``progress/epoch_0005.png``.
    out_dir : path
        Where the folder ``progress`` is or comes to be.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FailureError
        If the file cannot be written.
    """
    parts = (data.indices(part) for part in ("validation", "test", "all"))
    rows = next(part for part in parts if len(part))
    rows = rows[evenly(len(rows), 2000)]
    x, labels = examples_of(vae, data, rows), None if data.labels is None else np.asarray(data.labels)[rows]
    shown = vae.as_input(x[evenly(len(x), 10)])
    above = pictures.pairs(shown, vae.reconstruct(shown), title=f"Epoch {epoch}")
    if vae.condition is not None:
        below = conditional_sheets.given_plate(
            vae, *conditional_sheets.conditions_to_show(vae, x, _TOLD), n=8
        )
        below.title = "Samples"
    elif vae.latent_dim <= 2:
        below = pictures.manifold_plate(vae, pictures.manifold_grid(vae, 15))
    else:
        with canvas.seeded(vae, 0):
            below = Plate(plates.as_images(vae.sample(64)), 8, gap=2, title="Samples")
    figure = _compose(above, below, canvas.codes_of(vae, x), labels, data.label_names)
    path = Path(out_dir) / "progress" / f"epoch_{epoch:04d}.png"
    write_atomic(path, canvas.to_png(figure))
    return path


def _compose(
    above: Plate, below: Plate, codes: Numbers, labels: Numbers | None, label_names: Sequence[str]
) -> Figure:
    """Lay out one plate above, the map of codes below it, and the other plate right of that."""
    side, left, right = 600, 110, 950
    scale = above.scale(width=right + side - 200)
    head = 55 + above.size(scale)[0] + 60
    figure = canvas.canvas(1600, head + side + 100)
    above.draw(figure, 200, 55, scale)
    axes = canvas.panel(figure, left, head, side, side)
    latent_map.draw_codes(axes, codes, labels, label_names)
    below.draw(figure, right, head, below.scale(width=side, height=side))
    return figure

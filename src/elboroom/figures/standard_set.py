"""Write the standard figures of a trained model into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboroom.errors import UsageError, is_lack, nearest
from elboroom.figures import morphs, style
from elboroom.figures.progress import draw_progress as draw_progress
from elboroom.figures.scene import Scene
from elboroom.figures.standard_figures import STANDARD_FIGURES, StandardFigure
from elboroom.io.files import write_atomic
from elboroom.models.conditioning import Condition
from elboroom.models.vae import VAE, Array

if TYPE_CHECKING:
    from elboroom.data.dataset import Dataset

FIGURE_NAMES = tuple(figure.name for figure in STANDARD_FIGURES)

_FRAMES = 32  # of the animated morph


def draw_all(
    vae: VAE,
    data: Dataset,
    history: Sequence[Mapping[str, Any]],
    out_dir: str | os.PathLike[str],
    *,
    marks: Mapping[str, Array] | None = None,
    only: Iterable[str] | None = None,
    condition: Condition | None = None,
    prior: str = "prior",
    place: Callable[[Sequence[Path]], Sequence[Path]] | None = None,
    on_lack: Callable[[Path, Exception], None] | None = None,
) -> list[Path]:
    """Write the standard figures of a trained model into a folder, each as ``NAME.png``.

    ``STANDARD_FIGURES`` lists them. Each has a title that says what it shows. They show test examples if
    there are any, else all; ``examples_by_class`` shows training examples. Figures that do not apply to the
    model and data are left out. ``morph.gif`` is written beside ``morph.png``.

    Parameters
    ----------
    vae : VAE
        The model; its random state and mode are left as they were.
    data : Dataset
        Of more than 10,000 examples, that many are shown, taken evenly.
    history : sequence of mappings
        One per epoch; if empty, ``loss`` is left out.
    out_dir : path
        Created if missing. Each file is written whole or not at all.
    marks : mapping of str to array, optional
        Named examples (*shape) to mark in ``loss_histogram`` and to reconstruct in ``friends``.
    only : iterable of str, optional
        Names of the figures to write; ``morph`` includes the animation.
    condition : int, str or array, optional
        Of a conditional model: draw samples, manifolds and traversals with this condition alone. If not
        given, traversals and ``latent_grid`` use the first example's.
    prior : str
        What titles call the model's prior, such as "fitted prior".
    place : callable, optional
        From the paths that would be written to those to write instead, such as numbered ones. If not given,
        existing files are replaced.
    on_lack : callable, optional
        Called with a file for which disk or memory did not suffice, and the error; the remaining figures are
        drawn. If not given, the error is raised.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    UsageError
        If ``only`` holds an unknown name, or a figure that does not apply.
    FailureError
        If a file cannot be written.
    """
    scene = Scene(vae, data, history, marks, condition, prior)
    names = [f"{figure.name}.png" for figure in _chosen(scene, only)]
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


def _write(scene: Scene, file: str, path: Path) -> None:
    if file == "morph.gif":
        morphs.save_gif(morphs.morph_frames(scene.vae, *scene.endpoints, steps=_FRAMES), path)
    else:
        (figure,) = (figure for figure in STANDARD_FIGURES if figure.name == Path(file).stem)
        write_atomic(path, style.to_png(figure(scene)))


def _chosen(scene: Scene, only: Iterable[str] | None) -> list[StandardFigure]:
    """The figures asked for, or all that apply."""
    if only is None:
        return [figure for figure in STANDARD_FIGURES if figure.applies(scene) and not figure.on_demand]
    known = {figure.name: figure for figure in STANDARD_FIGURES}
    names = list(dict.fromkeys(only))
    for name in names:
        if name not in known:
            raise UsageError(f"unknown figure {name!r}; {nearest(name, known)}")
        if not known[name].applies(scene):
            raise UsageError(f"figure {name!r} needs {known[name].needs}; leave it out")
    return [known[name] for name in names]

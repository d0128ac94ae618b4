"""The files that verbs write: free names, and pictures and arrays written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from elboroom.cli.console import console, shown
from elboroom.errors import UsageError, nearest
from elboroom.figures.by_class import friends
from elboroom.figures.style import to_png
from elboroom.io.files import write_atomic
from elboroom.models.conditioning import together
from elboroom.models.vae import VAE, Array


def output_file(
    out: Path | None,
    default: Path,
    allowed: tuple[str, ...],
    *,
    overwrite: bool = True,
    option: str = "--out",
) -> Path:
    """Choose the file to write, check its suffix and make its folder; see :func:`free_files`.

    ``option`` is the one that names the file.

    Raises
    ------
    UsageError
        If the suffix is not one of ``allowed``, or ``out`` exists and may not be replaced.
    """
    path = out or default
    if path.suffix.lower() not in allowed:
        hint = nearest(path.suffix, allowed) if path.suffix else f"known: {', '.join(allowed)}"
        raise UsageError(f"{option} {path}: cannot write a {path.suffix or 'file without suffix'}; {hint}")
    path.parent.mkdir(parents=True, exist_ok=True)
    (free,) = free_files([path], named=out is not None, overwrite=overwrite, option=option)
    return free


def free_files(paths: Sequence[Path], *, named: bool, overwrite: bool, option: str = "--out") -> list[Path]:
    """Choose names for files that belong together, replacing existing ones only if asked to.

    Parameters
    ----------
    paths : sequence of Path
        The default names.
    named : bool
        The user chose the names with ``option``: they are refused if one exists. Other names are numbered if
        one exists: morph-2.gif, morph-3.gif.
    overwrite : bool
        Replace existing files.

    Raises
    ------
    UsageError
        If a name that the user chose exists.
    """
    taken = [path for path in paths if path.exists()]
    if overwrite or not taken:
        return list(paths)
    if named:
        raise UsageError(
            f"{option}: {shown(taken[0])} already exists; replace it with --overwrite, or give another "
            f"{option}"
        )
    number = 2
    while any(path.exists() for path in _numbered(paths, number)):
        number += 1
    return _numbered(paths, number)


def _numbered(paths: Sequence[Path], number: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for path in paths]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG and report it."""
    write_atomic(path, to_png(figure))
    wrote(path)


def save_seen(vae: VAE, names: Sequence[str], examples: Sequence[Array], path: Path) -> None:
    """Draw named examples as the model receives them, with their reconstructions."""
    save_figure(friends(vae, together(list(examples)), [Path(name).name for name in names]), path)


def wrote(path: Path) -> None:
    """Report a file that was written."""
    console().print(f"picture  {shown(path)}")


def save_image(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write pixels (h, w, c) as a PNG and report it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
    wrote(path)


def save_array(array: NDArray[Any], path: Path) -> None:
    """Write an array as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(path, buffer.getvalue())

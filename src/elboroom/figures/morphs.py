"""Paths through the latent space as pictures: strips, sheets of several, GIFs and MP4 films."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from elboroom.errors import FailureError, UsageError
from elboroom.figures.columns import morphed_columns
from elboroom.figures.grids import ImageGrid, images_of, resized, stack, tile, titled, to_uint8
from elboroom.io.files import write_atomic
from elboroom.latent.arrays import Numbers, evenly, numbers
from elboroom.latent.paths import linear
from elboroom.models.conditioning import Examples, apart, together
from elboroom.models.vae import VAE, Array

_COLUMNS = 12  # most images in a row
_REST = 10  # how many times longer the first and last frame are shown
_ROUNDS = 3  # how often a film, which cannot loop, runs forwards and backwards
_TIMEOUT = 300  # seconds that ffmpeg may take


@dataclass
class Morph:
    """A path with the examples at its endpoints.

    Attributes
    ----------
    path : Tensor
        Codes (steps, d).
    start, end : array, optional
        The examples (*shape) whose codes are the endpoints, if any.
    name : str
        Label of its row; may have several lines.
    refined : bool
        Whether the first code was optimised (:func:`elboroom.latent.targets.refine`).
    condition : Tensor, optional
        Of a conditional model, the condition of each code, (steps, C).
    """

    path: Tensor
    start: Array | None = None
    end: Array | None = None
    name: str = ""
    refined: bool = False
    condition: Tensor | None = None


_STRIP = "From one example (framed) to another: decoded codes along the straight line"


def morph_strip(vae: VAE, a: Array, b: Array, steps: int = 25, *, title: str = _STRIP) -> Figure:
    """Draw a morph: the examples a and b, framed, and between them decoded codes along the straight line.

    Parameters
    ----------
    vae : VAE
        The model.
    a, b : array
        Examples (*shape); of a conditional model with their conditions, which are interpolated like the
        codes.
    steps : int
        Number of decoded images, including the reconstructions of a and b; long strips continue in further
        rows.
    title : str
        Title of the figure.

    Raises
    ------
    UsageError
        If ``steps`` < 2 or an example does not have the model's shape.
    """
    return strip(vae, between(vae, a, b, steps), title=title)


def strip(vae: VAE, morph: Morph, *, title: str = _STRIP) -> Figure:
    """Draw one path with the examples at its endpoints framed; long strips continue in further rows.

    Of a table, a chart for each column, see `elboroom.figures.columns.morphed_columns`.

    Raises
    ------
    UsageError
        If a code or an example does not have the model's shape.
    """
    if getattr(vae.likelihood, "columns", ()):
        ends = (morph.start, morph.end)
        return morphed_columns(vae, morph.path, ends, morph.condition, title.replace("framed", "dots"))
    images = _tiles(vae, [one for one in _row(vae, morph, reconstructed=False) if one is not None])
    framed = [i for i, one in ((0, morph.start), (len(images) - 1, morph.end)) if one is not None]
    rows = -(-len(images) // _COLUMNS)
    return stack(ImageGrid(images, -(-len(images) // rows), framed=tuple(framed)), title=titled(vae, title))


def sheet(
    vae: VAE,
    morphs: Sequence[Morph],
    steps: int = 9,
    *,
    title: str = "From one example to another: decoded codes along the path",
) -> Figure:
    """Draw several paths, a row each.

    From left to right: the first example; its reconstruction, if the path starts from a refined code; the
    decoded codes; the last example. A cell without an image stays white.

    Parameters
    ----------
    vae : VAE
        The model.
    morphs : sequence of Morph
        At least one, all with the same number of steps.
    steps : int
        Most codes of a path to show, evenly spaced.
    title : str
        Title of the figure.

    Raises
    ------
    UsageError
        If there is no path, or a code or an example does not have the model's shape.
    """
    if not morphs:
        raise UsageError("got 0 morphs to draw; give at least one")
    refined = any(morph.refined for morph in morphs)
    shown = evenly(len(morphs[0].path), steps)
    rows = [_row(vae, _some(morph, torch.from_numpy(shown)), reconstructed=refined) for morph in morphs]
    coded = "refined" if refined else "decoded"
    captions = ["original", *["decoded"] * refined, coded, *[""] * (len(shown) - 2), coded, "original"]
    columns = [i for i in range(len(captions)) if any(row[i] is not None for row in rows)]
    if 0 not in columns:
        captions[1] = ""
    if len(captions) - 1 not in columns:
        captions[-2] = ""
    return stack(
        ImageGrid(
            _tiles(vae, [row[i] for row in rows for i in columns]),
            len(columns),
            row_labels=[morph.name for morph in morphs],
            captions=[captions[i] for i in columns],
        ),
        title=titled(vae, title),
    )


def _some(morph: Morph, steps: Tensor) -> Morph:
    """The path at some of its steps."""
    condition = None if morph.condition is None else morph.condition[steps]
    return replace(morph, path=morph.path[steps], condition=condition)


def _row(vae: VAE, morph: Morph, *, reconstructed: bool) -> list[Array | None]:
    """The cells of a morph's row: examples (*shape), or None."""
    first: list[Array | None] = []
    if reconstructed:
        first = [None] if morph.start is None else [*vae.reconstruct(morph.start[None])]
    return [morph.start, *first, *vae.decode(morph.path, morph.condition).mean, morph.end]


def _tiles(vae: VAE, cells: Sequence[Array | None]) -> Numbers:
    """Images (n, h, w, c) of examples; white in place of None."""
    there = [i for i, one in enumerate(cells) if one is not None]
    shown = [apart(one)[0] for one in cells if one is not None]
    units: Array
    if vae.accepts_missing:  # a decoded count need not be whole, as that of a row must be
        units = np.stack([numbers(one) for one in shown])
    else:
        units = torch.cat([vae.as_input(one[None]) for one in shown])
    images = images_of(vae, units)
    filled = np.ones((len(cells), *images.shape[1:]), np.float32)
    filled[there] = images
    return filled


def between(vae: VAE, a: Array, b: Array, steps: int) -> Morph:
    """Return the straight path between the codes of examples a and b (*shape), with conditions interpolated.

    Raises
    ------
    UsageError
        If ``steps`` < 2 or an example does not have the model's shape.
    """
    if not isinstance(a, Examples):
        start, end = vae.embed(torch.cat([vae.as_input(apart(one)[0][None]) for one in (a, b)]))
        return Morph(linear(start, end, steps), a, b)
    endpoints = together([a, b])
    start, end = vae.embed(endpoints)
    c = vae.condition_vectors(apart(endpoints)[1], 2)
    assert c is not None
    return Morph(linear(start, end, steps), a, b, condition=linear(c[0], c[1], steps))


def morph_frames(vae: VAE, a: Array, b: Array, steps: int = 25) -> Numbers:
    """Decode the straight line between the codes of a and b (*shape) into frames, uint8 (steps, h, w, c).

    Rows of numbers become line charts (steps, h, w, 3).

    Raises
    ------
    UsageError
        If ``steps`` < 2 or an example does not have the model's shape.
    """
    morph = between(vae, a, b, steps)
    return path_frames(vae, morph.path, condition=morph.condition)


def path_frames(vae: VAE, *paths: Tensor, condition: Tensor | None = None) -> Numbers:
    """Decode codes (steps, d) into frames, uint8 (steps, h, w, c).

    Several paths of equal length are shown side by side, up to four in a row. A conditional model takes the
    ``condition`` of each code (paths · steps, C).

    Raises
    ------
    UsageError
        If codes do not have the model's shape.
    """
    images = images_of(vae, vae.decode(torch.cat(paths), condition).mean, size=(160, 240))
    by_path = images.reshape(len(paths), -1, *images.shape[1:])
    if len(paths) == 1:
        return to_uint8(by_path[0])
    columns = -(-len(paths) // -(-len(paths) // 4))
    frames = np.stack([tile(by_path[:, i], columns) for i in range(by_path.shape[1])])
    return to_uint8(frames[..., :1] if images.shape[3] < 3 else frames)


def save_gif(
    frames: Numbers, path: str | os.PathLike[str], *, size: int = 256, milliseconds: int = 60
) -> None:
    """Write frames as a GIF that loops forwards and backwards and rests at both endpoints.

    Parameters
    ----------
    frames : numpy.ndarray
        uint8 (n, h, w, c), as :func:`morph_frames` makes them.
    path : path
        Written whole or not at all.
    size : int
        Small frames are enlarged by the largest integer factor that keeps both sides within this many pixels.
    milliseconds : int
        Duration of a frame; the first and last are shown ten times as long.

    Raises
    ------
    FailureError
        If the file cannot be written.
    """
    pixels = _enlarged(frames, size)
    if pixels.shape[3] < 3:  # 64 grey levels look the same and halve the file
        images = [Image.fromarray(frame) for frame in to_uint8((pixels[..., 0] * 63).round() / 63)]
    else:  # one palette for all frames: separate palettes would flicker
        colors = to_uint8(pixels[..., :3])
        palette = Image.fromarray(colors.reshape(-1, *colors.shape[2:])).quantize(256)
        images = [Image.fromarray(frame).quantize(palette=palette) for frame in colors]
    order = _there_and_back(len(images))
    durations = [milliseconds * times for _, times in order]
    buffer = BytesIO()
    first, *rest = (images[i] for i, _ in order)
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    write_atomic(Path(path), buffer.getvalue())


def save_mp4(
    frames: Numbers, path: str | os.PathLike[str], *, size: int = 512, milliseconds: int = 60
) -> None:
    """Write frames as an MP4 film that runs forwards and backwards three times, with the installed ffmpeg.

    The parameters are those of :func:`save_gif`. Pixels are stored as 4:2:0, which all players support.

    Raises
    ------
    UsageError
        If there is no ffmpeg.
    FailureError
        If ffmpeg fails or takes more than five minutes, or the file cannot be written.
    """
    program = find_ffmpeg(path)
    pixels = to_uint8(_enlarged(frames, size, even=True))
    n, h, w, c = pixels.shape
    colors = np.broadcast_to(pixels, (n, h, w, 3)) if c < 3 else pixels[..., :3]
    shown = [i for i, times in _there_and_back(n) for _ in range(times)]
    with tempfile.TemporaryDirectory() as folder:  # MP4 needs a file that can seek, not a pipe
        film = Path(folder) / "film.mp4"
        arguments = f"-loglevel error -f rawvideo -pix_fmt rgb24 -s {w}x{h} -r 1000/{milliseconds} -i - "
        arguments += f"-vf loop={_ROUNDS - 1}:{len(shown)} -pix_fmt yuv420p -movflags +faststart -y"
        command = [program, *arguments.split(), str(film)]
        try:
            subprocess.run(
                command, input=colors[shown].tobytes(), capture_output=True, timeout=_TIMEOUT, check=True
            )
        except subprocess.TimeoutExpired:
            raise FailureError(f"{path}: ffmpeg took more than {_TIMEOUT} s; write a .gif instead") from None
        except (subprocess.CalledProcessError, OSError) as error:
            words = getattr(error, "stderr", b"") or str(error).encode()
            line = words.decode(errors="replace").strip().splitlines()[-1]
            raise FailureError(f"{path}: ffmpeg failed ({line}); write a .gif instead") from None
        content = film.read_bytes()
    write_atomic(Path(path), content)


def find_ffmpeg(path: str | os.PathLike[str]) -> str:
    """Find the ffmpeg program to write the film ``path``.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise UsageError(f"{path}: films need ffmpeg, which is not installed; install it, or write a .gif")
    return program


def _enlarged(frames: Numbers, size: int, *, even: bool = False) -> Numbers:
    """Frames (n, h, w, c) as floats, enlarged by an integer factor, with even sides if asked for."""
    h, w = frames.shape[1:3]
    factor = max(1, size // max(h, w))
    sides = [side * factor + (even and side * factor % 2) for side in (h, w)]
    return resized(frames / 255, *sides)


def _there_and_back(n: int) -> list[tuple[int, int]]:
    """Indices of the frames in the order shown, each with its duration in frames."""
    return [(i, _REST if i in (0, n - 1) else 1) for i in [*range(n), *range(n - 2, 0, -1)]]

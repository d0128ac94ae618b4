"""Walks through the latent space: strips, frames and animations."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from elboroom.canvas import Numbers
from elboroom.errors import UsageError
from elboroom.files import write_atomic
from elboroom.model import VAE, Array
from elboroom.plates import Plate, as_images, resized, stack, to_uint8

_COLUMNS = 12  # most images in a row


def morph_strip(vae: VAE, a: Array, b: Array, steps: int = 25) -> Figure:
    """Draw the way from example a to example b: the two framed, and between them their decoded straight line.

    Parameters
    ----------
    vae : VAE
        The model.
    a, b : array
        Examples (*shape).
    steps : int
        Decoded images, the reconstructions of a and b among them; long strips go on in further rows.

    Raises
    ------
    UsageError
        If ``steps`` < 2 or an example is not of the model's shape.
    """
    path = _path(vae, a, b, steps)
    first, last = (vae.as_input(torch.as_tensor(one)[None]) for one in (a, b))
    images = as_images(torch.cat([first, path, last]))
    rows = -(-len(images) // _COLUMNS)
    return stack(Plate(images, -(-len(images) // rows), framed=(0, len(images) - 1)))


def _path(vae: VAE, a: Array, b: Array, steps: int) -> Tensor:
    if steps < 2:
        raise UsageError(f"steps = {steps}: a morph needs at least 2, its two ends")
    return vae.interpolate(a, b, steps)


def morph_frames(vae: VAE, a: Array, b: Array, steps: int = 25) -> Numbers:
    """Decode the straight line between the codes of a and b (*shape): uint8 (steps, h, w, c).

    Rows of numbers become line charts (steps, h, w, 3).

    Raises
    ------
    UsageError
        If ``steps`` < 2 or an example is not of the model's shape.
    """
    return to_uint8(as_images(_path(vae, a, b, steps), size=(160, 240)))


def save_gif(
    frames: Numbers, path: str | os.PathLike[str], *, size: int = 256, milliseconds: int = 60
) -> None:
    """Write frames as an animation that runs forwards and backwards for ever, resting at both ends.

    Parameters
    ----------
    frames : numpy.ndarray
        uint8 (n, h, w, c), as :func:`morph_frames` makes them.
    path : path
        Written as a whole or not at all.
    size : int
        Small frames are enlarged by the largest whole factor that keeps both sides within so many pixels.
    milliseconds : int
        Time of one frame; the first and last stay ten times as long.

    Raises
    ------
    FailureError
        If the file cannot be written.
    """
    n, h, w, c = frames.shape
    factor = max(1, size // max(h, w))
    pixels = resized(frames / 255, h * factor, w * factor)
    if c < 3:  # 64 greys look no different and halve the file
        images = [Image.fromarray(frame) for frame in to_uint8((pixels[..., 0] * 63).round() / 63)]
    else:  # one palette for all frames: palettes of their own would flicker
        colors = to_uint8(pixels[..., :3])
        palette = Image.fromarray(colors.reshape(-1, w * factor, 3)).quantize(256)
        images = [Image.fromarray(frame).quantize(palette=palette) for frame in colors]
    order = [*range(n), *range(n - 2, 0, -1)]
    durations = [milliseconds * (10 if i in (0, n - 1) else 1) for i in order]
    buffer = BytesIO()
    first, *rest = (images[i] for i in order)
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    write_atomic(Path(path), buffer.getvalue())

"""Pictures of examples: reconstructions, samples, decoded maps, traversals and morphs.

What a model of images makes is drawn as images; rows of numbers are drawn as small line charts in their
place, so that every function here serves both. Values are in model units and clipped to [0, 1] for images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from elboroom.errors import UsageError
from elboroom.figures import (
    PALETTE,
    Numbers,
    canvas,
    codes_of,
    evenly,
    losses_of,
    numbers,
    panel,
    seeded,
    tidy,
)
from elboroom.files import write_atomic
from elboroom.model import VAE, Array

_WIDTH, _HEIGHT, _TILE = 1300, 1300, 140  # most screen pixels of a plate, and of an image that is enlarged
_LETTER = 10  # width of a letter in screen pixels
_SKETCH = (100, 150)  # height and width of the line chart that stands for a row of numbers
_ROWS = 12  # most latent dimensions in traversals, most tiles in a line of a morph


def to_uint8(images: Array) -> Numbers:
    """Turn model units into 8-bit pixels: clipped to [0, 1] and rounded, never wrapped; NaN becomes black.

    Examples
    --------
    >>> to_uint8(np.array([-1.0, 0.5, 2.0])).tolist()
    [0, 128, 255]
    """
    return (np.nan_to_num(numbers(images)).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def tile(images: Array, columns: int, gap: int = 2) -> Numbers:
    """Lay images out in rows, first to last, on white.

    Parameters
    ----------
    images : array
        (n, h, w, c) in model units; clipped to [0, 1]. Grey for c = 1, else the first three channels.
    columns : int
        Images in a row; a last row that is not full ends in white.
    gap : int
        White pixels between two images.

    Returns
    -------
    numpy.ndarray
        float32 (H, W, 3) in [0, 1], with H = rows·(h + gap) − gap and W likewise.

    Raises
    ------
    UsageError
        If the images are not (n, h, w, c), or there is no column.

    Examples
    --------
    >>> tile(np.zeros((5, 4, 3, 1)), columns=3, gap=1).shape
    (9, 11, 3)
    """
    pixels = np.nan_to_num(numbers(images)).clip(0, 1)
    if pixels.ndim != 4 or columns < 1:
        raise UsageError(
            f"got images {pixels.shape} in {columns} columns; give (n, h, w, c) and at least 1 column"
        )
    n, h, w, c = pixels.shape
    pixels = pixels[..., :3] if c >= 3 else pixels.mean(-1, keepdims=True)
    rows = -(-n // columns)
    sheet = np.ones((rows, h + gap, columns, w + gap, 3), dtype=np.float32)
    for i in range(n):
        sheet[i // columns, :h, i % columns, :w] = pixels[i]
    return sheet.reshape(rows * (h + gap), columns * (w + gap), 3)[
        : rows * (h + gap) - gap, : columns * (w + gap) - gap
    ]


def as_images(*curves: Array, size: tuple[int, int] = _SKETCH) -> Numbers:
    """Turn examples into images: images as they are, rows of numbers as line charts.

    Parameters
    ----------
    *curves : array
        (n, h, w, c), of which there may be one; or (n, d), of which several are drawn in one chart.
    size : tuple of int
        Height and width of a chart.

    Returns
    -------
    numpy.ndarray
        (n, h, w, c) in model units. All charts have one vertical scale.
    """
    values = [numbers(curve) for curve in curves]
    if values[0].ndim != 2:
        return values[0]
    lines = np.stack(values, 1)  # (n, curves, d)
    finite = lines[np.isfinite(lines)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    fine = 3  # drawn three times as large and then shrunk, for smooth lines
    h, w = size[0] * fine, size[1] * fine
    x = np.linspace(0.06, 0.94, lines.shape[2]) * w if lines.shape[2] > 1 else np.array([0.5 * w])
    y = (0.9 - 0.8 * (np.nan_to_num(lines) - low) / max(high - low, 1e-12)) * h
    colors = (PALETTE[0],) if len(values) == 1 else ("#999999", PALETTE[1])
    sketches = np.empty((len(lines), *size, 3), dtype=np.float32)
    for i, chart in enumerate(y):
        image = Image.new("RGB", (w, h), "#f4f4f4")
        draw = ImageDraw.Draw(image)
        for line, color in zip(chart, colors, strict=True):
            points = list(zip(x.tolist(), line.tolist(), strict=True))
            draw.line(points, fill=color, width=2 * fine, joint="curve")
            for px, py in points if len(points) <= 16 else []:
                draw.ellipse((px - 2 * fine, py - 2 * fine, px + 2 * fine, py + 2 * fine), fill=color)
        sketches[i] = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX), np.float32) / 255
    return sketches


def resized(images: Array, height: int, width: int) -> Numbers:
    """Bring images (n, h, w, c) smoothly to another size, (n, height, width, c), clipped to [0, 1]."""
    planes = torch.from_numpy(np.nan_to_num(numbers(images)).clip(0, 1)).permute(0, 3, 1, 2)
    if planes.shape[2:] != (height, width):
        planes = interpolate(planes, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
    return numbers(planes.permute(0, 2, 3, 1))


@dataclass
class Plate:
    """Images in rows with words at their edges.

    Attributes
    ----------
    images : array
        (n, h, w, c) in model units, row by row.
    columns : int
        Images in a row.
    row_labels, captions : sequence of str
        Left of each row and under each column; those that do not fit are left out evenly.
    title, x_label, y_label : str
        Above, below and left of it all.
    gap : int
        White pixels of the screen between two images.
    framed : tuple of int
        Images to draw a frame around.
    """

    images: Numbers
    columns: int
    row_labels: Sequence[str] = ()
    captions: Sequence[str] = ()
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    gap: int = 6
    framed: tuple[int, ...] = ()

    def scale(self, width: float = _WIDTH, height: float = _HEIGHT) -> float:
        """Screen pixels per image pixel, so that all fits and no small image becomes very large."""
        rows = -(-len(self.images) // self.columns)
        h, w = self.images.shape[1:3]
        across = (width + self.gap) / self.columns - self.gap
        down = (height + self.gap) / rows - self.gap
        return min(across / w, down / h, max(1, _TILE / max(h, w)))

    def step(self, scale: float) -> tuple[int, int]:
        """Screen pixels from one image to the next, downwards and to the right."""
        h, w = self.images.shape[1:3]
        return max(1, int(h * scale)) + self.gap, max(1, int(w * scale)) + self.gap

    def size(self, scale: float) -> tuple[int, int]:
        """Height and width of all images in screen pixels."""
        rows, (down, right) = -(-len(self.images) // self.columns), self.step(scale)
        return rows * down - self.gap, self.columns * right - self.gap

    @property
    def margins(self) -> tuple[int, int, int]:
        """Screen pixels that the words take on the left, above and below."""
        left = 30 + _letters(self.row_labels) * _LETTER + (34 if self.y_label else 0)
        return left, 55 if self.title else 25, 25 + 26 * any(self.captions) + 34 * bool(self.x_label)

    def draw(self, figure: Figure, left: float, top: float, scale: float) -> None:
        """Draw it on a figure, the images' upper left corner at a place given in pixels."""
        (height, width), (down, right) = self.size(scale), self.step(scale)
        axes = panel(figure, left, top, width, height)
        sheet = tile(resized(self.images, down - self.gap, right - self.gap), self.columns, self.gap)
        axes.imshow(to_uint8(sheet), extent=(0, width, height, 0), interpolation="nearest")
        tidy(axes, self.title, self.x_label, self.y_label)
        axes.grid(visible=False)
        axes.tick_params(length=0, labelsize=9)
        axes.spines[:].set_visible(False)
        every = -(-(_letters(self.captions) + 1) * _LETTER // right)
        for set_ticks, texts, step, side in (
            (axes.set_xticks, self.captions, every, right),
            (axes.set_yticks, self.row_labels, -(-_LETTER * 2 // down), down),
        ):
            shown = range(0, len(texts), step)
            set_ticks([i * side + (side - self.gap) / 2 for i in shown], [texts[i] for i in shown])
        for i in self.framed:
            corner = (i % self.columns * right, i // self.columns * down)
            frame = Rectangle(corner, right - self.gap, down - self.gap, fill=False, clip_on=False)
            frame.set(edgecolor=PALETTE[1], linewidth=2)
            axes.add_patch(frame)


def _letters(texts: Sequence[str]) -> int:
    """Letters of the longest line, mathematical markup aside."""
    lines = (line for text in texts for line in text.translate({ord(c): None for c in "${}_"}).split("\n"))
    return max(map(len, lines), default=0)


def stack(*plates: Plate) -> Figure:
    """Draw plates one under another, all at one scale."""
    scale = min(plate.scale(height=_HEIGHT / len(plates)) for plate in plates)
    left = max(plate.margins[0] for plate in plates)
    sizes = [plate.size(scale) for plate in plates]
    height = sum(h + sum(plate.margins[1:]) for plate, (h, _) in zip(plates, sizes, strict=True))
    figure, top = canvas(left + max(w for _, w in sizes) + 30, height), 0
    for plate, (h, _) in zip(plates, sizes, strict=True):
        _, above, below = plate.margins
        plate.draw(figure, left, top + above, scale)
        top += above + h + below
    return figure


def pairs(x: Array, reconstruction: Array, **words: object) -> Plate:
    """Examples above their reconstructions, or as two lines in one chart: (n, *shape) both."""
    if x.ndim == 2:
        images, names = as_images(x, reconstruction), ["input (grey),\nreconstruction"]
    else:
        images = np.concatenate([numbers(x), numbers(reconstruction)])
        names = ["input", "reconstruction"]
    return Plate(images, max(1, len(x)), row_labels=names, **words)  # type: ignore[arg-type]


def reconstructions(vae: VAE, x: Array, n: int = 10) -> Figure:
    """Draw the first n examples of x above what the model makes of their codes.

    Parameters
    ----------
    vae : VAE
        The model; nothing is drawn at random.
    x : array
        Examples (m, *shape).
    n : int
        Of these, how many to show.

    Raises
    ------
    UsageError
        If there are no examples.
    """
    shown = vae.as_input(_some(x[:n]))
    return stack(pairs(shown, vae.reconstruct(shown)))


def _some(x: Array) -> Array:
    if not len(x):
        raise UsageError("got 0 examples to draw; give at least one")
    return x


def samples(vae: VAE, n: int = 64, seed: int = 0) -> Figure:
    """Draw n decoded draws from the prior: what the model dreams up.

    Parameters
    ----------
    vae : VAE
        The model.
    n : int
        How many, in a square.
    seed : int
        The same seed draws the same codes; the caller's random state is left alone.

    Raises
    ------
    UsageError
        If n is below 1.
    """
    if n < 1:
        raise UsageError(f"n = {n} samples; draw at least 1")
    with seeded(vae, seed):
        drawn = vae.sample(n)
    return stack(Plate(as_images(drawn), int(np.ceil(np.sqrt(n)))))


def manifold_grid(
    vae: VAE,
    steps: int = 20,
    *,
    center: Array | None = None,
    radius: float | None = None,
    dims: Sequence[int] = (0, 1),
) -> Tensor:
    """Codes on a square grid in two latent dimensions; a row of them if there is one.

    Parameters
    ----------
    vae : VAE
        Its prior says where codes are to be expected.
    steps : int
        g, codes along a side.
    center : array, optional
        Code (d,) that the other dimensions keep; the prior's median if not given.
    radius : float, optional
        Half the side of a square around ``center``. If not given, the grid is at the prior's quantiles 0.02
        to 0.98, so that each code stands for as much probability as the next.
    dims : sequence of int
        The dimension that grows to the right and the one that grows upwards.

    Returns
    -------
    Tensor
        (g, g, d), the top row first; (1, g, d) if the model has one latent dimension.

    Raises
    ------
    UsageError
        If ``steps`` < 1, ``radius`` ≤ 0, ``dims`` are not two of the model's, or ``center`` is not (d,).

    Examples
    --------
    >>> vae = VAE.build(shape=(4,), latent_dim=2, hidden=[8])
    >>> manifold_grid(vae, 3, center=np.zeros(2), radius=1.0)[0].tolist()
    [[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """
    d = vae.latent_dim
    dims = _known_dims(vae, dims[:d])
    if steps < 1 or (radius is not None and not radius > 0):
        raise UsageError(f"got steps = {steps}, radius = {radius}; give at least 1 step and a radius above 0")
    if center is not None and radius is None and d <= len(dims):
        raise UsageError("got a center and no radius; give the half-side of the square, as in radius=1.0")
    weight = next(vae.parameters())
    line = torch.linspace(-1, 1, steps).to(weight) if steps > 1 else torch.zeros(1).to(weight)
    offset = weight.new_zeros(steps if len(dims) > 1 else 1, steps, d)
    offset[..., dims[0]] = line
    for dim in dims[1:]:
        offset[..., dim] = line.flip(0)[:, None]
    with torch.no_grad():
        median: Tensor = vae.prior.quantile(torch.full_like(offset, 0.5))
        origin = median if center is None else _code(vae, center).expand_as(offset)
        if radius is not None:
            return origin + radius * offset
        grid: Tensor = vae.prior.quantile(0.5 + 0.48 * offset)
    still = [dim for dim in range(d) if dim not in dims]
    grid[..., still] = origin[..., still]
    return grid


def _known_dims(vae: VAE, dims: Sequence[int]) -> list[int]:
    known = [dim for dim in dict.fromkeys(dims) if 0 <= dim < vae.latent_dim]
    if known != list(dims) or not known:
        raise UsageError(
            f"dims = {list(dims)}: give different latent dimensions from 0 to {vae.latent_dim - 1}"
        )
    return known


def _code(vae: VAE, code: Array) -> Tensor:
    weight = next(vae.parameters())
    tensor = torch.as_tensor(code).to(weight)
    if tensor.shape != (vae.latent_dim,):
        raise UsageError(f"got a code of shape {tuple(tensor.shape)}; the model's are ({vae.latent_dim},)")
    return tensor


def manifold_plate(vae: VAE, grid: Tensor, dims: Sequence[int] = (0, 1)) -> Plate:
    """Decode a grid (g, g, d) into a seamless sheet, with the latent values at its edges."""
    tall = len(grid) > 1
    return Plate(
        as_images(vae.decode(grid.reshape(-1, vae.latent_dim)).mean, size=(44, 60)),
        grid.shape[1],
        row_labels=_written(numbers(grid[:, 0, dims[1]])) if tall else (),
        captions=_written(numbers(grid[0, :, dims[0]])),
        x_label=f"$z_{{{dims[0]}}}$",
        y_label=f"$z_{{{dims[1]}}}$" if tall else "",
        gap=3 if len(vae.shape) == 1 else 0,
    )


def _written(values: Numbers) -> list[str]:
    """Write values with as many decimals as their spread calls for."""
    spread = float(np.ptp(values))
    decimals = max(0, 1 - int(np.floor(np.log10(spread)))) if spread > 0 else 1
    return [f"{value + 0.0:.{decimals}f}".replace("-", "−") for value in values.round(decimals)]


def manifold(
    vae: VAE,
    steps: int = 20,
    *,
    center: Array | None = None,
    radius: float | None = None,
    dims: Sequence[int] = (0, 1),
) -> Figure:
    """Draw what codes on a grid decode to; the arguments are those of :func:`manifold_grid`.

    Raises
    ------
    UsageError
        As :func:`manifold_grid` does.
    """
    grid = manifold_grid(vae, steps, center=center, radius=radius, dims=dims)
    return stack(manifold_plate(vae, grid, dims))


def traversals(
    vae: VAE,
    x: Array | None = None,
    *,
    steps: int = 11,
    dims: Sequence[int] | None = None,
    span: float = 3.0,
) -> Figure:
    """Draw what changes when one latent dimension does: a row each, all else being equal.

    Parameters
    ----------
    vae : VAE
        The model.
    x : array, optional
        Examples (n, *shape). The other dimensions keep the mean of their codes, which of a single example
        is its code; 0 without. Of several, the dimensions whose codes vary most come first, and each row
        says the standard deviation of its codes: near 0, the dimension is not in use.
    steps : int
        Images in a row.
    dims : sequence of int, optional
        Which dimensions, in this order; at most the first 12 if not given.
    span : float
        The dimension takes values from −span to span.

    Raises
    ------
    UsageError
        If ``dims`` are not of the model, ``steps`` < 1, or x holds no example.
    """
    if steps < 1:
        raise UsageError(f"steps = {steps}; give at least 1")
    known = np.zeros((1, vae.latent_dim)) if x is None else codes_of(vae, x[evenly(len(x))])
    spread = known.std(0)
    if dims is None:
        dims = np.argsort(-spread, kind="stable").tolist()[:_ROWS]
    dims = _known_dims(vae, dims)
    values = torch.linspace(-span, span, steps) if steps > 1 else torch.zeros(1)
    codes = torch.from_numpy(known.mean(0)).repeat(len(dims), steps, 1)
    for row, dim in zip(codes, dims, strict=True):
        row[:, dim] = values
    return stack(
        Plate(
            as_images(vae.decode(codes.reshape(-1, vae.latent_dim)).mean),
            steps,
            row_labels=[f"$z_{{{i}}}$" + (f"  ±{spread[i]:.2f}" if len(known) > 1 else "") for i in dims],
            captions=_written(numbers(values)),
        )
    )


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
    rows = -(-len(images) // _ROWS)
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


def best_and_worst(vae: VAE, x: Array, n: int = 10) -> Figure:
    """Draw the examples with the lowest and the highest −ELBO beside their reconstructions.

    Parameters
    ----------
    vae : VAE
        Its ELBO is taken with one sample per example, always the same noise.
    x : array
        Examples (m, *shape).
    n : int
        How many of each, at most half of all; −ELBO in nats stands under each.

    Raises
    ------
    UsageError
        If there are no examples.
    """
    losses = losses_of(vae, x)
    order = np.argsort(losses, kind="stable")
    n = max(1, min(n, len(order) // 2))
    plates = []
    for title, chosen in (("Lowest loss", order[:n]), ("Highest loss", order[::-1][:n].copy())):
        shown = vae.as_input(x[chosen])
        captions = [f"{losses[i]:,.1f}" for i in chosen]
        plates.append(pairs(shown, vae.reconstruct(shown), title=f"{title} (−ELBO, nats)", captions=captions))
    return stack(*plates)

"""Images side by side: tiles, and labelled grids on a sheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw
from torch.nn.functional import interpolate

from elboroom.errors import UsageError
from elboroom.figures.style import LETTER, PALETTE, panel, tidy, titled_canvas
from elboroom.latent.arrays import Numbers, numbers, standardized, standardizes
from elboroom.models.vae import VAE, Array

_WIDTH, _HEIGHT, _TILE = 1300, 1300, 140  # most pixels of a grid, and of an enlarged image
_SKETCH = (100, 150)  # height and width of the line chart that shows a row of numbers

_COLOURS = 4  # channels of red, green, blue and alpha


def to_uint8(images: Array) -> Numbers:
    """Convert model units to 8-bit pixels, clipped to [0, 1] and rounded; NaN becomes black.

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
        Images in a row; the last row is filled with white.
    gap : int
        White pixels between two images.

    Returns
    -------
    numpy.ndarray
        float32 (H, W, 3) in [0, 1], with H = rows·(h + gap) − gap and W likewise.

    Raises
    ------
    UsageError
        If the images are not (n, h, w, c), or ``columns`` < 1.

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
    pixels = pixels[..., :3] if c >= 3 else pixels[..., :1]  # a second channel is transparency
    rows = -(-n // columns)
    sheet = np.ones((rows, h + gap, columns, w + gap, 3), dtype=np.float32)
    for i in range(n):
        sheet[i // columns, :h, i % columns, :w] = pixels[i]
    return sheet.reshape(rows * (h + gap), columns * (w + gap), 3)[
        : rows * (h + gap) - gap, : columns * (w + gap) - gap
    ]


def on_white(images: Numbers) -> Numbers:
    """Blend images (n, h, w, c) with alpha (2 or 4 channels, in [0, 1]) over white.

    Of more channels, the first three are shown as red, green and blue; others are unchanged.

    Examples
    --------
    >>> on_white(np.array([0.0, 0.25]).reshape(1, 1, 1, 2)).ravel().tolist()
    [0.75]
    """
    if images.shape[-1] not in (2, 4):
        return images[..., :3] if images.shape[-1] > _COLOURS else images
    alpha = np.nan_to_num(images[..., -1:]).clip(0, 1)
    return images[..., :-1].clip(0, 1) * alpha + (1 - alpha)


def as_images(*curves: Array, size: tuple[int, int] = _SKETCH, span: tuple[float, float] = (0, 1)) -> Numbers:
    """Convert examples to images with values in [0, 1]; rows of numbers and time series become line charts.

    Parameters
    ----------
    *curves : array
        One array of images (n, h, w, c); or rows (n, d) or time series (n, t, d), several of which share a
        chart.
    size : tuple of int
        Height and width of a chart.
    span : tuple of float
        The values of images that are drawn black and white.

    Returns
    -------
    numpy.ndarray
        (n, h, w, c), without alpha. All charts of a call share one vertical scale; nan leaves a gap.

    Examples
    --------
    >>> as_images(np.array([-1.0, 0.0, 1.0]).reshape(1, 1, 3, 1), span=(-1, 1)).ravel().tolist()
    [0.0, 0.5, 1.0]
    """
    values = [numbers(curve) for curve in curves]
    if values[0].ndim == 4:
        low, high = span
        return on_white(values[0] if (low, high) == (0, 1) else (values[0] - low) / max(high - low, 1e-12))
    lines = np.stack([one[..., None] if one.ndim == 2 else one for one in values], 1)  # (n, curves, t, d)
    finite = lines[np.isfinite(lines)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    fine = 3  # drawn at three times the size and reduced, for smooth lines
    h, w = size[0] * fine, size[1] * fine
    steps, channels = lines.shape[2:]
    x = np.linspace(0.06, 0.94, steps) * w if steps > 1 else np.array([0.5 * w])
    y = (0.9 - 0.8 * (np.nan_to_num(lines, nan=np.nan) - low) / max(high - low, 1e-12)) * h
    colors = _colors(len(values), channels)
    sketches = np.empty((len(lines), *size, 3), dtype=np.float32)
    for i, chart in enumerate(y.transpose(0, 1, 3, 2).reshape(len(lines), -1, steps)):
        image = Image.new("RGB", (w, h), "#f4f4f4")
        draw = ImageDraw.Draw(image)
        for line, color in zip(chart, colors, strict=True):
            points = list(zip(x.tolist(), line.tolist(), strict=True))
            for known, run in groupby(points, lambda point: point[1] == point[1]):
                if known:  # a missing number leaves a gap
                    draw.line(list(run), fill=color, width=2 * fine, joint="curve")
            for px, py in points if len(points) <= 16 else []:
                if py != py:
                    continue
                draw.ellipse((px - 2 * fine, py - 2 * fine, px + 2 * fine, py + 2 * fine), fill=color)
        sketches[i] = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX), np.float32) / 255
    return sketches


def _colors(curves: int, channels: int) -> list[str]:
    """Colours of the lines of a chart; the first of two curves is grey."""
    own = [PALETTE[(i + (channels == 1 and curves > 1)) % len(PALETTE)] for i in range(channels)]
    return own if curves == 1 else ["#999999"] * channels + own


def range_of(vae: VAE) -> tuple[float, float]:
    """Lowest and highest value of a model's training images, which are drawn black and white."""
    low, high = getattr(vae, "value_range", None) or (0.0, 1.0)
    return float(low), float(high)


def images_of(vae: VAE, *curves: Array, size: tuple[int, int] = _SKETCH) -> Numbers:
    """Convert examples or decoded codes to images with :func:`as_images`, in the model's value range.

    If the model standardises its numbers they are drawn standardised; otherwise the column with the largest
    values would flatten all others.
    """
    if standardizes(vae):
        return as_images(*(standardized(vae, curve) for curve in curves), size=size)
    return as_images(*curves, size=size, span=range_of(vae))


def titled(vae: VAE, title: str) -> str:
    """Append to a title the values of black and white if not 0 and 1, or that numbers are standardised.

    Examples
    --------
    >>> titled(VAE.build(shape=(4, 4, 1), hidden=[8]), "Samples")
    'Samples'
    """
    if standardizes(vae):
        return f"{title} (drawn standardised)"
    low, high = range_of(vae)
    if len(vae.shape) != 3 or (abs(low) < 0.01 and abs(high - 1) < 0.01):
        return title
    return f"{title} (black is {low:.3g}, white {high:.3g})".replace("-", "−")


def resized(images: Array, height: int, width: int) -> Numbers:
    """Resize images (n, h, w, c) to (n, height, width, c), bicubically, clipped to [0, 1]."""
    planes = torch.from_numpy(np.nan_to_num(numbers(images)).clip(0, 1)).permute(0, 3, 1, 2)
    if planes.shape[2:] != (height, width):
        planes = interpolate(planes, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
    return numbers(planes.permute(0, 2, 3, 1))


@dataclass
class ImageGrid:
    """Images in rows, with labels.

    Attributes
    ----------
    images : array
        (n, h, w, c) in model units, row by row.
    columns : int
        Images in a row.
    row_labels, captions : sequence of str
        Left of each row and below each column; if they do not fit, only every k-th is shown.
    title, x_label, y_label : str
        Above, below and left of the grid.
    gap : int
        White screen pixels between two images.
    framed : tuple of int
        Indices of images to frame.
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
        """Screen pixels per image pixel: the grid fits, and small images are not enlarged too much."""
        rows = -(-len(self.images) // self.columns)
        h, w = self.images.shape[1:3]
        across = (width + self.gap) / self.columns - self.gap
        down = (height + self.gap) / rows - self.gap
        return min(across / w, down / h, max(1, _TILE / max(h, w)))

    def step(self, scale: float) -> tuple[int, int]:
        """Screen pixels from one image to the next, down and right."""
        h, w = self.images.shape[1:3]
        return max(1, int(h * scale)) + self.gap, max(1, int(w * scale)) + self.gap

    def size(self, scale: float) -> tuple[int, int]:
        """Height and width of the grid in screen pixels."""
        rows, (down, right) = -(-len(self.images) // self.columns), self.step(scale)
        return rows * down - self.gap, self.columns * right - self.gap

    @property
    def margins(self) -> tuple[int, int, int]:
        """Screen pixels of the labels left, above and below."""
        left = 30 + _letters(self.row_labels) * LETTER + (34 if self.y_label else 0)
        return left, 55 if self.title else 15, 25 + 26 * _lines(self.captions) + 34 * bool(self.x_label)

    def draw(self, figure: Figure, left: float, top: float, scale: float) -> None:
        """Draw the grid on a figure, with its upper left corner at a position in pixels."""
        (height, width), (down, right) = self.size(scale), self.step(scale)
        axes = panel(figure, left, top, width, height)
        sheet = tile(resized(self.images, down - self.gap, right - self.gap), self.columns, self.gap)
        axes.imshow(to_uint8(sheet), extent=(0, width, height, 0), interpolation="nearest")
        tidy(axes, self.title, self.x_label, self.y_label)
        axes.grid(visible=False)
        axes.tick_params(length=0, labelsize=9)
        axes.spines[:].set_visible(False)
        every = -(-(_letters(self.captions) + 1) * LETTER // right)
        for set_ticks, texts, step, side in (
            (axes.set_xticks, self.captions, every, right),
            (axes.set_yticks, self.row_labels, -(-LETTER * 2 // down), down),
        ):
            shown = range(0, len(texts), step)
            set_ticks([i * side + (side - self.gap) / 2 for i in shown], [texts[i] for i in shown])
        for i in self.framed:
            corner = (i % self.columns * right, i // self.columns * down)
            frame = Rectangle(corner, right - self.gap, down - self.gap, fill=False, clip_on=False)
            frame.set(edgecolor=PALETTE[1], linewidth=2)
            axes.add_patch(frame)


def _letters(texts: Sequence[str]) -> int:
    """Characters of the longest line, without mathematical markup."""
    plain = (re.sub(r"\$[^$]*\$", lambda math: re.sub(r"[${}_\\]", "", math[0]), text) for text in texts)
    return max((len(line) for text in plain for line in text.split("\n")), default=0)


def _lines(texts: Sequence[str]) -> int:
    return max((text.count("\n") + 1 for text in texts if text), default=0)


def lay_out(image_grids: Sequence[ImageGrid], columns: int, title: str = "") -> Figure:
    """Draw grids of equal size side by side, ``columns`` in a row, under a title."""
    rows = -(-len(image_grids) // columns)
    left, above, below = (max(each) for each in zip(*(grid.margins for grid in image_grids), strict=True))
    scale = min(p.scale(1.3 * _WIDTH / columns - left, 1.3 * _HEIGHT / rows - above) for p in image_grids)
    down, right = (max(each) for each in zip(*(grid.size(scale) for grid in image_grids), strict=True))
    figure, head = titled_canvas(columns * (left + right) + 30, rows * (above + down + below), title)
    for i, grid in enumerate(image_grids):
        across, along = i % columns * (left + right), i // columns * (above + down + below)
        grid.draw(figure, left + across, head + above + along, scale)
    return figure


def stack(*image_grids: ImageGrid, title: str = "") -> Figure:
    """Draw grids below one another, at one scale, under a title."""
    scale = min(grid.scale(height=_HEIGHT / len(image_grids)) for grid in image_grids)
    left = max(grid.margins[0] for grid in image_grids)
    sizes = [grid.size(scale) for grid in image_grids]
    height = sum(h + sum(grid.margins[1:]) for grid, (h, _) in zip(image_grids, sizes, strict=True))
    figure, top = titled_canvas(left + max(w for _, w in sizes) + 30, height, title)
    for grid, (h, _) in zip(image_grids, sizes, strict=True):
        _, above, below = grid.margins
        grid.draw(figure, left, top + above, scale)
        top += above + h + below
    return figure

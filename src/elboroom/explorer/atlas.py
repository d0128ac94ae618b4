"""Thumbnails of the examples: sheets of small pictures, compressed until they fit a budget."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHEET = 2048  # most pixels along a side of one sheet, which any browser decodes at once
_LARGEST = 40  # pixels of a thumbnail's longer side
# Longest side of a thumbnail, as a share of the first choice, and WebP's quality: tried in this order.
_TRIES = ((1.0, 80), (1.0, 60), (1.0, 40), (0.75, 50), (0.75, 30), (0.6, 30), (0.5, 20))


@dataclass(frozen=True)
class Atlas:
    """Sheets of thumbnails, row by row.

    Attributes
    ----------
    sheets : list of bytes
        WebP files.
    width, height : int
        Pixels of one thumbnail.
    columns, per_sheet : int
        Thumbnails in a row, and on a sheet.
    count : int
        Thumbnails in all: those of the first examples, if the budget is not enough for the others.
    """

    sheets: list[bytes]
    width: int
    height: int
    columns: int
    per_sheet: int
    count: int


def make_atlas(pixels: NDArray[np.uint8], budget: int) -> Atlas:
    """Draw thumbnails of pictures in at most ``budget`` bytes.

    Parameters
    ----------
    pixels : array
        (n, h, w, c) with 1, 3 or 4 channels.
    budget : int
        Bytes. Size and quality fall until the sheets fit; at the lowest, later pictures have no thumbnail.

    Examples
    --------
    >>> atlas = make_atlas(np.zeros((5, 28, 28, 1), np.uint8), 100_000)
    >>> atlas.count, atlas.width, atlas.columns, atlas.sheets[0][:4]
    (5, 28, 73, b'RIFF')
    """
    for share, quality in _TRIES:
        atlas = _drawn(pixels, share, quality)
        size = sum(map(len, atlas.sheets))
        if size <= budget:
            return atlas
    return _drawn(pixels[: int(0.9 * len(pixels) * budget / size)], share, quality)


def _drawn(pixels: NDArray[np.uint8], share: float, quality: int) -> Atlas:
    height, width = pixels.shape[1:3]
    shrink = min(1.0, _LARGEST / max(height, width)) * share
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    columns, rows = max(1, _SHEET // size[0]), max(1, _SHEET // size[1])
    per_sheet = columns * rows
    parts = [pixels[start : start + per_sheet] for start in range(0, len(pixels), per_sheet)]
    sheets = [_sheet(part, size, columns, quality) for part in parts]
    return Atlas(sheets, *size, columns, per_sheet, len(pixels))


def _sheet(pixels: NDArray[np.uint8], size: tuple[int, int], columns: int, quality: int) -> bytes:
    """One sheet as a WebP file."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    across = min(columns, len(pixels))
    sheet = Image.new(mode, (across * size[0], -(-len(pixels) // columns) * size[1]))
    for i, picture in enumerate(pixels):
        one: Any = Image.fromarray(picture[..., 0] if mode == "L" else picture)
        if one.size != size:
            one = one.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(one, (i % columns * size[0], i // columns * size[1]))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()

"""Image files to uint8 arrays: orientation, channels, depth, transparency and size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from elboroom.data.dataset import Array
from elboroom.data.image_files import SUFFIXES as SUFFIXES
from elboroom.data.image_files import Opened as Opened
from elboroom.data.image_files import RangeError as RangeError
from elboroom.data.image_files import TooLargeError, is_deep, upright_size
from elboroom.data.image_files import UnusableError as UnusableError
from elboroom.data.image_files import decoded as decoded
from elboroom.errors import UsageError

WHITE = 65535
"""White in an image of 16 bits, unless all images of a set stay far below it; see `white_for`."""
_GREY_MODES = {"1", "L", "LA", "La", "I", "F"}


@dataclass(frozen=True)
class Header:
    """An image's upright size, and whether it is grey, has 16 bits a channel, is not alone in its file."""

    height: int
    width: int
    grey: bool
    deep: bool = False
    several: bool = False


Read = TypeVar("Read")


def read_image(
    path: str | os.PathLike[str], shape: tuple[int, int, int] | None = None, resize: bool = False
) -> Array:
    """Read one image file in the form that a model takes.

    The camera's orientation mark (EXIF) is obeyed. Transparent parts show white.
    16-bit values are scaled to 8 bits, where white is that of 8, 10, 12 or 16 bits, whichever the image does
    not exceed. Palettes and CMYK become RGB. Of an animation, the first frame counts.

    Parameters
    ----------
    path : path-like
        The file.
    shape : (int, int, int), optional
        The ``(height, width, channels)`` wanted, channels 1 or 3; the image's own if missing (1 channel if
        it is grey).
    resize : bool
        Whether the largest centred part of that aspect is resized to `shape` (Lanczos). If not, another size
        is an error.

    Returns
    -------
    numpy.ndarray
        uint8 ``(h, w, c)``.

    Raises
    ------
    UsageError
        If there is no such file, it is no whole image, or its size differs and `resize` is off.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise UsageError(
            f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; give the path of an image"
        )
    if shape is not None and shape[2] not in (1, 3):
        raise UsageError(f"an image of {shape[2]} channels was asked for; channels must be 1 or 3")
    try:
        header = read_header(path)
        if shape is None:
            shape = (header.height, header.width, 1 if header.grey else 3)
        same = (header.height, header.width) == shape[:2]
        if same or resize:
            return decode(path, shape, white_of([peak(path)] if header.deep else []))
    except TooLargeError as error:
        raise UsageError(f"{path} {error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}; save it again as PNG or JPEG, or leave it out") from error
    raise UsageError(
        f"{path} is {header.width}×{header.height}, the model takes {shape[1]}×{shape[0]}; "
        "resize it, or pass resize=True"
    )


def read_header(path: Path) -> Header:
    """Read an image's size and kind without decoding it.

    Raises
    ------
    ValueError
        If it is no image; the text says why.
    """
    with Opened(path) as image:
        height, width = upright_size(image)
        several = bool(getattr(image, "is_animated", False))
        return Header(height, width, _is_grey(image), deep=is_deep(image), several=several)


def peak(path: Path) -> int:
    """Highest value of an image of 16 bits; of a colour image, the highest that it may have.

    Raises
    ------
    ValueError
        As `decode`.
    """
    with decoded(path) as (image, _):
        highest = int(np.asarray(image if image.mode.startswith("I") else image.convert("RGB")).max())
        return highest if image.mode.startswith("I") else 256 * highest + 255  # Pillow keeps the upper byte


def white_of(peaks: Iterable[int]) -> int:
    """Which value is white in the 16-bit images of a set with these highest values; 65535 without any."""
    return white_for(max(peaks, default=WHITE))


def white_for(highest: int) -> int:
    """Which value of 16-bit images is white, if none of them has a higher value than this.

    Values of 8, 10 or 12 bits are often kept in files of 16, where they would be nearly black.

    Examples
    --------
    >>> white_for(4000), white_for(4096)
    (4095, 65535)
    """
    return next(white for white in (255, 1023, 4095, WHITE) if highest <= white or white == WHITE)


def decode(path: Path, shape: tuple[int, int, int], white: int = WHITE) -> Array:
    """Decode an image to uint8 ``shape = (h, w, c)``, cropped to its centre and resized if it must be.

    Of an image of 16 bits, `white` and higher values become 255.

    Raises
    ------
    ValueError
        If the file is damaged or of a kind that cannot be shown; the text says why.
    """
    longest = 2 * max(shape[:2])  # twice the size wanted leaves Lanczos enough to work with
    with decoded(path, lambda *_: (longest, longest)) as (image, _):
        return _fitted(eight_bit(image, white), shape)


def attempt(read: Callable[[Path], Read], path: Path) -> Read | str:
    """Return what was read, or the reason why it could not be."""
    try:
        return read(path)
    except ValueError as error:
        return str(error)


def resize_images(x: Array, shape: tuple[int, int, int]) -> Array:
    """Bring uint8 images (n, h, w, c) to ``shape = (h, w, c)`` as :func:`decode` does: (n, *shape)."""
    from PIL import Image

    resized = np.empty((len(x), *shape), dtype=np.uint8)
    for i, image in enumerate(x):
        resized[i] = _fitted(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), shape)
    return resized


def _fitted(image: Any, shape: tuple[int, int, int]) -> Array:
    """Grey or colour, the largest centred part of the aspect, and the size wanted."""
    from PIL import Image

    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if image.size != (width, height):
        centre = _centre(image.size, width, height)
        whole = centre == (0, 0, *image.size)  # of which no copy is made
        image = image if whole else image.crop(centre)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8).reshape(shape)


def _centre(size: tuple[int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Box (left, upper, right, lower) of the largest centred part with the aspect ``width:height``.

    Examples
    --------
    >>> _centre((50, 40), 28, 28)
    (5, 0, 45, 40)
    """
    across = max(1, min(size[0], round(size[1] * width / height)))
    down = max(1, min(size[1], round(size[0] * height / width)))
    left, upper = (size[0] - across) // 2, (size[1] - down) // 2
    return left, upper, left + across, upper + down


def _is_grey(image: Any) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY_MODES or image.mode.startswith("I;")


def eight_bit(image: Any, white: int = WHITE) -> Any:
    """Bring any Pillow mode to 8 bits a channel without transparency: mode L or RGB.

    Of an image of 16 bits, `white` and higher values become 255.

    Raises
    ------
    RangeError
        If it has colours of fewer than 16 bits in a file of 16, of which Pillow keeps too few bits.
    """
    from PIL import Image

    if white < WHITE and is_deep(image) and not image.mode.startswith("I"):
        raise RangeError(
            f"contains colours of at most {white:,} in 16 bits, of which only the upper 8 bits can be read; "
            "save it with 8 bits a channel"
        )
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_deep_to_bytes(np.asarray(image), white))
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        page = Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer)
        return page
    mode = "L" if _is_grey(image) else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _deep_to_bytes(values: Array, white: int) -> Array:
    """Scale 16-bit values by 255/white and floats in [0, 1] by 255, rounding to nearest."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise RangeError(f"contains floats from {low:g} to {high:g} where 0 to 1 is wanted")
        return np.rint(values * 255.0).astype(np.uint8)
    if low < 0 or high > 65535:
        raise RangeError(f"contains values from {low} to {high} where 0 to 65535 is wanted")
    return np.rint(values.clip(max=white) * 255.0 / white).astype(np.uint8)

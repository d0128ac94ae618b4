"""Image files to uint8 arrays: orientation, channels, depth, transparency and size."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.dataset import Array
from elboroom.errors import UsageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})

ORIENTATION_TAG = 0x0112
_GREY_MODES = {"1", "L", "LA", "La", "I", "F"}


@dataclass(frozen=True)
class Header:
    """What an image's first bytes tell: its upright size, and whether it is grey."""

    height: int
    width: int
    grey: bool


def read_image(
    path: str | os.PathLike[str], shape: tuple[int, int, int] | None = None, resize: bool = False
) -> Array:
    """Read one image file as a model takes it.

    The camera's orientation mark (EXIF) is obeyed. Transparency is laid over white, as a page shows it.
    16-bit values are scaled to 8 bits; palettes and CMYK become RGB. Of an animation, the first frame counts.

    Parameters
    ----------
    path : path-like
        The file.
    shape : (int, int, int), optional
        The ``(height, width, channels)`` wanted, channels 1 or 3; the image's own if missing (1 channel if
        it is grey).
    resize : bool
        Whether another size is brought to `shape`: the largest centred part of the same aspect, resized
        (Lanczos). If not, another size is an error.

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
            return decode(path, shape)
    except ValueError as error:
        raise UsageError(f"{path}: {error}; save it again as PNG or JPEG, or leave it out") from error
    raise UsageError(
        f"{path} is {header.width}×{header.height}, the model takes {shape[1]}×{shape[0]}; "
        "resize it or pass --resize"
    )


def read_header(path: Path) -> Header:
    """Read an image's size and kind without decoding it.

    Raises
    ------
    ValueError
        If it is no image; the text says why.
    """
    with Opened(path) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8):  # turned by a quarter
            width, height = height, width
        return Header(height, width, _is_grey(image))


def decode(path: Path, shape: tuple[int, int, int]) -> Array:
    """Decode an image to uint8 ``shape = (h, w, c)``, cropped to its centre and resized if it must be.

    Raises
    ------
    ValueError
        If the file is damaged or of a kind that cannot be shown; the text says why.
    """
    from PIL import ImageOps

    height, width, _ = shape
    with Opened(path) as image:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the size wanted leaves Lanczos enough to work with.
        longest = 2 * max(height, width)
        image.draft(None, (longest, longest))
        image.load()
        return _fitted(eight_bit(ImageOps.exif_transpose(image)), shape)


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
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.crop(_centre(image.size, width, height))
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


class RangeError(ValueError):
    """The image is whole, and its values are not such that they can be shown."""


class Opened:
    """Open an image with Pillow, turning whatever it raises on a bad file into a ValueError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._image: Any = None

    def __enter__(self) -> Any:
        from PIL import Image, UnidentifiedImageError

        try:
            self._image = Image.open(self._path)
        except UnidentifiedImageError:
            empty = self._path.stat().st_size == 0
            raise ValueError("is empty" if empty else "is not an image that can be read") from None
        except Exception as error:
            raise ValueError(f"cannot be read ({_first_line(error)})") from error
        return self._image

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._image.close()
        # Decoders meet damaged bytes with nearly any exception: SyntaxError, struct.error, IndexError, …
        if not isinstance(error, Exception) or isinstance(error, MemoryError | RangeError):
            return
        raise ValueError(f"is damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error)
    return text.splitlines()[0] if text else type(error).__name__


def _is_grey(image: Any) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY_MODES or image.mode.startswith("I;")


def eight_bit(image: Any) -> Any:
    """Bring any Pillow mode to 8 bits a channel without transparency: mode L or RGB."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_deep_to_bytes(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, "white")
        page.alpha_composite(layer)
        return page.convert("RGB")
    return image.convert("L" if _is_grey(image) else "RGB")


def _deep_to_bytes(values: Array) -> Array:
    """Scale 16-bit values by 1/257 and floats in [0, 1] by 255, rounding to nearest."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise RangeError(f"holds floats from {low:g} to {high:g} where 0 to 1 is wanted")
        return np.rint(values * 255.0).astype(np.uint8)
    if low < 0 or high > 65535:
        raise RangeError(f"holds values from {low} to {high} where 0 to 65535 is wanted")
    return np.rint(values / 257.0).astype(np.uint8)

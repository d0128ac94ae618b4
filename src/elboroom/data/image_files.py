"""Open image files: the formats and sizes that are allowed, and how much is decoded at one time."""

from __future__ import annotations

import importlib
import importlib.util
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels; also the most that are decoded at one time by all threads."""

HEIC = frozenset({".heic", ".heif"})
INSTALL_HEIC = 'pip install "elboroom[heic]"'
_HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
# Pillow would try all its formats, and its reader of PostScript starts Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", *(("HEIF",) if _HAS_HEIF else ()))
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}) | (
    HEIC if _HAS_HEIF else frozenset()
)
_ORIENTATION = 0x0112
_DEEP = "elboroom: 16 bits"  # a key of Image.info
_PILLOW = r"(PIL|pillow_heif)\."  # the modules that warn


class UnusableError(ValueError):
    """The image is intact but cannot be used."""


class RangeError(UnusableError):
    """The image's values are outside the range that can be shown."""


class TooLargeError(UnusableError):
    """The image has more pixels than are decoded."""


class Opened:
    """Open an image with Pillow without decoding it, turning what Pillow raises into a ValueError.

    Only formats of `FORMATS` are opened, and no image of more than `MAX_PIXELS` pixels.

    Parameters
    ----------
    path : pathlib.Path
        The file, or an open binary file with a ``stat`` method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._image: Any = None

    def __enter__(self) -> Any:
        self._image = _open(self._path)
        return self._image

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._image.close()
        if error is not None:
            with _explaining_damage():
                raise error


@contextmanager
def decoded(
    path: Path, least: Callable[[int, int], tuple[int, int]] | None = None
) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Decode an image and turn it upright; while more than `MAX_PIXELS` would be held, other threads wait.

    Parameters
    ----------
    path : pathlib.Path
        The file, as in `Opened`.
    least : callable, optional
        Maps the full width and height to those that suffice. A JPEG is then decoded at the smallest of
        1/2, 1/4 and 1/8 of its size that is not below.

    Yields
    ------
    PIL.Image.Image
        In the file's own mode.
    (int, int)
        Full upright height and width.

    Raises
    ------
    ValueError
        If it cannot be read; the text says why.
    """
    from PIL import ImageOps

    image = _open(path)
    try:
        with ExitStack() as held:
            with _explaining_damage():
                height, width = upright_size(image)
                if least is not None and image.format in ("JPEG", "MPO"):
                    image.draft(None, least(*image.size))
                held.enter_context(_ROOM.take(image.width * image.height))
                held.callback(image.close)  # before other threads may use its share
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
            yield image, (height, width)
    finally:
        image.close()


def upright_size(image: Any) -> tuple[int, int]:
    """Height and width of an opened image when the camera's orientation mark (EXIF) is obeyed."""
    from PIL import Image

    width, height = image.size
    # Pillow decodes a PNG to look for marks behind its pixels, where few have any.
    shown = image.format == "PNG" and not _has_marks_behind_pixels(image.fp)
    marks = Image.Image.getexif(image) if shown else image.getexif()
    turned = marks.get(_ORIENTATION, 1) in (5, 6, 7, 8)  # by a quarter
    return (width, height) if turned else (height, width)


def _has_marks_behind_pixels(file: IO[bytes]) -> bool:
    """Whether EXIF or text follows the pixels of a PNG, or the file is cut short."""
    position, behind = file.tell(), False
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IEND":
                return False
            if behind and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            behind |= kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)  # a sum of four bytes follows the content
        return True
    finally:
        file.seek(position)


def is_deep(image: Any) -> bool:
    """Whether an opened image has 16 bits or more a channel, of which Pillow keeps 8 where it is coloured."""
    return bool(image.info.get(_DEEP, False))


def _open(path: Path) -> Any:
    """Open an image; this is the only place that does."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(path, os.PathLike) and path.exists() and not path.is_file():
        raise ValueError("is not a regular file")
    # What Pillow warns of is refused with a reason or does no harm. A filter for the time of one call would
    # not do, as threads share the filters.
    if not any(getattr(entry[3], "pattern", entry[3]) == _PILLOW for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)
    if _HAS_HEIF and "HEIF" not in Image.OPEN:
        importlib.import_module("pillow_heif").register_heif_opener()
    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(_not_an_image(path)) from None
    except Exception as error:
        raise ValueError(f"cannot be read ({_first_line(error)})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise TooLargeError(
            f"is {width}×{height}; images of more than {MAX_PIXELS // 1_000_000} million pixels are not "
            "read, so make it smaller"
        )
    image.info[_DEEP] = image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile)
    return image


def _not_an_image(path: Path) -> str:
    if path.stat().st_size == 0:
        return "is empty"
    if not _HAS_HEIF and getattr(path, "suffix", "").lower() in HEIC:
        return f"is a HEIC photo, which needs one more package: {INSTALL_HEIC}"
    return "is not an image that can be read"


@contextmanager
def _explaining_damage() -> Iterator[None]:
    """Decoders meet damaged bytes with nearly any exception: SyntaxError, struct.error, IndexError, …"""
    try:
        yield
    except (MemoryError, UnusableError):
        raise
    except Exception as error:
        raise ValueError(f"is damaged ({_first_line(error)})") from error


class Room:
    """Limit how much of a resource all threads hold together; others wait.

    Parameters
    ----------
    limit : int
        Most that is held in all. One thread alone may hold more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Hold an amount, as soon as there is room."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + amount <= self._limit)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()


_ROOM = Room(MAX_PIXELS)


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error)
    return text.splitlines()[0] if text else type(error).__name__

"""Image files that people name, brought to the form that a run's examples have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elboroom.arguments import Prepare
from elboroom.data import images
from elboroom.data.image_files import TooLargeError
from elboroom.data.preparation import Way
from elboroom.errors import UsageError
from elboroom.run import Run

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Photo:
    """An image file in the form of a run's examples.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8 ``(h, w, c)``.
    how : str
        What was done to it, for the user to read; empty if it was taken as it is.
    """

    pixels: NDArray[np.uint8]
    how: str = ""


def read_photo(path: Path, shape: tuple[int, ...], run: Run, prepare: Prepare = "auto") -> Photo:
    """Prepare an image file as a run's examples were prepared.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    shape : tuple of int
        What the model takes, ``(h, w, c)``.
    run : Run
        Says how its examples were made.
    prepare : {"auto", "crop", "none"}
        "auto": like the run's examples; a file of the model's size is taken as it is. "crop": the largest
        centred part of the model's aspect, resized. "none": only files of the model's size are taken.

    Raises
    ------
    UsageError
        If there is no such file, it is damaged, or it cannot be prepared in this way.
    """
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise UsageError(
            f"{path}: the model takes examples of shape {shape}, and an image file holds one or three "
            "channels of pixels; name an example as SET:INDEX"
        )
    height, width, channels = shape
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the path of an image file")
    with _named(path):
        header = images.read_header(path)
        if (header.height, header.width) == (height, width) and prepare in ("auto", "none"):
            return Photo(images.decode(path, (height, width, channels)))
        if prepare != "none":
            ways, why = _ways(run, (height, width, channels), prepare)
            return _prepared(path, (height, width, channels), ways, why)
    raise UsageError(
        f"{path} is {header.width}×{header.height} and the model takes {width}×{height}; leave out "
        "--prepare none, or give an image of that size"
    )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except TooLargeError as error:
        raise UsageError(f"{path} {error}") from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: {error}; save it again as PNG or JPEG, or leave it out") from error


def _ways(run: Run, shape: Shape, prepare: Prepare) -> tuple[tuple[Way, ...], str]:
    """Return the ways to try, in this order, and why."""
    height, width, channels = shape
    crop = Way("crop", (height, width), channels)
    if prepare == "crop":
        return (crop,), ""
    known = run.preparation.photo_ways()
    if any(way.align != "none" for way in known):
        return known, "as the run's examples were"
    return (crop,), "because the run does not record how its examples were made"


def _prepared(path: Path, shape: Shape, ways: tuple[Way, ...], why: str) -> Photo:
    way = ways[0]
    pixels = images.decode(path, (*way.size, way.channels))
    how = f"the middle was cropped and resized to {shape[1]}×{shape[0]}"
    return Photo(_brought_to(pixels, shape), f"{how}, {why}" if why else how)


def _brought_to(pixels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Resize a prepared image as ``--data.size`` and ``--data.channels`` resized the run's examples."""
    if pixels.shape == shape:
        return pixels
    resized: NDArray[np.uint8] = images.resize_images(pixels[None], shape)[0]
    return resized

"""Image files that the user names, prepared like a run's examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.cli.options import Prepare
from elboroom.data import images
from elboroom.data.centre import centre
from elboroom.data.faces.prepared_photo import NoSuchFaceError, PreparedPhoto, prepare_photo, white_of_photo
from elboroom.data.image_files import TooLargeError
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import UsageError
from elboroom.runs.run import Run

Shape = tuple[int, int, int]

_FACE = re.compile(r"(?P<path>.+):(?P<face>\d+)")
_LISTED = 4  # most other faces of a photo that are listed


@dataclass(frozen=True)
class Photo:
    """An image file prepared like a run's examples.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8 ``(h, w, c)``.
    how : str
        A description of the preparation; empty if there was none.
    """

    pixels: NDArray[np.uint8]
    how: str = ""


def named_photo(name: str) -> tuple[Path, int | None] | None:
    """Read "photo.jpg", or "group.jpg:2" for the second largest face; None if it names no image file.

    Returns
    -------
    (pathlib.Path, int or None)
        The file, and the index of the face by size, from 0.

    Raises
    ------
    UsageError
        If the number of the face is 0.
    """
    if Path(name).exists():
        return Path(name), None
    found = _FACE.fullmatch(name)
    path = Path(found["path"]) if found else None
    if found is None or path is None or path.suffix.lower() not in images.SUFFIXES or not path.is_file():
        return None
    if int(found["face"]) < 1:
        raise UsageError(f"{name}: faces are numbered from 1, the largest")
    return path, int(found["face"]) - 1


def is_changed(name: str, shape: tuple[int, ...], prepare: Prepare) -> bool:
    """Whether a name is that of an image file that `read_photo` would change."""
    named = named_photo(name)
    if named is None:
        return False
    path, face = named
    with _named(path):
        header = images.read_header(path)
    same = (header.height, header.width) == shape[:2]
    return not same or face is not None or prepare in ("faces", "crop")


def read_photo(
    path: Path, shape: tuple[int, ...], run: Run, prepare: Prepare = "auto", face: int | None = None
) -> Photo:
    """Prepare an image file as a run's examples were prepared.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    shape : tuple of int
        Shape of the model's examples, ``(h, w, c)``.
    run : Run
        Records how its examples were prepared.
    prepare : {"auto", "faces", "crop", "none"}
        "auto": like the run's examples, except that a file of the model's size is not changed; for a model
        of random crops the file gets the size of the images that they were cut from, and its centre is cut
        out. "faces": find the face, align it and cut it out. "crop": resize the largest centred part of the
        model's aspect ratio. "none": accept only files of the model's size.
    face : int, optional
        Index of one of several faces, 0 being the largest; a face is then searched for in any case.

    Raises
    ------
    UsageError
        If the file or face does not exist, the file is damaged, or it cannot be prepared in this steps.
    """
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise UsageError(
            f"{path}: the model takes examples of shape {shape}, but an image file has one or three "
            "channels; give an example as SET:INDEX"
        )
    height, width, channels = shape
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the path of an image file")
    if face is not None and prepare in ("crop", "none"):
        raise UsageError(
            f"{path}:{face + 1} asks for a face, but --prepare {prepare} does not search for faces"
        )
    with _named(path):
        header = images.read_header(path)
        same = (header.height, header.width) == (height, width)
        if same and face is None and prepare in ("auto", "none"):
            white = _white(path, header, run)
            return Photo(images.decode(path, (height, width, channels), white), _brightened(white, run))
        if prepare != "none":
            return _prepared(path, header, (height, width, channels), run, prepare, face)
    raise UsageError(
        f"{path} is {header.width}×{header.height} and the model takes {width}×{height}; leave out "
        "--prepare none, or give an image of that size"
    )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in error messages."""
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


def _tries(run: Run, shape: Shape, prepare: Prepare) -> tuple[tuple[PhotoSteps, ...], str]:
    """List the preparations to try in order, and the reason for the last one."""
    height, width, channels = shape
    crop = PhotoSteps("crop", (height, width), channels)
    if prepare == "crop":
        return (crop,), ""
    made = run.preparation
    known = made.for_new_photos()
    crop = PhotoSteps("crop", made.stored or (height, width), channels)
    recorded = made.kind == "faces" or made.stored or any(steps.align != "none" for steps in known)
    if prepare == "auto" and recorded and known:
        return known, f"as {_whose(made, known[-1])} were"
    if prepare == "faces" or run.config.data.prepare == "faces":
        faces = [steps for steps in known if steps.finds_faces]
        return (faces[0] if faces else PhotoSteps("detect", crop.size, channels),), ""
    if run.config.data.prepare == "crop":
        return (crop,), "as the run's configuration says"
    return (
        crop,
    ), "as the run does not record how its examples were prepared (--prepare faces searches for a face)"


def _whose(made: Preparation, steps: PhotoSteps) -> str:
    labels = [label for label, one in made.by_label if one == steps and label]
    return f"the {' and '.join(labels)} of the run" if labels else "the run's examples"


def _white(path: Path, header: images.Header, run: Run) -> int:
    """Choose the white level of a 16-bit image: that of the run's examples, or one that fits its values."""
    if not header.deep:
        return images.WHITE
    return white_of_photo(path, _usual_white(run))


def _usual_white(run: Run) -> int:
    return max((each.white for _, each in run.preparation.by_label), default=images.WHITE)


def _brightened(white: int, run: Run) -> str:
    if white == _usual_white(run):
        return ""
    return f"its 16-bit values reach {white:,}, which was taken as white"


def _prepared(
    path: Path, header: images.Header, shape: Shape, run: Run, prepare: Prepare, face: int | None
) -> Photo:
    missing = ""
    tries, why = _tries(run, shape, "faces" if face is not None else prepare)
    for steps in tries:
        if not steps.finds_faces:
            white = _white(path, header, run)
            pixels = images.decode(path, (*steps.size, steps.channels), white)
            cropped = _how_cropped((header.height, header.width), steps.size, shape)
            said = (missing, f"{cropped}, {why}" if why else cropped, _brightened(white, run))
            reasons = "; ".join(filter(None, said))
            return Photo(_resized(pixels, shape, run), reasons)
        made = _with_face(path, steps, face)
        if made.found:
            return Photo(_resized(made.pixels, shape, run), made.how + _others(path, made, face or 0))
        missing = made.how.partition(": cropped")[0]
    raise UsageError(
        f"{path}: {missing}; give a photo that shows the face from the front, or take the middle of this one "
        "with --prepare crop"
    )


def _with_face(path: Path, steps: PhotoSteps, face: int | None) -> PreparedPhoto:
    try:
        return prepare_photo(path, steps, face=face)
    except NoSuchFaceError as error:
        assert face is not None
        count = f"{error.count} face{'' if error.count == 1 else 's'}"
        raise UsageError(
            f"{path}:{face + 1}: {count} found in this photo, numbered from 1, the largest"
        ) from None


def _others(path: Path, made: PreparedPhoto, taken: int) -> str:
    """List the faces of a photo that were not used."""
    boxes = [(i, box) for i, box in enumerate(made.faces) if i != taken]
    named = [f"{path.name}:{i + 1} at ({x:.0f}, {y:.0f})" for i, (x, y, *_) in boxes[:_LISTED]]
    more = f" and {len(boxes) - _LISTED} more" if len(boxes) > _LISTED else ""
    return f"; the others are {', '.join(named)}{more}" if named else ""


def _how_cropped(own: tuple[int, int], size: tuple[int, int], shape: Shape) -> str:
    """Describe how the middle of a photo was taken at a size, and perhaps a crop of it."""
    middle = "" if own == size != shape[:2] else f"the middle was cropped and resized to {size[1]}×{size[0]}"
    centre_crop = "" if size == shape[:2] else f"the centre {shape[1]}×{shape[0]} was taken"
    return ", of which ".join(filter(None, (middle, centre_crop)))


def _resized(pixels: NDArray[Any], shape: Shape, run: Run) -> NDArray[np.uint8]:
    """Resize a prepared image as ``--data.size`` and ``--data.channels`` do, and take its centre crop."""
    if pixels.shape == shape:
        return pixels
    wanted = (*(run.preparation.stored or shape[:2]), shape[2])
    if pixels.shape != wanted:
        pixels = images.resize_images(pixels[None], wanted)[0]
    result: NDArray[np.uint8] = np.ascontiguousarray(centre(pixels[None], *shape[:2])[0])
    return result

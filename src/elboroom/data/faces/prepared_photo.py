"""Prepare one photo as the photos of a face folder were prepared, for a model trained on those."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elboroom.data import images
from elboroom.data.dataset import Array
from elboroom.data.faces.detect import INSTALL, Search, Seen, is_installed, make_detector, search
from elboroom.data.faces.found import Box
from elboroom.data.faces.geometry import FaceError
from elboroom.data.faces.landmarks import FILES, Landmarks, Table, find_table, read_dog_parts
from elboroom.data.faces.photos import cut_face, is_utkface, look, opened_to_search, upright_size
from elboroom.data.preparation import PhotoSteps
from elboroom.errors import UsageError

_TURNED = {90: "90° to the left", 270: "90° to the right", 180: "upside down"}


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photo as a model takes it.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8 ``(h, w, c)``.
    how : str
        What was done, for the user to read.
    found : bool
        Whether a face was found or given and brought to its place, or the photo is a face crop by its name.
    faces : tuple of (float, float, float, float)
        Boxes ``(x, y, width, height)`` of all faces that were found, in pixels of the upright photo, the
        largest first; empty if none was found or none was looked for.
    """

    pixels: Array
    how: str
    found: bool = False
    faces: tuple[Box, ...] = ()


class NoSuchFaceError(UsageError):
    """A photo has fewer faces than the number that was asked for.

    Parameters
    ----------
    path : path-like
        The photo.
    face : int
        The number, from 0.
    count : int
        How many faces were found.
    """

    def __init__(self, path: str | os.PathLike[str], face: int, count: int) -> None:
        self.count = count
        found = (
            "no face was found" if not count else f"{count} face{' was' if count == 1 else 's were'} found"
        )
        super().__init__(f"{path}: face {face} was asked for and {found}; 0 is the largest")


def prepare_photo(
    path: str | os.PathLike[str], steps: PhotoSteps, *, face: int | None = None
) -> PreparedPhoto:
    """Prepare one photo as `elboroom.data.faces.prepare.prepare_faces` prepared those of a folder.

    Where a face should be found and none is, the middle of the photo is taken, and `PreparedPhoto.how` says
    so.

    Parameters
    ----------
    path : path-like
        The image file.
    steps : PhotoSteps
        What was done with the photos of that folder.
    face : int, optional
        Which of several faces to take, 0 being the largest, which is taken if this is not given.

    Raises
    ------
    UsageError
        If the file cannot be read, or there is no such face.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise UsageError(
            f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; give the path of an image"
        )
    try:
        return _prepared(path, replace(steps, white=white_of_photo(path, steps.white)), face)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{path}: {error}; save it again as PNG or JPEG, or leave it out") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error


def prepare_as_any(path: Path, tries: Sequence[PhotoSteps]) -> PreparedPhoto:
    """Prepare one photo with the first of several steps with which that can be done.

    Raises
    ------
    ValueError
        If it cannot be read, or a face should be found with all of these steps and none is.
    """
    missing = "no steps are known"
    for steps in tries:
        made = _prepared(path, replace(steps, white=white_of_photo(path, steps.white)), None)
        if made.found or not steps.finds_faces:
            return made
        missing = made.how.partition(": cropped")[0]
    raise ValueError(f"cannot be prepared as in training ({missing})")


def white_of_photo(path: Path, usual: int) -> int:
    """Which value of a new photo is white: `usual`, or if that is 65535, what the photo's own values suggest.

    For photos of 16 bits only: 65535 is also what is kept of training photos of 8 bits.

    Raises
    ------
    ValueError
        If the photo cannot be read.
    """
    if usual < images.WHITE or not images.read_header(path).deep:
        return usual
    return images.white_of([images.peak(path)])


def _prepared(path: Path, steps: PhotoSteps, face: int | None) -> PreparedPhoto:
    if face is not None:
        return _found(path, steps, face)
    if steps.align == "none":
        return _middle(path, steps, "taken as a face crop")
    if steps.align == "crop":
        return _middle(path, steps)
    if steps.align in ("auto", "landmarks"):
        given = _given(path)
        if isinstance(given, Landmarks):
            made = _cut(path, steps, given, f"aligned by the landmarks of {_source(given)}")
            return _middle(path, steps, made) if isinstance(made, str) else made
        if given is not None:
            return _middle(path, steps, f"{given}: cropped to the middle square")
    if steps.align == "auto" and is_utkface(path, upright_size(path)):
        return replace(_middle(path, steps, "taken as the face crop that its name says it is"), found=True)
    if steps.align == "landmarks" and steps.template != "person":
        return _middle(path, steps, "it has no landmarks: cropped to the middle square")
    return _found(path, steps, 0)


def _found(path: Path, steps: PhotoSteps, face: int) -> PreparedPhoto:
    """Search the photo for faces and take one."""
    name, find = _finder(steps.detector)
    if find is None:
        return _middle(path, steps, f"{_no_detector(steps.detector)}: cropped to the middle square")
    with opened_to_search(path, steps.size, steps.white) as opened:
        seen = look(find, *opened)
        boxes = tuple(found.box for found in seen.faces)
        if not 0 <= face < max(1, len(boxes)):
            raise NoSuchFaceError(path, face, len(boxes))
        if boxes:
            how = f"face found by {name}{_which(seen, face)}"
            made = _cut(path, steps, seen.faces[face].landmarks, how, boxes, opened)
    if not boxes:
        return _middle(path, steps, f"no face found by {name}: cropped to the middle square")
    return _middle(path, steps, made, boxes) if isinstance(made, str) else made


def _cut(
    path: Path,
    steps: PhotoSteps,
    landmarks: Landmarks,
    how: str,
    boxes: tuple[Box, ...] = (),
    opened: tuple[Any, tuple[int, int]] | None = None,
) -> PreparedPhoto | str:
    """Cut out a face, or say that it cannot be done."""
    try:
        pixels, _, _ = cut_face(
            path,
            landmarks,
            steps.template,
            (*steps.size, steps.channels),
            opened,
            steps.white,
        )
    except FaceError as error:
        return f"{how}, but it cannot be aligned (the photo {error}): cropped to the middle square"
    return PreparedPhoto(pixels, how, True, boxes)


def _middle(
    path: Path,
    steps: PhotoSteps,
    how: str = "cropped to the middle square",
    boxes: tuple[Box, ...] = (),
) -> PreparedPhoto:
    pixels = images.decode(path, (*steps.size, steps.channels), steps.white)
    if steps.size[0] != steps.size[1]:
        how = how.replace("middle square", "middle")
    return PreparedPhoto(pixels, how, False, boxes)


def _given(path: Path) -> Landmarks | str | None:
    table = _table(path.parent, _changed(path.parent))
    given = None if table is None else table.get(path.name, f"{path.resolve().parent.name}/{path.name}")
    return read_dog_parts(path) if given is None else given


def _changed(folder: Path) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for name in FILES if (file := folder / name).is_file())


@functools.lru_cache(maxsize=8)
def _table(folder: Path, _: tuple[int, ...]) -> Table | None:
    """The landmarks beside photos, read once for all of them unless their files change."""
    return find_table(folder)


def _source(landmarks: Landmarks) -> str:
    return "its part file" if landmarks.source == "parts" else landmarks.source


def _which(seen: Seen, face: int) -> str:
    count = len(seen.faces)
    chosen = "the largest" if face == 0 else f"number {face + 1} by size"
    parts = [f"{chosen} of {count} faces"] if count > 1 else []
    if seen.turn:
        parts.append(f"the photo was turned {_TURNED[seen.turn]}")
    return "".join(f"; {part}" for part in parts)


def _no_detector(name: str) -> str:
    return (
        "no face was searched for, as the detector is 'none'"
        if name == "none" or is_installed()
        else f"no face was searched for, as OpenCV is not installed ({INSTALL})"
    )


@functools.lru_cache(maxsize=4)
def _finder(name: str) -> tuple[str, Search | None]:
    """Name and search of a detector; a model that is no longer there is replaced by what there is."""
    if name.lower().endswith(".onnx") and not Path(name).expanduser().is_file():
        name = "auto"
    detector = make_detector(name) if is_installed() else None
    return ("none", None) if detector is None else (detector.name, search(detector, every=True))

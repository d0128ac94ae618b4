"""The photos of a folder with their marks, as the page shows and changes them."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from elboroom.annotation.rows import FILE, name_problem, rows_of_json, set_row
from elboroom.data import images
from elboroom.data.faces.geometry import PARTS, FaceError, Points, fit_face
from elboroom.data.faces.landmarks import FILES, Landmarks, find_table, read_dog_parts
from elboroom.data.faces.photos import (
    Photo,
    check_folder,
    common_white,
    cut_face,
    names_of,
    scan,
    upright,
    upright_size,
)
from elboroom.data.faces.plan import template_for
from elboroom.errors import UsageError, printable, shortened
from elboroom.io.files import check_writable

SIDES = (1024, 2048, 4096)
"""Longest sides, in pixels, at which photos are shown."""
CROP = 192
_QUALITY = 90
_THREADS = 4

TODO, MARKED, SKIPPED = "todo", "marked", "skipped"


class PhotoError(UsageError):
    """A photo cannot be read, or no face cut out of it; the text says why."""


@dataclass(frozen=True)
class Counts:
    """How many photos there are, have both eyes marked, are left out on purpose, and are neither."""

    photos: int
    marked: int
    skipped: int

    @property
    def todo(self) -> int:
        """Photos that are still to be marked."""
        return self.photos - self.marked - self.skipped


class Marks:
    """The photos below a folder, in the order of their paths, and their landmarks.

    Every photo has a number that it keeps while this object lives, whatever comes into the folder or goes.
    All methods may be called by several threads.

    Parameters
    ----------
    folder : pathlib.Path
        With photos; ``landmarks.csv`` is read from it and written to it.
    template : str
        "person", "dog" or "auto", as for `elboroom.data.faces.prepare.prepare_faces`.

    Raises
    ------
    UsageError
        If there is no such folder, it has no photos, or its landmarks file cannot be used.
    FailureError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, template: str = "auto"):
        check_folder(folder)
        check_writable([folder])
        self.folder, self.file = folder, folder / FILE
        self._given_template = template
        self._lock = threading.RLock()
        self._numbers: dict[Path, int] = {}
        self._photos: dict[int, Photo] = {}
        self.rescan()
        if self.takes_over is not None:
            rows_of_json(self.takes_over)
        if not self._photos:
            kinds = ", ".join(sorted(suffix[1:] for suffix in images.SUFFIXES))
            raise UsageError(f"{folder} contains no photos that can be read ({kinds})")

    def rescan(self) -> None:
        """Read again which photos there are, and their landmarks.

        Raises
        ------
        UsageError
            If the landmarks file cannot be used.
        """
        with self._lock:
            photos, self._unread = scan(self.folder, 0, None)
            for photo in photos:
                self._numbers.setdefault(photo.path, len(self._numbers))
            self._photos = {self._numbers[photo.path]: photo for photo in photos}

    @property
    def takes_over(self) -> Path | None:
        """The JSON file whose landmarks the first mark copies to ``landmarks.csv``, if there is one."""
        other = self.folder / FILES[1]
        return other if other.is_file() and not self.file.is_file() else None

    @property
    def template(self) -> str:
        """What ``data faces`` would align these photos to: "person" or "dog"."""
        with self._lock:
            return template_for(self._given_template, list(self._photos.values()))

    @property
    def counts(self) -> Counts:
        """How many photos are done."""
        with self._lock:
            found = Counter(_status(photo) for photo in self._photos.values())
        return Counts(found.total(), found[MARKED], found[SKIPPED])

    def tree(self) -> dict[str, Any]:
        """Describe everything for the page: photos in order with their numbers, names, states and points."""
        with self._lock:
            template = self.template
            photos = [_described(number, photo, template) for number, photo in self._photos.items()]
            return {
                "folder": printable(self.folder.resolve().name),
                "file": printable(str(self.file)),
                "template": template,
                "parts": list(PARTS[:3] if self._given_template == "dog" else PARTS),
                "unread": [[printable(skip.path), skip.reason] for skip in self._unread],
                "photos": photos,
            }

    def size(self, number: int) -> tuple[int, int]:
        """Read width and height of the upright photo.

        Raises
        ------
        UsageError
            If there is no such photo.
        PhotoError
            If it cannot be read; the text says why.
        """
        path = self._path(number)
        try:
            height, width = upright_size(path)
        except (ValueError, OSError) as error:
            raise PhotoError(_reason(error)) from None
        return width, height

    def picture(self, number: int, side: int) -> bytes:
        """Return the upright photo as JPEG, brought down to a longest side of at most `side` pixels.

        Raises
        ------
        UsageError, PhotoError
            As `size`.
        """
        from PIL import Image

        path = self._path(number)
        try:
            with upright(path, least_side=side, white=self._white(path)) as (image, (height, width)):
                scale = min(1.0, side / max(height, width))
                size = (max(1, round(width * scale)), max(1, round(height * scale)))
                # Of a photo decoded smaller than it is, the aspect is the full one's.
                shown = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
                return _encoded(shown, "JPEG", quality=_QUALITY)
        except (ValueError, OSError, MemoryError) as error:
            raise PhotoError(_reason(error)) from None

    def crop(self, number: int, points: Mapping[str, Any]) -> bytes:
        """Cut the face as ``data faces`` would, as PNG in colour.

        Raises
        ------
        UsageError
            If there is no such photo, or a point is outside of it.
        PhotoError
            If it cannot be read, or `points` cannot be those of a face; the text says why.
        """
        from PIL import Image

        landmarks = Landmarks(self._checked(number, points), FILE)
        path = self._path(number)
        try:
            pixels, _, _ = cut_face(path, landmarks, self.template, (CROP, CROP, 3), white=self._white(path))
        except (ValueError, OSError, MemoryError) as error:
            raise PhotoError(_reason(error)) from None
        return _encoded(Image.fromarray(pixels), "PNG")

    def save(self, number: int, points: Mapping[str, Any] | None) -> dict[str, Any]:
        """Write the marks of a photo to the file and describe the photo as it is then.

        Parameters
        ----------
        number : int
            Of the photo.
        points : mapping of str to (float, float) or None
            Both eyes, and perhaps nose and mouth, in pixels of the upright photo. If empty, the photo is left
            out; None takes all marks away.

        Raises
        ------
        UsageError
            If there is no such photo, or a point is outside of it.
        FailureError
            If the file cannot be written.
        """
        found = None if points is None else self._checked(number, points) if points else {}
        with self._lock:
            path = self._path(number)
            alone = sum(other.path.name == path.name for other in self._photos.values()) == 1
            names = names_of(self.folder, path, alone=alone)
            if problem := name_problem(names[0]):
                raise UsageError(problem)
            set_row(self.file, names, found)
            table = find_table(self.folder)
            given = None if table is None else table.get(*names)
            given = read_dog_parts(path) if given is None else given
            self._photos[number] = replace(self._photos[number], given=given)
            template = self.template
            return {**_described(number, self._photos[number], template), "template": template}

    def _path(self, number: int) -> Path:
        with self._lock:
            if number not in self._photos:
                raise UsageError("is no longer in the folder; load the page again")
            return self._photos[number].path

    def _white(self, path: Path) -> int:
        return self._common_white if images.read_header(path).deep else images.WHITE

    @cached_property
    def _common_white(self) -> int:
        with self._lock:
            photos = list(self._photos.values())
        return common_white(photos, _THREADS)

    def _checked(self, number: int, points: Mapping[str, Any]) -> Points:
        """Return points that lie in the photo, both eyes among them."""
        width, height = self.size(number)
        found = {}
        for part, pair in points.items():
            if part not in PARTS:
                raise UsageError(f"{shortened(part)} is no part of a face; use {', '.join(PARTS)}")
            numbers = isinstance(pair, list | tuple) and all(map(_is_number, pair))
            if not numbers or len(pair) != 2:
                raise UsageError(f"{part} is not two numbers; mark it again")
            x, y = pair
            if not (0 <= x <= width and 0 <= y <= height):
                raise UsageError(f"{part} is outside of the photo ({width}×{height}); mark it again")
            found[part] = (float(x), float(y))
        for part in PARTS[:2]:
            if part not in found:
                raise UsageError(f"{part.replace('_', ' ')} is missing; mark both eyes, or skip the photo")
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _status(photo: Photo) -> str:
    if isinstance(photo.given, Landmarks):
        return MARKED
    return SKIPPED if photo.given is not None and photo.given.endswith(_LEFT_OUT) else TODO


_LEFT_OUT = ": has no left_eye and no right_eye"  # what `read_table` says of a row without coordinates


def _described(number: int, photo: Photo, template: str) -> dict[str, Any]:
    place = photo.name.partition("/")[2]
    status, given = _status(photo), photo.given
    note = name_problem(place) or (given if isinstance(given, str) and status == TODO else None)
    if isinstance(given, Landmarks) and note is None:
        note = _misplaced(given.points, template)
    return {
        "id": number,
        "name": printable(place),
        "status": status,
        "note": None if note is None else printable(note),
        "points": {part: list(point) for part, point in given.points.items()}
        if isinstance(given, Landmarks)
        else {},
    }


def _misplaced(points: Points, template: str) -> str | None:
    """Say why a face with these marks cannot be aligned; None if it can."""
    try:
        fit_face(points, template, (CROP, CROP))
    except FaceError as error:
        return str(error)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, FaceError):
        return str(error)
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    return "does not fit into memory; scale it down" if isinstance(error, MemoryError) else str(error)


def _encoded(image: Any, kind: str, **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()

"""From one photo to one face: find the landmarks, align, cut; or say why not."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data import images
from elboroom.data.dataset import Array, Skipped
from elboroom.data.detect import Search
from elboroom.data.face_geometry import cut, fit_face, outside
from elboroom.data.folder import walk_images as walk
from elboroom.data.landmarks import Given, Landmarks, Table, find_table, read_dog_parts, read_utkface_name
from elboroom.errors import UsageError

MOST_OUTSIDE = 0.35
_FOUND_IN = 1280  # longest side that photos are decoded to when a face must be found in them
_UNREAD = frozenset({".heic", ".heif", ".avif", ".jfif", ".jp2", ".psd", ".tga", ".cr2", ".nef", ".dng"})


@dataclass(frozen=True)
class Photo:
    """An image file with the number of its folder, and what is known of its landmarks."""

    path: Path
    name: str
    label: int
    given: Given | None


@dataclass(frozen=True)
class Recipe:
    """What is done with every photo.

    Attributes
    ----------
    size : (int, int)
        Height and width of a crop.
    channels : int
        1 or 3.
    align : bool
        If not, photos are face crops already.
    pass_crops : bool
        Whether square photos with names of UTKFace, which are face crops already, are taken as they are.
    templates : tuple of str
        For each label.
    find : callable, optional
        The detector.
    no_landmarks : str
        What to say of a photo without landmarks.
    """

    size: tuple[int, int]
    channels: int
    align: bool
    pass_crops: bool
    templates: tuple[str, ...]
    find: Search | None
    no_landmarks: str


@dataclass(frozen=True)
class Face:
    """A crop, and how it came about."""

    pixels: Array
    digest: bytes
    source: str
    template: str = ""
    landmarks: Landmarks | None = None
    transform: Array | None = None
    outside: float = 0.0


def scan(folder: Path, label: int, table: Table | None) -> tuple[list[Photo], list[Skipped]]:
    """List the photos of a folder in the order of their paths, with the landmarks that come with them.

    Raises
    ------
    UsageError
        If the folder's landmarks file cannot be used.
    """
    name = folder.resolve().name
    table = table or find_table(folder)
    photos = []
    for path in walk(folder):
        place = path.relative_to(folder).as_posix()
        given = None if table is None else table.get(place, f"{name}/{place}", path.name)
        photos.append(Photo(path, f"{name}/{place}", label, read_dog_parts(path) if given is None else given))
    return photos, list(_unread(folder, name))


def _unread(folder: Path, name: str) -> Iterator[Skipped]:
    for root, _, files in os.walk(folder):
        for file in sorted(files):
            if Path(file).suffix.lower() in _UNREAD - images.SUFFIXES:
                place = Path(root, file).relative_to(folder).as_posix()
                yield Skipped(f"{name}/{place}", "is of a kind that is not read; save it as JPEG or PNG")


def make_face(photo: Photo, recipe: Recipe) -> Face | str:
    """Make a face of a photo, or say why that cannot be done."""
    try:
        with photo.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        square = len(set(_size(photo.path))) == 1
        is_utkface = photo.given is None and read_utkface_name(photo.path.name) is not None
        if not recipe.align or (recipe.pass_crops and square and is_utkface):
            pixels = images.decode(photo.path, (*recipe.size, recipe.channels))
            return Face(pixels, digest, "utkface" if recipe.align else "crop")
        return _aligned(photo, recipe, digest)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except MemoryError:
        return "does not fit into memory; scale it down"


def _size(path: Path) -> tuple[int, int]:
    """Read a photo's width and height as stored, without decoding it."""
    with images.Opened(path) as image:
        size: tuple[int, int] = image.size
        return size


def _aligned(photo: Photo, recipe: Recipe, digest: bytes) -> Face:
    template, landmarks = recipe.templates[photo.label], photo.given
    with ExitStack() as held:  # the decoded photo, of which all threads together hold only so much
        opened = None
        if landmarks is None and recipe.find is not None:
            opened = held.enter_context(_upright(photo.path, least_side=max(_FOUND_IN, 8 * max(recipe.size))))
            image, full = opened
            landmarks = recipe.find(image)
            if landmarks is not None:
                landmarks = landmarks.scaled(full[1] / image.width, full[0] / image.height)
        if not isinstance(landmarks, Landmarks):
            raise ValueError(landmarks or recipe.no_landmarks)  # noqa: TRY004 - a reason, not a wrong type
        transform = fit_face(landmarks.points, template, recipe.size)
        least_scale = 2 * float(np.hypot(*transform[:, 0]))
        image, full = opened or held.enter_context(_upright(photo.path, least_scale=least_scale))
        beyond = outside(transform, full, recipe.size)
        if beyond > MOST_OUTSIDE:
            raise ValueError(f"has {beyond:.0%} of the face's square beyond its edges")
        # A photo that was decoded smaller has another scale, which the transform must undo.
        ratio = np.array([image.width / full[1], image.height / full[0], 1.0])
        pixels = cut(image.convert("L" if recipe.channels == 1 else "RGB"), transform / ratio, recipe.size)
    return Face(pixels, digest, landmarks.source, template, landmarks, transform, beyond)


@contextmanager
def _upright(
    path: Path, least_scale: float = 0.0, least_side: int = 0
) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Hold a photo decoded upright to mode L or RGB, with its full height and width.

    A JPEG is decoded smaller where its scale stays at `least_scale` and its longest side at `least_side`.
    """

    def least(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, max(least_scale, least_side / max(width, height)))
        return max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))

    with images.decoded(path, least) as (image, full):
        yield images.eight_bit(image), full


def check_folder(folder: Path) -> None:
    """Refuse a path that is no folder.

    Raises
    ------
    UsageError
        That says so.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}; give folders of photos, such as photos/people photos/dogs")

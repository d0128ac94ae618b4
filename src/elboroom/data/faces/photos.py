"""Make a face of one photo: find the landmarks, align, crop; or give the reason why not."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data import images
from elboroom.data.dataset import Array, Skipped
from elboroom.data.faces.detect import Search, Seen
from elboroom.data.faces.geometry import FaceError, cut, fit_face, outside
from elboroom.data.faces.landmarks import (
    Given,
    Landmarks,
    Table,
    find_table,
    read_dog_parts,
    read_utkface_name,
)
from elboroom.data.image_tree import OURS, UNREAD, unread_reason
from elboroom.data.image_tree import walk_images as walk
from elboroom.data.preparation import Align, Template
from elboroom.errors import UsageError

MOST_OUTSIDE = 0.35
_FOUND_IN = 1280  # longest side that photos are decoded to when a face must be found in them
_OTHER_SHAPE = 1.05  # a face crop's aspect may differ by this factor


@dataclass(frozen=True)
class Photo:
    """An image file with the number of its folder, and what is known of its landmarks."""

    path: Path
    name: str
    label: int
    given: Given | None


@dataclass(frozen=True)
class FacePlan:
    """How every photo becomes a face.

    Attributes
    ----------
    size : (int, int)
        Height and width of a crop.
    channels : int
        1 or 3.
    methods : tuple of str
        For each label, as `elboroom.data.preparation.PhotoSteps.align`.
    templates : tuple of str
        For each label.
    find : tuple of callable or None
        The search for faces, for each label; None where nothing is to be searched.
    no_face, no_landmarks : str
        What to say of a photo that was searched in vain, and of one without landmarks that was not searched.
    seen : mapping of Path to Seen
        What was found in photos that were searched before.
    white : int
        The value that becomes 255 in photos of 16 bits.
    """

    size: tuple[int, int]
    channels: int
    methods: tuple[Align, ...]
    templates: tuple[Template, ...]
    find: tuple[Search | None, ...]
    no_face: str
    no_landmarks: str
    seen: Mapping[Path, Seen] = field(default_factory=dict)
    white: int = images.WHITE


@dataclass(frozen=True)
class Face:
    """A crop, and how it came about; `count` faces were found, in the photo turned by `turn` degrees."""

    pixels: Array
    digest: bytes
    source: str
    template: str = ""
    landmarks: Landmarks | None = None
    transform: Array | None = None
    outside: float = 0.0
    count: int = 0
    turn: int = 0


def scan(folder: Path, label: int, table: Table | None) -> tuple[list[Photo], list[Skipped]]:
    """List the photos of a folder in the order of their paths, with the landmarks that come with them.

    Raises
    ------
    UsageError
        If the folder's landmarks file cannot be used.
    """
    name = folder.resolve().name
    table = table or find_table(folder)
    photos, ours = [], list[Path]()
    paths = walk(folder, left_out=ours)
    often = Counter(path.name for path in paths)
    for path in paths:
        place = path.relative_to(folder).as_posix()
        given = None if table is None else table.get(*names_of(folder, path, alone=often[path.name] == 1))
        photos.append(Photo(path, f"{name}/{place}", label, read_dog_parts(path) if given is None else given))
    passed = [Skipped(f"{name}/{one.relative_to(folder).as_posix()}", OURS) for one in ours]
    return photos, [*passed, *_unread(folder, name)]


def names_of(folder: Path, path: Path, *, alone: bool) -> tuple[str, ...]:
    """Names by which a landmarks file may mean a photo of a folder; the first that the file holds counts.

    The bare name of a photo in a sub-folder is among them only if it is `alone` with it.
    """
    place = path.relative_to(folder).as_posix()
    return (place, f"{folder.resolve().name}/{place}", *([path.name] if alone else []))


def _unread(folder: Path, name: str) -> Iterator[Skipped]:
    for root, _, files in os.walk(folder):
        for file in sorted(files):
            suffix = Path(file).suffix.lower()
            if suffix in UNREAD:
                place = Path(root, file).relative_to(folder).as_posix()
                yield Skipped(f"{name}/{place}", unread_reason(Path(file)))


def common_white(photos: Sequence[Photo], workers: int) -> int:
    """Which value is white in the photos of 16 bits; see `elboroom.data.images.white_for`."""

    def highest(photo: Photo) -> int | None:
        try:
            return images.peak(photo.path) if images.read_header(photo.path).deep else None
        except (ValueError, OSError, MemoryError):
            return None  # why it cannot be used is said when its turn comes

    with ThreadPoolExecutor(workers) as pool:
        return images.white_of(peak for peak in pool.map(highest, photos) if peak is not None)


def make_face(photo: Photo, plan: FacePlan) -> Face | str:
    """Make a face of a photo, or say why that cannot be done."""
    try:
        with photo.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        source = as_it_is(photo, plan)
        if source:
            pixels = images.decode(photo.path, (*plan.size, plan.channels), plan.white)
            return Face(pixels, digest, source)
        return _aligned(photo, plan, digest)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except MemoryError:
        return "does not fit into memory; scale it down"


def as_it_is(photo: Photo, plan: FacePlan) -> str:
    """Say why a photo needs no landmarks: "crop", "none" or "utkface"; empty if it does.

    Raises
    ------
    ValueError
        If it cannot be read, or is no face crop where the photos are said to be that.
    """
    method, (height, width) = plan.methods[photo.label], upright_size(photo.path)
    if method == "none":
        aspect = (width / height) / (plan.size[1] / plan.size[0])
        if not 1 / _OTHER_SHAPE <= aspect <= _OTHER_SHAPE:
            wanted = f"{plan.size[1]}×{plan.size[0]}"
            raise ValueError(
                f"is {width}×{height}, not the shape of a {wanted} face crop; align it with 'crop'"
            )
        return "none"
    if method == "crop":
        return "crop" if photo.given is None else ""
    return (
        "utkface"
        if method == "auto" and photo.given is None and is_utkface(photo.path, (height, width))
        else ""
    )


def is_utkface(path: Path, size: tuple[int, int]) -> bool:
    """Whether a photo is a face crop of the set UTKFace, by its name and its square shape."""
    return size[0] == size[1] and read_utkface_name(path.name) is not None


def upright_size(path: Path) -> tuple[int, int]:
    """Read a photo's height and width without decoding it.

    Raises
    ------
    ValueError
        That says why it cannot be read.
    """
    header = images.read_header(path)
    return header.height, header.width


def _aligned(photo: Photo, plan: FacePlan, digest: bytes) -> Face:
    template, landmarks, find = plan.templates[photo.label], photo.given, plan.find[photo.label]
    seen, shape = Seen(()), (*plan.size, plan.channels)
    with ExitStack() as held:  # the decoded photo, of which all threads together hold only so much
        opened = None
        if landmarks is None and find is not None:
            if photo.path in plan.seen:
                seen = plan.seen[photo.path]
            else:
                opened = held.enter_context(opened_to_search(photo.path, plan.size, plan.white))
                seen = look(find, *opened)
            landmarks = seen.faces[0].landmarks if seen.faces else None
        if not isinstance(landmarks, Landmarks):
            missing = plan.no_landmarks if find is None else plan.no_face
            raise ValueError(landmarks or missing)  # noqa: TRY004 - a reason, not a wrong type
        pixels, transform, beyond = cut_face(photo.path, landmarks, template, shape, opened, plan.white)
    return Face(
        pixels, digest, landmarks.source, template, landmarks, transform, beyond, len(seen.faces), seen.turn
    )


def opened_to_search(
    path: Path, size: tuple[int, int], white: int = images.WHITE
) -> AbstractContextManager[tuple[Any, tuple[int, int]]]:
    """Hold a photo as large as a search for faces and a crop of `size` need it; see `upright`."""
    return upright(path, least_side=max(_FOUND_IN, 8 * max(size)), white=white)


def look(find: Search, image: Any, full: tuple[int, int]) -> Seen:
    """Find the faces of a photo that is `full = (height, width)` large, in its own pixels."""
    seen = find(image)
    across, down = full[1] / image.width, full[0] / image.height
    return Seen(tuple(face.moved(lambda x, y: (x * across, y * down)) for face in seen.faces), seen.turn)


def cut_face(
    path: Path,
    landmarks: Landmarks,
    template: str,
    shape: tuple[int, int, int],
    opened: tuple[Any, tuple[int, int]] | None = None,
    white: int = images.WHITE,
) -> tuple[Array, Array, float]:
    """Align a face to a template and cut it out.

    Parameters
    ----------
    path : pathlib.Path
        The photo.
    landmarks : Landmarks
        Of the face, in pixels of the upright photo.
    template : str
        Where its parts are brought to.
    shape : (int, int, int)
        Height, width and channels of the crop.
    opened : (PIL.Image.Image, (int, int)), optional
        What `upright` gives, if the photo is decoded already.
    white : int
        The value that becomes 255 if it is of 16 bits.

    Returns
    -------
    pixels : numpy.ndarray
        uint8 ``(h, w, c)``.
    transform : numpy.ndarray
        ``(2, 3)``, from the photo's pixels to the crop's.
    outside : float
        The share of the crop that lies beyond the photo.

    Raises
    ------
    FaceError
        If the landmarks cannot be aligned, or too much of the face is beyond the photo's edges.
    """
    size = shape[:2]
    transform = fit_face(landmarks.points, template, size)
    with ExitStack() as held:
        least_scale = 2 * float(np.hypot(*transform[:, 0]))
        image, full = opened or held.enter_context(upright(path, least_scale=least_scale, white=white))
        beyond = outside(transform, full, size)
        if beyond > MOST_OUTSIDE:
            raise FaceError(f"has {beyond:.0%} of the face's square beyond its edges")
        # A photo that was decoded smaller has another scale, which the transform must undo.
        ratio = np.array([image.width / full[1], image.height / full[0], 1.0])
        pixels = cut(image.convert("L" if shape[2] == 1 else "RGB"), transform / ratio, size)
    return pixels, transform, beyond


@contextmanager
def upright(
    path: Path, least_scale: float = 0.0, least_side: int = 0, white: int = images.WHITE
) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Hold a photo decoded upright to mode L or RGB, with its full height and width.

    A JPEG is decoded smaller where its scale stays at `least_scale` and its longest side at `least_side`.
    """

    def least(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, max(least_scale, least_side / max(width, height)))
        return max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))

    with images.decoded(path, least) as (image, full):
        yield images.eight_bit(image, white), full


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

"""Faces out of photos: found or given landmarks, aligned, cut, and kept as one array.

Every photo is turned, scaled and shifted so that eyes, nose and mouth come as close as possible to fixed
places (`elboroom.data.face_geometry.TEMPLATES`). Landmarks come from a file beside the photos, from
annotations in the layout of Columbia's "Dogs with Parts", or from a detector. What cannot be used is listed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.dataset import Dataset, Skipped
from elboroom.data.detect import INSTALL, is_installed, make_detector, search
from elboroom.data.face_files import Writer, check_free, commonest, is_prepared, load_prepared, new_folder
from elboroom.data.face_geometry import TEMPLATES, nearest_template
from elboroom.data.face_photos import Face, Photo, Recipe, check_folder, make_face, scan
from elboroom.data.landmarks import Landmarks, Table, read_table
from elboroom.errors import UsageError, nearest

__all__ = ["Prepared", "is_prepared", "load_prepared", "prepare_faces"]

_AHEAD = 8  # photos in work or waiting, per worker
_PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Prepared:
    """What came of preparing photos.

    Attributes
    ----------
    path : pathlib.Path
        The folder with the faces.
    kept : dict of str to int
        Faces by label.
    templates : dict of str to str
        The template of each label; empty if nothing was aligned.
    rejected : tuple of Skipped
        Photos left out, with the reasons.
    seconds : float
        The time it took.
    reused : bool
        Whether the faces were there already.
    detector : str
        What was to find landmarks that did not come with the photos: such as "haar", or "auto (haar)".
    notes : tuple of str
        What one should look at.
    """

    path: Path
    kept: dict[str, int]
    templates: dict[str, str]
    rejected: tuple[Skipped, ...]
    seconds: float
    reused: bool = False
    detector: str = "none"
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Reasons for leaving photos out with their counts, the commonest first."""
        return commonest(self.rejected)


def prepare_faces(
    folders: Sequence[_PathLike],
    out: _PathLike,
    *,
    size: int | tuple[int, int] = 64,
    channels: int = 1,
    align: bool = True,
    detector: str = "auto",
    landmarks: _PathLike | None = None,
    template: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Find, align and crop the faces of photos into a folder that can be trained on.

    Landmarks of a photo are looked for in this order: `landmarks`, or else ``landmarks.csv`` or
    ``landmarks.json`` in its folder; an annotation of Columbia's "Dogs with Parts"; the detector. Square
    photos with names of UTKFace are face crops and taken as they are, unless landmarks came with them or a
    detector is named.

    The folder gets ``x.npy`` (uint8 ``(n, h, w, c)``), ``labels.npy``, ``split.npy`` (a tenth of each label
    is for testing, chosen by the photos' contents), ``meta.json``, ``manifest.csv`` (a row per face) and
    ``rejected.csv`` (a row per photo left out). It is written whole or not at all. If it is there already,
    made of the same photos in the same way, it is left as it is.

    Parameters
    ----------
    folders : sequence of path-like
        One for each label, which is the folder's name; photos in sub-folders belong to it.
    out : path-like
        The folder to write.
    size : int or (int, int)
        Side, or height and width, of a crop in pixels.
    channels : {1, 3}
        Grey or colour.
    align : bool
        Whether to align; if not, photos are face crops already and are only cut to shape and resized.
    detector : str
        See `elboroom.data.detect.make_detector`.
    landmarks : path-like, optional
        A CSV or JSON file; see `elboroom.data.landmarks.read_table`.
    template : str
        Where the parts are brought to: "person", "dog", or "auto", which decides for each folder: dogs are
        those of Columbia's layout, and those whose landmarks show low noses.
    workers : int, optional
        Threads; the number of processors, up to 8, if not given.
    strict : bool
        Whether a photo that cannot be used is an error.
    overwrite : bool
        Whether to replace faces that were made of other folders or with other options.
    on_progress : callable, optional
        Called with the numbers of photos done and of all.

    Raises
    ------
    UsageError
        If an argument is wrong, a folder is missing or without photos, `out` holds something else, or no
        photo can be used.
    FailureError
        If the disk is full.
    """
    start = time.monotonic()
    roots, target = [Path(folder).expanduser() for folder in folders], Path(out).expanduser()
    shape = _checked(size, channels, workers)
    if template not in ("auto", *TEMPLATES):
        raise UsageError(f"no template {template!r}; {nearest(template, ('auto', *TEMPLATES))}")
    names = _names(roots)
    find = make_detector(detector) if align else None
    table = None if landmarks is None or not align else read_table(Path(landmarks).expanduser())
    photos, unread = _scan_all(roots, table)
    recipe = Recipe(
        shape[:2],
        channels,
        align,
        detector in ("auto", "none"),
        tuple(_template(template, photos, label) for label in range(len(roots))),
        None if find is None else search(find),
        _no_landmarks(detector, None if find is None else find.name),
    )
    key = _key(roots, photos, recipe, template, detector, "none" if find is None else find.name)
    if check_free(target, roots, overwrite, key):
        return _prepared(target, load_prepared(target), recipe, key, start, reused=True)
    with new_folder(target) as scratch, closing(Writer(scratch, len(photos), shape)) as writer:
        writer.rejected += unread
        for done, (photo, face) in enumerate(_work(photos, recipe, workers), 1):
            if strict and isinstance(face, str):
                raise UsageError(f"{photo.path}: {face}; correct or remove it")
            writer.add(photo, face)
            if on_progress is not None:
                on_progress(done, len(photos))
        if not writer.count:
            reason, count = commonest(writer.rejected)[0]
            raise UsageError(
                f"none of {len(photos)} photos can be used; {count} of them each {reason}"
                + (f" ({writer.rejected[0].path})" if len(photos) > 1 else "")
            )
        data = writer.finish(target.name, names, key)
    notes = tuple(_notes(names, photos, writer, recipe))
    return _prepared(target, data, recipe, key, start, notes=notes)


def _prepared(
    path: Path, data: Dataset, recipe: Recipe, key: dict[str, Any], start: float, **facts: Any
) -> Prepared:
    labels = np.zeros(len(data), np.int64) if data.labels is None else data.labels
    counts = np.bincount(labels, minlength=len(data.label_names)).tolist()
    templates = zip(data.label_names, recipe.templates, strict=True) if recipe.align else ()
    return Prepared(
        path,
        dict(zip(data.label_names, counts, strict=True)),
        dict(templates),
        data.skipped,
        time.monotonic() - start,
        detector=key["detector"],
        **facts,
    )


def _checked(size: int | tuple[int, int], channels: int, workers: int | None) -> tuple[int, int, int]:
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and 8 <= side <= 1024 for side in sides):
        raise UsageError(f"size is {size!r}; give a whole number of pixels, 8 to 1024, or height and width")
    if channels not in (1, 3):
        raise UsageError(f"channels is {channels!r}; it must be 1 (grey) or 3 (colour)")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; at least 1 is needed")
    return int(sides[0]), int(sides[1]), channels


def _names(roots: list[Path]) -> tuple[str, ...]:
    """Name the labels after the folders."""
    if not roots:
        raise UsageError("no folder named; give folders of photos, such as photos/people photos/dogs")
    seen: dict[str, Path] = {}
    for root in roots:
        check_folder(root)
        name = root.resolve().name
        if name in seen:
            raise UsageError(
                f"{seen[name]} and {root} have one name, which is their label; rename one, or put "
                "the photos into one folder"
            )
        seen[name] = root
    return tuple(seen)


def _scan_all(roots: list[Path], table: Table | None) -> tuple[list[Photo], list[Skipped]]:
    photos: list[Photo] = []
    unread: list[Skipped] = []
    for label, root in enumerate(roots):
        found, passed = scan(root, label, table)
        if not found:
            more = f"; {len(passed)} files are of a kind that is not read" if passed else ""
            raise UsageError(f"{root} holds no photos (jpg png bmp gif webp tiff){more}")
        photos += found
        unread += passed
    return photos, unread


def _template(asked: str, photos: list[Photo], label: int) -> str:
    if asked != "auto":
        return asked
    given = [photo.given for photo in photos if photo.label == label and isinstance(photo.given, Landmarks)]
    if any(landmarks.source == "parts" for landmarks in given):
        return "dog"
    return nearest_template(landmarks.points for landmarks in given)


def _no_landmarks(asked: str, used: str | None) -> str:
    if used is not None:
        return f"shows no face that the detector {used!r} can find"
    if asked == "none" or is_installed():
        return "has no landmarks, and no detector was to find them"
    return f"has no landmarks; to find them automatically, {INSTALL}"


def _key(
    roots: list[Path], photos: list[Photo], recipe: Recipe, template: str, asked: str, used: str
) -> dict[str, Any]:
    """All that the outcome depends on."""
    digest = hashlib.sha256(repr((TEMPLATES, recipe.templates)).encode())
    for photo in photos:
        try:
            stat = photo.path.stat()
            facts = f"{photo.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{photo.given!r}\n"
        except OSError:  # a link to nowhere: reading it will say so
            facts = f"{photo.name}\0gone\n"
        digest.update(facts.encode("utf-8", "surrogateescape"))
    return {
        "folders": [str(root.resolve()) for root in roots],
        "size": list(recipe.size),
        "channels": recipe.channels,
        "align": recipe.align,
        "template": template,
        "detector": f"auto ({used})" if asked == "auto" else asked,
        "photos": digest.hexdigest(),
    }


def _work(photos: list[Photo], recipe: Recipe, workers: int | None) -> Iterator[tuple[Photo, Face | str]]:
    """Make faces in threads, in order; only a few are ahead of the one taken, so memory is bounded."""
    count = workers or min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Photo, Future[Face | str]]] = deque()
    pool = ThreadPoolExecutor(count)  # Pillow decodes and resizes outside the interpreter's lock
    try:
        for photo in photos:
            waiting.append((photo, pool.submit(make_face, photo, recipe)))
            if len(waiting) >= _AHEAD * count:
                first, face = waiting.popleft()
                yield first, face.result()
        while waiting:
            first, face = waiting.popleft()
            yield first, face.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _notes(names: tuple[str, ...], photos: list[Photo], writer: Writer, recipe: Recipe) -> Iterator[str]:
    """Point at folders in which the detector, which knows people only, found few faces."""
    missed = {skip.path for skip in writer.rejected if skip.reason == recipe.no_landmarks}
    if recipe.find is None or not missed:
        return
    for label, name in enumerate(names):
        lost = sum(photo.name in missed for photo in photos if photo.label == label)
        found = sum(
            writer.sources[key] for key in writer.sources if key[0] == label and key[1] in ("haar", "yunet")
        )
        if lost > found:
            yield (
                f"the detector found a face in only {found} of {lost + found} photos of {name}, and those "
                "may be wrong: it knows people only; give landmarks, or crops with --no-align"
            )

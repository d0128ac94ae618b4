"""Make a set of faces from photos: find or read landmarks, align, crop and store.

Every photo is turned, scaled and shifted so that eyes, nose and mouth come as close as possible to fixed
places (`elboroom.data.faces.geometry.TEMPLATES`). Landmarks come from a file beside the photos, from
annotations in the layout of Columbia's "Dogs with Parts", or from a detector. What cannot be used is listed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elboroom.data.dataset import Skipped
from elboroom.data.faces.align import AUTO, checked_shape, parse_align
from elboroom.data.faces.files import (
    MANIFEST,
    Writer,
    check_free,
    commonest,
    is_prepared,
    load_prepared,
    read_made,
)
from elboroom.data.faces.geometry import TEMPLATES
from elboroom.data.faces.landmarks import Table, read_table
from elboroom.data.faces.photos import Face, FacePlan, Photo, check_folder, common_white, make_face, scan
from elboroom.data.faces.plan import FaceOptions, detector_for, drop_unused_landmarks, missed, settle
from elboroom.data.images import WHITE
from elboroom.data.new_folder import new_folder
from elboroom.data.preparation import PhotoSteps
from elboroom.data.readiness import problems
from elboroom.errors import UsageError, nearest

__all__ = ["Prepared", "is_prepared", "load_prepared", "prepare_faces"]

_AHEAD = 8  # photos in work or waiting, per worker
_VERSION = 2  # of how faces are found and cut: others are made again
_PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Prepared:
    """The result of preparing photos.

    Attributes
    ----------
    path : pathlib.Path
        The folder with the faces.
    kept : dict of str to int
        Faces by label.
    by_label : dict of str to PhotoSteps
        What was done with the photos of each label.
    sources : dict of str to dict of str to int
        For each label, how many faces came from where: a landmarks file, "parts" (annotations in Columbia's
        layout), a detector, "utkface" (crops of that set), "crop" (the middle of a photo), "none" (face
        crops).
    rejected : tuple of Skipped
        Photos left out, with the reasons.
    seconds : float
        The time it took.
    reused : bool
        Whether the faces existed already.
    notes : tuple of str
        Remarks for the user.
    """

    path: Path
    kept: dict[str, int]
    by_label: dict[str, PhotoSteps]
    sources: dict[str, dict[str, int]]
    rejected: tuple[Skipped, ...]
    seconds: float
    reused: bool = False
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Reasons for leaving photos out with their counts, the commonest first."""
        return commonest(self.rejected)

    @property
    def problems(self) -> list[str]:
        """Why the faces are not fit to train on; empty if they are."""
        return problems(self.kept, "faces")


def prepare_faces(
    folders: Sequence[_PathLike],
    out: _PathLike,
    *,
    size: int | tuple[int, int] = 64,
    channels: int = 1,
    align: str | Mapping[str, str] = AUTO,
    detector: str = AUTO,
    landmarks: _PathLike | None = None,
    template: str = AUTO,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Find, align and crop the faces of photos into a folder that can be trained on.

    Each folder has its own alignment method, "auto" unless `align` says otherwise:

    - "auto" takes the landmarks that come with a photo: those in `landmarks`, or else in ``landmarks.csv`` or
      ``landmarks.json`` in its folder, or an annotation of Columbia's "Dogs with Parts". Without any, a
      square photo with a name of UTKFace is a face crop and taken as it is, and in others the detector looks
      for a face. Photos without one are left out; but if most photos of the folder are, the middle of each is
      taken instead, and a note says so.
    - "detect" takes what the detector finds, and "landmarks" what came with the photos; others are left out.
    - "crop" takes the middle of each photo, as large as fits.
    - "none" takes face crops as they are and only resizes them.

    The folder gets ``x.npy`` (uint8 ``(n, h, w, c)``), ``labels.npy``, ``split.npy`` (a tenth of each label
    is for testing, chosen by the photos' contents), ``meta.json``, ``manifest.csv`` (a row per face) and
    ``rejected.csv`` (a row per photo left out). It is written whole or not at all. If it is there already,
    made of the same photos with the same options, it is left as it is.

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
    align : str or mapping of str to str
        A method for all folders, or for some by their names.
    detector : str
        See `elboroom.data.faces.detect.make_detector`.
    landmarks : path-like, optional
        A CSV or JSON file; see `elboroom.data.faces.landmarks.read_table`.
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
    shape = checked_shape(size, channels)
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; at least 1 is needed")
    if template not in (AUTO, *TEMPLATES):
        raise UsageError(f"no template {template!r}; {nearest(template, (AUTO, *TEMPLATES))}")
    names = _names(roots)
    methods = parse_align(
        [align] if isinstance(align, str) else [f"{kind}={align[kind]}" for kind in align], names
    )
    options = FaceOptions(
        names, tuple(methods.values()), template, detector, detector_for(detector, methods), shape
    )
    table = None if landmarks is None else read_table(Path(landmarks).expanduser())
    photos, unread = _scan_all(roots, table)
    photos = drop_unused_landmarks(photos, options.methods)
    threads = workers or min(8, os.cpu_count() or 1)
    options = replace(options, white=common_white(photos, threads))
    key = _key(roots, photos, options)
    if check_free(target, roots, overwrite, key):
        return _prepared(target, start, reused=True)
    with new_folder(target) as scratch, closing(Writer(scratch, len(photos), shape)) as writer:
        plan, notes = settle(options, photos, threads)
        writer.rejected += unread
        for done, (photo, face) in enumerate(_work(photos, plan, threads), 1):
            if strict and isinstance(face, str):
                raise UsageError(f"{photo.path}: {face}; correct or remove it")
            writer.add(photo, face)
            if on_progress is not None:
                on_progress(done, len(photos))
        if not writer.count:
            raise UsageError(_none_usable(len(photos), writer.rejected))
        notes += missed(options, plan, *_detected(photos, writer, plan))
        notes += _several(writer)
        writer.finish(target.name, names, key, options.preparation(plan), notes)
    return _prepared(target, start)


def _prepared(path: Path, start: float, *, reused: bool = False) -> Prepared:
    data, (sources, notes) = load_prepared(path), read_made(path)
    assert data.preparation is not None
    counts = {name: sum(sources.get(name, {}).values()) for name in data.label_names}
    seconds = time.monotonic() - start
    return Prepared(
        path, counts, dict(data.preparation.by_label), sources, data.skipped, seconds, reused, tuple(notes)
    )


def _none_usable(count: int, rejected: Sequence[Skipped]) -> str:
    """Say that there is no photo to use, and why."""
    first = rejected[0]
    if len(rejected) == 1:
        return f"the only photo cannot be used: {first.path}: {first.reason}"
    reason, often = commonest(rejected)[0]
    each = "each" if often == len(rejected) else f"{often:,} of them each"
    example = next(skip.path for skip in rejected if commonest([skip])[0][0] == reason)
    return f"none of the {count:,} photos can be used: {each} {reason} (such as {example})"


def _detected(photos: Sequence[Photo], writer: Writer, plan: FacePlan) -> tuple[list[int], list[int]]:
    """For each label, photos in which the detector found no face, and those in which it did."""
    missing = {skip.path for skip in writer.rejected if skip.reason == plan.no_face}
    lost, found = [0] * len(plan.methods), [0] * len(plan.methods)
    for photo in photos:
        lost[photo.label] += photo.name in missing and plan.find[photo.label] is not None
    for (label, source), count in writer.sources.items():
        found[label] += count if source in ("haar", "yunet") else 0
    return lost, found


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
            raise UsageError(f"{root} contains no photos that can be read{_left_out(passed)}")
        photos += found
        unread += passed
    return photos, unread


def _several(writer: Writer) -> list[str]:
    """Note that photos showed several faces."""
    if not writer.several:
        return []
    who = "1 photo shows" if writer.several == 1 else f"{writer.several:,} photos show"
    return [f"{who} several faces; the largest was taken; see the column 'faces' of {MANIFEST}"]


def _left_out(passed: Sequence[Skipped]) -> str:
    """Say what a folder holds instead of photos."""
    if not passed:
        return " (jpg, png, bmp, gif, webp, tiff)"
    count = "1 file is" if len(passed) == 1 else f"{len(passed):,} files are"
    return f"; {count} left out: {Path(passed[0].path).name} {passed[0].reason}"


def _key(roots: list[Path], photos: list[Photo], options: FaceOptions) -> dict[str, Any]:
    """Everything that the result depends on."""
    digest = hashlib.sha256(repr(TEMPLATES).encode())
    for photo in photos:
        try:
            stat = photo.path.stat()
            facts = f"{photo.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{photo.given!r}\n"
        except OSError:  # a link to nowhere: reading it will say so
            facts = f"{photo.name}\0gone\n"
        digest.update(facts.encode("utf-8", "surrogateescape"))
    return {
        "version": _VERSION,
        "folders": [str(root.resolve()) for root in roots],
        "size": list(options.shape[:2]),
        "channels": options.shape[2],
        "align": list(options.methods),
        "template": options.template,
        "detector": options.used,
        "photos": digest.hexdigest(),
        **({} if options.white == WHITE else {"white": options.white}),  # earlier versions knew no other
    }


def _work(photos: Sequence[Photo], plan: FacePlan, workers: int) -> Iterator[tuple[Photo, Face | str]]:
    """Make faces in threads, in order; only a few are ahead of the one taken, so memory is bounded."""
    waiting: deque[tuple[Photo, Future[Face | str]]] = deque()
    pool = ThreadPoolExecutor(workers)  # Pillow decodes and resizes outside the interpreter's lock
    try:
        for photo in photos:
            waiting.append((photo, pool.submit(make_face, photo, plan)))
            if len(waiting) >= _AHEAD * workers:
                first, face = waiting.popleft()
                yield first, face.result()
        while waiting:
            first, face = waiting.popleft()
            yield first, face.result()
    finally:
        pool.shutdown(cancel_futures=True)

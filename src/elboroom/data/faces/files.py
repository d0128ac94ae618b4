"""The folder of prepared faces: an array, its labels and split, and the origin of each face."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from elboroom.data import cache
from elboroom.data.dataset import TEST, TRAIN, Array, Dataset, Skipped
from elboroom.data.faces.geometry import PARTS
from elboroom.data.faces.landmarks import COLUMNS, read_utkface_name
from elboroom.data.faces.photos import Face, Photo
from elboroom.data.preparation import Align, PhotoSteps, Preparation
from elboroom.errors import FailureError, UsageError
from elboroom.io.files import json_text

MANIFEST, REJECTED = "manifest.csv", "rejected.csv"
_KEY, _NOTES = "faces", "notes"  # what meta.json holds beyond what a cached data set has

_TEST_SHARE = 0.1
_MAPPED_BYTES = 32 << 20
_ROW = re.compile(r".*\.(csv line \d+|json, '.*'|txt): ")  # how what is wrong in a landmarks file begins
_TRANSFORM = ("a", "b", "shift_x", "shift_y")  # crop = (a·x − b·y + shift_x, b·x + a·y + shift_y)
_ABOUT = ("age", "gender", "race")
_SEEN = ("faces", "turned")  # how many the detector saw, and by how many degrees the photo was turned for it
_COLUMNS = (
    *("file", "label", "landmarks", "template", *COLUMNS, *_TRANSFORM, "outside"),
    *(*_SEEN, *_ABOUT, "sha256"),
)


def is_prepared(path: Path) -> bool:
    """Whether a folder is one that `elboroom.data.faces.prepare.prepare_faces` has written."""
    return all((path / name).is_file() for name in ("meta.json", "x.npy", MANIFEST, REJECTED))


def load_prepared(path: Path) -> Dataset:
    """Load prepared faces as a memory map, with the split that was drawn when they were made.

    Raises
    ------
    UsageError
        If the folder is damaged.
    """
    try:
        data = cache.read_entry(path)
    except Exception as error:  # numpy raises nearly any of them on damaged bytes
        raise UsageError(
            f"{path}: the prepared faces are damaged ({error}); make them again with 'elboroom data faces'"
        ) from error
    if data.preparation is None:
        data = dataclasses.replace(data, preparation=_preparation_of_old(path, data))
    return dataclasses.replace(data, name=path.resolve().name, origin="prepared faces")


def _preparation_of_old(path: Path, data: Dataset) -> Preparation | None:
    """Say how faces were made that an earlier version wrote, which kept one preparation for all labels."""
    key = read_key(path)
    try:
        detector = re.sub(r"auto \((.+)\)", r"\1", key["detector"])
        templates: dict[str, Any] = {}
        with (path / MANIFEST).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                templates.setdefault(row["label"], row["template"] or "person")
        align: Align = "auto" if key["align"] else "crop"
        shape = (data.shape[0], data.shape[1]), data.shape[2]
        each = [
            PhotoSteps(align, *shape, templates.get(name, "person"), detector) for name in data.label_names
        ]
        return Preparation("faces", tuple(zip(data.label_names, each, strict=True)))
    except (KeyError, TypeError, ValueError, OSError):
        return None


def read_key(path: Path) -> dict[str, Any]:
    """Return what prepared faces were made of; empty if that is not recorded."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        held: dict[str, Any] = json.loads((path / "meta.json").read_text(encoding="utf-8")).get(_KEY, {})
        return held
    return {}


def read_made(path: Path) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Return where the faces of each label came from, with their counts, and the notes on their making."""
    counts: dict[str, Counter[str]] = {}
    with (path / MANIFEST).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts.setdefault(row["label"], Counter())[row.get("landmarks") or ""] += 1
    notes = json.loads((path / "meta.json").read_text(encoding="utf-8")).get(_NOTES, [])
    return {label: dict(found.most_common()) for label, found in counts.items()}, list(notes)


def example(folder: Path) -> Path:
    """Write a few prepared faces into a folder."""
    x = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1)
    labels, path = np.array([0, 0, 1, 1]), folder / "faces"
    path.mkdir()
    split = split_by_content(labels, labels.astype(np.uint64))
    preparation = Preparation(
        "faces", tuple((name, PhotoSteps("crop", (8, 8), 1)) for name in ("people", "dogs"))
    )
    data = Dataset("faces", x, split, labels, ("people", "dogs"), scale=255.0, preparation=preparation)
    write_described(path, data, {}, ())
    (path / MANIFEST).write_text("index,file,label,split\n", encoding="utf-8")
    return path


class Writer:
    """Takes faces one after another into one memory-mapped array, and rows of the manifest into a file.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write.
    most : int
        How many faces there can be.
    shape : (int, int, int)
        Of one face.
    """

    def __init__(self, folder: Path, most: int, shape: tuple[int, int, int]) -> None:
        self._folder = folder
        self._x = _reserve(folder, (most, *shape))
        self._often = max(1, _MAPPED_BYTES // int(np.prod(shape)))
        self._rows: IO[str] = tempfile.TemporaryFile("w+", newline="", encoding="utf-8")  # noqa: SIM115
        self._write = csv.writer(self._rows)
        self._labels = np.zeros(most, dtype=np.int64)
        self._keys = np.zeros(most, dtype=np.uint64)
        self._first: dict[bytes, str] = {}
        self.rejected: list[Skipped] = []
        self.count = 0
        self.several = 0  # photos in which the detector saw more than one face
        self.sources: Counter[tuple[int, str]] = Counter()

    def close(self) -> None:
        """Close the file of rows."""
        self._rows.close()

    def add(self, photo: Photo, face: Face | str) -> None:
        """Take one photo's face, or the reason why there is none."""
        if not isinstance(face, str) and face.digest in self._first:
            face = f"is a duplicate of {self._first[face.digest]}"
        if isinstance(face, str):
            self.rejected.append(Skipped(photo.name, face))
            return
        self._first[face.digest] = photo.name
        if self.count % self._often == 0:  # what is written no longer counts as this process's memory
            self._x = np.load(self._folder / "x.npy", mmap_mode="r+")
        self._x[self.count] = face.pixels
        self._labels[self.count] = photo.label
        self._keys[self.count] = int.from_bytes(face.digest[:8], "big")
        self._write.writerow(_row(photo, face))
        self.sources[photo.label, face.source] += 1
        self.several += face.count > 1
        self.count += 1

    def finish(
        self,
        name: str,
        label_names: tuple[str, ...],
        key: dict[str, Any],
        preparation: Preparation,
        notes: Sequence[str],
    ) -> None:
        """Write all that is not written yet."""
        labels, n = self._labels[: self.count], self.count
        x = _shortened(self._folder / "x.npy", n)
        split = split_by_content(labels, self._keys[:n])
        data = Dataset(
            name,
            x,
            split,
            labels,
            label_names,
            scale=255.0,
            skipped=tuple(self.rejected),
            origin="photos",
            preparation=preparation,
        )
        write_described(self._folder, data, key, notes)
        self._write_manifest(split, label_names)

    def _write_manifest(self, split: Array, label_names: tuple[str, ...]) -> None:
        parts = {TRAIN: "train", TEST: "test"}
        self._rows.seek(0)
        with (self._folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
            manifest = csv.writer(file, lineterminator="\n")
            manifest.writerow(("index", *_COLUMNS[:2], "split", *_COLUMNS[2:]))
            for index, (photo, label, *rest) in enumerate(csv.reader(self._rows)):
                manifest.writerow((index, photo, label_names[int(label)], parts[int(split[index])], *rest))


def write_described(folder: Path, data: Dataset, key: dict[str, Any], notes: Sequence[str]) -> None:
    """Write all of prepared faces but their manifest: the data, what they were made of, what was left out."""
    cache.write_entry(data, folder)
    meta = folder / "meta.json"
    held = json.loads(meta.read_text(encoding="utf-8"))
    meta.write_text(json_text({**held, _KEY: key, _NOTES: list(notes)}, indent=1), encoding="utf-8")
    with (folder / REJECTED).open("w", newline="", encoding="utf-8") as file:
        rows = [("file", "reason"), *map(dataclasses.astuple, data.skipped)]
        csv.writer(file, lineterminator="\n").writerows(rows)


def split_by_content(labels: Array, keys: Array) -> Array:
    """Choose a tenth of each label for testing: the photos whose contents have the lowest hashes.

    So a photo's part depends neither on its name nor on the order, and hardly on the photos beside it.

    Parameters
    ----------
    labels, keys : numpy.ndarray
        ``(n,)``, the keys uint64.

    Returns
    -------
    numpy.ndarray
        uint8 ``(n,)`` of `TRAIN` and `TEST`; one for testing at least where a label has two.
    """
    split = np.full(len(labels), TRAIN, dtype=np.uint8)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = max(1, round(_TEST_SHARE * len(rows))) if len(rows) >= 2 else 0
        split[rows[np.argsort(keys[rows], kind="stable")[:count]]] = TEST
    return split


def commonest(skipped: Iterable[Skipped]) -> list[tuple[str, int]]:
    """Count the reasons, the commonest first; what they name in particular is left out."""
    return Counter(_general(skip.reason) for skip in skipped).most_common()


def _general(reason: str) -> str:
    """Say a reason without the parts that differ from photo to photo."""
    if reason.startswith("is a duplicate of"):
        return "is a duplicate"
    if _ROW.match(reason):
        return "has a bad row in its landmarks file"
    if reason.startswith("has ") and reason.endswith("beyond its edges"):
        return "has too much of the face's square beyond its edges"
    return reason


def _reserve(folder: Path, shape: tuple[int, ...]) -> Array:
    try:
        return cache.reserve(folder / "x.npy", shape)
    except FailureError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        raise FailureError(
            f"no room for {int(np.prod(shape)):,} bytes in {folder.parent}: {reason}; free some space, "
            "choose another out= or a smaller --size"
        ) from error


def _shortened(path: Path, n: int) -> Array:
    """Cut a reserved ``.npy`` file to its first n rows, in place, and map it."""
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        (_, *shape), _, _ = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
        text = repr({"descr": "|u1", "fortran_order": False, "shape": (n, *shape)})
        file.seek(10)  # behind magic, version and the header's length, which stays
        file.write(text.encode().ljust(start - 11) + b"\n")
        file.truncate(start + n * int(np.prod(shape)))
    return np.load(path, mmap_mode="r+")


def _row(photo: Photo, face: Face) -> list[Any]:
    points = {} if face.landmarks is None else face.landmarks.points
    places = [f"{points[part][axis]:.2f}" if part in points else "" for part in PARTS for axis in (0, 1)]
    moves = [""] * 4
    if face.transform is not None:
        (a, _, x), (b, _, y) = face.transform
        moves = [f"{value:.6g}" for value in (a, b, x, y)]
    about = read_utkface_name(photo.path.name) or {}
    beyond = "" if face.transform is None else f"{face.outside:.3f}"
    facts = [about.get(column, "") for column in _ABOUT]
    return [
        photo.name,
        photo.label,
        face.source,
        face.template,
        *places,
        *moves,
        beyond,
        face.count or "",
        face.turn or "",
        *facts,
        face.digest.hex(),
    ]


def check_free(out: Path, folders: Iterable[Path], overwrite: bool, key: dict[str, Any]) -> bool:
    """Say whether `out` already holds what `key` names; refuse a place that must not be written to.

    Raises
    ------
    UsageError
        If it is no folder, holds something else, lies in a folder of photos, or was made otherwise and
        `overwrite` is off.
    """
    real = Path(os.path.realpath(out))
    for folder in folders:
        if real.is_relative_to(os.path.realpath(folder)):
            raise UsageError(f"{out} lies in {folder}, whose photos are read; choose another out=")
        if Path(os.path.realpath(folder)).is_relative_to(real):
            raise UsageError(f"{out} contains the photos of {folder}; choose another out=")
    if not out.exists():
        return False
    if not out.is_dir():
        raise UsageError(f"{out} is a file; choose another out=")
    if not is_prepared(out):
        if any(out.iterdir()):
            raise UsageError(f"{out} contains something other than prepared faces; choose another out=")
        return False
    held = read_key(out)
    if held == key:
        return True
    if not overwrite and {**held, "photos": ""} != {**key, "photos": ""}:
        raise UsageError(
            f"{out} contains faces made of other folders or with other options; "
            "choose another out=, or replace it with --overwrite"
        )
    return False

"""Join data sets into one folder."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data import load_data
from elboroom.data.cache import reserve
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Array, Dataset, Skipped, chunks
from elboroom.data.faces.files import MANIFEST, check_free, load_prepared, write_described
from elboroom.data.formats import file_suffixes
from elboroom.data.new_folder import new_folder
from elboroom.data.preparation import PhotoSteps, Preparation, value_range_of
from elboroom.data.readiness import problems
from elboroom.errors import UsageError

_TWICE = "is in an earlier set as well"
_PARTS = {TRAIN: "train", TEST: "test", VALIDATION: "validation"}


@dataclass(frozen=True)
class JoinResult:
    """The result of joining data sets.

    Attributes
    ----------
    path : pathlib.Path
        The folder with the examples of all.
    kept : dict of str to int
        Examples by label.
    shape : tuple of int
        Of one example.
    duplicates : int
        Examples left out because an earlier set holds them too.
    reused : bool
        Whether the folder existed already, with the same contents.
    """

    path: Path
    kept: dict[str, int]
    shape: tuple[int, ...]
    duplicates: int
    reused: bool = False

    @property
    def problems(self) -> list[str]:
        """Why the examples are not fit to train on; empty if they are."""
        return problems(self.kept)


@dataclass(frozen=True)
class _Set:
    """One of the sets: what it is called, its data, the manifest's rows if it has one, and what is kept."""

    name: str
    data: Dataset
    rows: list[dict[str, str]]
    keep: Array


def join_data(
    sources: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, overwrite: bool = False
) -> JoinResult:
    """Join data sets into one folder that can be trained on, as `prepare_faces` writes it.

    Labels of one name become one; a set without labels gets its own name as the label of all its examples.
    Each example stays in its part of the split. An example that an earlier set holds too, by its pixels or by
    the photo it was made of, is left out, so that none is used in both training and testing. Folders of
    images are decoded to the shape of the other sets.

    Parameters
    ----------
    sources : sequence of str or path-like
        At least two, of any kind that `elboroom.data.load_data` takes.
    out : path-like
        The folder to write.
    overwrite : bool
        Whether to replace a folder that was made otherwise.

    Raises
    ------
    UsageError
        If a set cannot be loaded, the shapes, types or ranges of the examples differ, or `out` holds
        something else.
    FailureError
        If the disk is full.
    """
    names, target = [os.fspath(source) for source in sources], Path(out).expanduser()
    if len(names) < 2:
        raise UsageError(f"data sets to join: {len(names)}; name at least two")
    loaded = _loaded(names)
    for name, data in zip(names[1:], loaded[1:], strict=True):
        _check_alike(names[0], loaded[0], name, data)
    key = {"joined": [_full(name) for name in names], "photos": _fingerprint(loaded)}
    folders = [Path(name).expanduser() for name in names if Path(name).expanduser().is_dir()]
    if check_free(target, folders, overwrite, key):
        return _result(target, load_prepared(target), reused=True)
    sets = _without_duplicates(names, loaded)
    with new_folder(target) as scratch:
        data = _united(target.name, sets, _copied(sets, scratch))
        write_described(scratch, data, key, ())
        _write_manifest(scratch / MANIFEST, sets, data)
    return _result(target, data)


def _result(path: Path, data: Dataset, *, reused: bool = False) -> JoinResult:
    assert data.labels is not None
    counts = np.bincount(data.labels, minlength=len(data.label_names)).tolist()
    kept = dict(zip(data.label_names, counts, strict=True))
    duplicates = sum(skip.reason == _TWICE for skip in data.skipped)
    return JoinResult(path, kept, data.shape, duplicates, reused)


def _loaded(names: Sequence[str]) -> list[Dataset]:
    """Load the sets, folders of images in the shape of the first set that has one of its own."""
    loaded = [load_data(name, kinds="numbers") for name in names]  # a joined set has no columns
    wanted = next((data for data in loaded if not _is_folder(data)), loaded[0])
    if wanted.is_image and wanted.x.dtype == np.uint8 and wanted.shape[2] in (1, 3):
        height, width, channels = wanted.shape
        for index, data in enumerate(loaded):
            if _is_folder(data) and data.shape != wanted.shape:
                loaded[index] = load_data(
                    names[index], size=(height, width), channels=1 if channels == 1 else 3
                )
    return loaded


def _is_folder(data: Dataset) -> bool:
    return data.preparation is not None and data.preparation.kind == "folder"


def _check_alike(name: str, data: Dataset, other_name: str, other: Dataset) -> None:
    """Refuse sets whose examples are not of one shape, type and range."""
    for which, some in ((name, data), (other_name, other)):
        if some.vectors is not None:
            raise UsageError(f"{which} has vectors of conditions, which cannot be joined")
    if data.shape != other.shape:
        has, wanted = ("×".join(map(str, some.shape)) for some in (other, data))
        raise UsageError(
            f"{other_name} has examples of {has} and {name} of {wanted}; make one of the two again in the "
            f"shape of the other{_remedy(data, other)}"
        )
    if data.x.dtype != other.x.dtype:
        raise UsageError(
            f"{other_name} contains {other.x.dtype} values and {name} {data.x.dtype}; save both in one type"
        )
    if data.scale != other.scale:
        raise UsageError(
            f"in {other_name} the value {other.scale:g} is seen as 1, and in {name} {data.scale:g}; save "
            "both in one range"
        )
    if data.is_image and data.x.dtype != np.uint8:
        ranges = [value_range_of(some.x, some.scale) for some in (other, data)]
        if ranges[0] != ranges[1]:
            (low, high), (first, last) = ranges
            raise UsageError(
                f"the values of {other_name} run from {low:g} to {high:g} and those of {name} from {first:g} "
                f"to {last:g}; save both in one range"
            )


def _remedy(data: Dataset, other: Dataset) -> str:
    """Say how faces get another shape."""
    kinds = [some.preparation.kind for some in (data, other) if some.preparation is not None]
    if "faces" not in kinds or not (data.is_image and other.is_image):
        return ""
    size = " ".join(map(str, dict.fromkeys(data.shape[:2])))
    differ = data.shape[2] != other.shape[2]
    colour = "" if not differ else " --rgb" if data.shape[2] == 3 else " --no-rgb"
    return f", such as by 'elboroom data faces ... --size {size}{colour}'"


def _full(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def _fingerprint(loaded: Sequence[Dataset]) -> str:
    facts = [(data.fingerprint(labels=True), data.label_names) for data in loaded]
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()


def _without_duplicates(names: Sequence[str], loaded: Sequence[Dataset]) -> list[_Set]:
    """Find in each set what no earlier one holds."""
    seen: set[bytes] = set()
    sets = []
    for name, data in zip(names, loaded, strict=True):
        rows = _manifest(Path(name).expanduser(), len(data))
        own: list[bytes] = []
        keep = np.ones(len(data), dtype=bool)
        for index, digest in enumerate(_digests(data.x)):
            photo = rows[index].get("sha256") if rows else None
            keys = [digest, bytes.fromhex(photo)] if photo else [digest]
            keep[index] = seen.isdisjoint(keys)
            own += keys
        seen.update(own)
        sets.append(_Set(name, data, rows, keep))
    return sets


def _digests(x: Array) -> Iterator[bytes]:
    for part in chunks(x):
        for row in np.ascontiguousarray(part):
            yield hashlib.sha256(row.tobytes()).digest()


def _manifest(path: Path, count: int) -> list[dict[str, str]]:
    """Return the rows of a folder's manifest, if it has one that fits."""
    try:
        with (path / MANIFEST).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return []
    return rows if len(rows) == count else []


def _united(name: str, sets: Sequence[_Set], x: Array) -> Dataset:
    """Make one data set of the examples that are kept, which lie in `x`."""
    words = [_label_words(some) for some in sets]
    names = list(dict.fromkeys(word for some in words for word in some.tolist()))
    if all(word.isdecimal() for word in names):
        names.sort(key=int)
    number = {word: index for index, word in enumerate(names)}
    labels = np.array([number[word] for some in words for word in some.tolist()], dtype=np.int64)
    split = np.concatenate([some.data.split[some.keep] for some in sets])
    return Dataset(
        name,
        x,
        split,
        labels,
        tuple(names),
        sets[0].data.scale,
        published_split=all(some.data.published_split for some in sets),
        skipped=tuple(_skipped(sets)),
        origin="joined sets",
        preparation=_preparation(sets, names),
    )


def _label_words(some: _Set) -> Array:
    """Name of the label of each example that is kept."""
    data = some.data
    if data.labels is None:
        own = Path(data.name).stem if Path(data.name).suffix.lower() in file_suffixes() else data.name
        return np.full(int(some.keep.sum()), own, dtype=object)
    return np.array([data.label_name(int(label)) for label in data.labels[some.keep]], dtype=object)


def _skipped(sets: Sequence[_Set]) -> Iterator[Skipped]:
    for some in sets:
        yield from some.data.skipped
        for row in np.flatnonzero(~some.keep):
            yield Skipped(_place(some, int(row)), _TWICE)


def _place(some: _Set, row: int) -> str:
    return some.rows[row]["file"] if some.rows else f"{some.name}:{row}"


def _preparation(sets: Sequence[_Set], names: Sequence[str]) -> Preparation | None:
    """The preparation of each label, from the first set that has the label and records it."""
    by_label: dict[str, PhotoSteps] = {}
    for some in sets:
        made = some.data.preparation
        if made is not None and made.kind != "array":
            own = dict(made.by_label)
            labels = some.data.label_names or (some.data.name,)
            for label in labels:
                one = own.get(label, own.get(""))
                if one is not None:
                    by_label.setdefault(label, one)
    known = tuple((name, by_label[name]) for name in names if name in by_label)
    if not known:
        return None
    return Preparation("faces" if any(each.finds_faces for _, each in known) else "folder", known)


def _copied(sets: Sequence[_Set], scratch: Path) -> Array:
    """Write the examples that are kept one after another into the new folder."""
    first = sets[0].data
    count = sum(int(some.keep.sum()) for some in sets)
    x, start = reserve(scratch / "x.npy", (count, *first.shape), first.x.dtype), 0
    for some in sets:
        at = 0
        for part in chunks(some.data.x):
            kept = part[some.keep[at : at + len(part)]]
            x[start : start + len(kept)] = kept
            start, at = start + len(kept), at + len(part)
    return x


def _write_manifest(path: Path, sets: Sequence[_Set], data: Dataset) -> None:
    """Write a row for each example: the columns of all manifests, and the set it comes from."""
    assert data.labels is not None
    own = ("index", "file", "label", "split", "set")
    others = Counter(column for some in sets for row in some.rows[:1] for column in row if column not in own)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, (*own, *others), restval="", lineterminator="\n")
        table.writeheader()
        index = 0
        for some in sets:
            for row in np.flatnonzero(some.keep).tolist():
                facts: dict[str, Any] = dict(some.rows[row]) if some.rows else {}
                part, label = _PARTS[int(data.split[index])], data.label_names[int(data.labels[index])]
                place = {"index": index, "file": _place(some, row), "label": label, "split": part}
                table.writerow({**facts, **place, "set": facts.get("set") or some.name})
                index += 1

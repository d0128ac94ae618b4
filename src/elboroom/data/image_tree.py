"""Image files below a folder: which there are, and the label and split that their places give them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elboroom.data import images
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Array, Dataset, Skipped, draw_split
from elboroom.data.image_files import HEIC, INSTALL_HEIC

SPLITS = {"train": TRAIN, "test": TEST, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION}


_PHOTOS = {".heic", ".heif", ".avif", ".jfif", ".jp2", ".psd", ".tga", ".cr2", ".nef", ".dng"}
UNREAD = frozenset(_PHOTOS) - images.SUFFIXES
"""Endings of photos that are not read, and are said to be left out."""


@dataclass(frozen=True)
class Found:
    """An image file, and what its place says of it."""

    path: Path
    split: int | None
    label: str | None


OURS = "is a run or a comparison, not data"
"""Why a folder that elboroom wrote is left out."""


def is_ours(names: Collection[str]) -> bool:
    """Whether a folder with files of these names is a run or a comparison, whose pictures are no data."""
    return bool(
        {"config.json", "history.jsonl"} <= set(names) or {"comparison.json", "table.csv"} <= set(names)
    )


def why_empty(path: Path) -> str:
    """Say what a folder without images contains instead."""
    ours: list[Path] = []
    walk_images(path, left_out=ours)
    if path in ours:
        return "is a folder that elboroom wrote, and its pictures are no data; give the data it was made of"
    if ours:
        several = (
            f"{len(ours)} folders that elboroom wrote" if len(ours) > 1 else "a folder that elboroom wrote"
        )
        return f"contains no data but {several}; name one run, such as {ours[0]}, or give a folder of images"
    names = [file.name for file in path.iterdir()]
    if any("-ubyte" in name for name in names):
        return (
            "contains idx files; set ELBOROOM_DATA to this folder and load 'mnist', "
            "'fashion-mnist' or 'kmnist'"
        )
    suffixes = " ".join(sorted(suffix[1:] for suffix in images.SUFFIXES))
    return f"contains no images ({suffixes}) and no <number>.txt files; give a folder that does"


def scan(root: Path) -> tuple[list[Found], list[Skipped]]:
    """List image files in the order of their paths, with split and label; and those without a place."""
    ours: list[Path] = []
    files = walk_images(root, images.SUFFIXES | UNREAD, ours)
    parts = [file.relative_to(root).parts for file in files]
    tops = {part[0] for part in parts if len(part) > 1}
    splits = {top.lower() for top in tops}
    # A lone train folder says nothing about what to test on, so its split is drawn.
    is_split = "train" in splits and len(splits) > 1 and splits <= SPLITS.keys()
    depth = 1 if is_split or splits == {"train"} else 0
    labelled = any(len(part) > depth + 1 for part in parts)
    found, skipped = [], [Skipped(str(folder), OURS) for folder in ours]
    for part in parts:
        file = root.joinpath(*part)
        if len(part) <= depth:
            skipped.append(Skipped(str(file), "lies beside the split folders, so it belongs to no split"))
        elif labelled and len(part) == depth + 1:
            skipped.append(Skipped(str(file), "lies beside the label folders, so it has no label"))
        elif file.suffix.lower() not in images.SUFFIXES:
            skipped.append(Skipped(str(file), unread_reason(file)))
        else:
            split = SPLITS[part[0].lower()] if is_split else None
            found.append(Found(file, split, part[depth] if labelled else None))
    return found, skipped


def unread_reason(file: Path) -> str:
    """Say why a photo of a kind in `UNREAD` is left out."""
    if file.suffix.lower() in HEIC:
        return f"is a HEIC photo, which needs one more package: {INSTALL_HEIC}"
    return "is of a kind that is not read; save it as JPEG or PNG"


def walk_images(
    root: Path, suffixes: Collection[str] = images.SUFFIXES, left_out: list[Path] | None = None
) -> list[Path]:
    """List image files below `root`, sorted; hidden names are passed over and links followed once.

    Runs and comparisons are passed over too, and appended to ``left_out``.
    """
    files, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        if is_ours(names):
            subfolders.clear()
            if left_out is not None:
                left_out.append(Path(folder))
            continue
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(files)


def listing(root: Path, found: list[Found]) -> list[str]:
    """Names, sizes and times of files, by which the cache knows their contents."""
    facts = []
    for item in found:
        try:
            stat = item.path.stat()
            facts.append(f"{item.path.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}")
        except OSError:  # a link to nowhere: reading it will say so
            facts.append(f"{item.path.relative_to(root)}\0gone")
    return facts


def digest(words: Iterable[str]) -> str:
    """Short hash of words, for a name in the cache."""
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Otherwise(NamedTuple):
    """Height and width of images that have no size of their own: several sizes, or a very large one."""

    height: int
    width: int


def cached_as(
    where: object, size: int | tuple[int, int] | None, channels: int | None, white: int | None
) -> list[str]:
    """What the cache knows decoded images by, besides their files."""
    return [str(where), repr(size), repr(channels), *([] if white is None else [repr(white)])]


def split_notes(found: list[Found]) -> list[str]:
    """Warn of labels that look like parts of a split."""
    labels = sorted({item.label for item in found if item.label is not None})
    meant = [label for label in labels if re.match(r"train|test|val", label.lower())]
    if not any(label.lower().startswith("train") for label in meant) or len(meant) < 2:
        return []
    return [
        f"warning: the folders {', '.join(meant)} are taken for labels; to be the split they must be called "
        "train, test and val, with no other folder beside them"
    ]


def with_places(root: Path, x: Array, found: list[Found], skipped: list[Skipped]) -> Dataset:
    """Make a data set of decoded images, with the labels and the split that their places give them."""
    names = tuple(sorted({item.label for item in found if item.label is not None}))
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[item.label] for item in found if item.label is not None], dtype=np.int64)
    splits = [item.split for item in found if item.split is not None]
    return Dataset(
        root.resolve().name,
        x,
        np.array(splits, dtype=np.uint8) if splits else draw_split(len(x)),
        labels if names else None,
        names,
        scale=255.0,
        published_split=bool(splits),
        skipped=tuple(skipped),
        origin="a folder of images",
        names=tuple(str(item.path.relative_to(root)) for item in found),
    )

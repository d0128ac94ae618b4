"""Folders of images: sub-folders are labels, train/test folders are splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from elboroom.data import images
from elboroom.data.cache import cached, forget_others, reserve
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Array, Dataset, Skipped, draw_split
from elboroom.data.preparation import Preparation, Way
from elboroom.errors import UsageError

_SPLITS = {"train": TRAIN, "test": TEST, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION}
_DEFAULT_SIDE = 64
_LARGEST_OWN_SIDE = 512  # a camera's photos all have one size too, and a thousand of them fill a disk
DECODING = "3"  # changes when the same files become other numbers, so that no cached ones are taken
_THREADS = min(8, os.cpu_count() or 1)
_BATCH = 2048  # files handed to the threads at a time, so that a million do not queue up
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class _Found:
    """An image file, and what its place says of it."""

    path: Path
    split: int | None
    label: str | None


def load_folder(
    path: Path,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    strict: bool = False,
) -> Dataset:
    """Load a folder of images as uint8 ``(n, h, w, c)``, in the order of their paths.

    Sub-folders are labels; images deeper down belong to the top one. If the top folders are among train,
    test, val, valid and validation, train is one of them and it is not alone, they are the split, and labels
    lie below. Hidden files and files that are no images are ignored. The result is cached by path, size,
    channels and the names, sizes and times of the files.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    size : int or (int, int), optional
        Side, or height and width, in pixels. Missing: the images' own size if all have one of at most 512 a
        side, else 64. Others are cropped to the centre in that aspect and resized (Lanczos).
    channels : {1, 3}, optional
        Missing: 1 if all images are grey, else 3.
    strict : bool
        Whether an image that cannot be used is an error; if not, it is left out and listed in ``skipped``.

    Raises
    ------
    UsageError
        If there is no image, none can be used, or under `strict` any cannot.
    FailureError
        If the disk is full.
    """
    found, skipped = _scan(path)
    if not found:
        raise UsageError(f"{path}: {_why_empty(path)}")
    prefix = "folder-named-" + _digest([str(path.resolve()), repr(size), repr(channels)]) + "-"
    key = prefix + _digest([DECODING, *_listing(path, found), *(skip.path for skip in skipped)])
    data = cached(key, lambda scratch: _build(path, found, skipped, size, channels, scratch))
    forget_others(prefix, keep=key)
    if strict and data.skipped:
        first = data.skipped[0]
        more = f" (and {len(data.skipped) - 1} more)" if len(data.skipped) > 1 else ""
        raise UsageError(f"{first.path}: {first.reason}{more}; correct or remove it")
    return data


def example(folder: Path) -> Path:
    """Write a few images in two sub-folders into a folder."""
    from PIL import Image

    path = folder / "pets"
    for number, label in enumerate(("cat", "cat", "dog", "dog")):
        (path / label).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (40 * number, 9, 200)).save(path / label / f"{number}.png")
    return path


def _why_empty(path: Path) -> str:
    names = [file.name for file in path.iterdir()]
    if any("-ubyte" in name for name in names):
        return (
            "holds idx files; set ELBOROOM_DATA to this folder and load 'mnist', 'fashion-mnist' or 'kmnist'"
        )
    suffixes = " ".join(sorted(suffix[1:] for suffix in images.SUFFIXES))
    return f"holds no images ({suffixes}) and no <number>.txt files; give a folder that does"


def _scan(root: Path) -> tuple[list[_Found], list[Skipped]]:
    """List image files in the order of their paths, with split and label; and those without a place."""
    parts = [file.relative_to(root).parts for file in walk_images(root)]
    tops = {part[0] for part in parts if len(part) > 1}
    splits = {top.lower() for top in tops}
    # A lone train folder says nothing about what to test on, so its split is drawn.
    is_split = "train" in splits and len(splits) > 1 and splits <= _SPLITS.keys()
    depth = 1 if is_split or splits == {"train"} else 0
    labelled = any(len(part) > depth + 1 for part in parts)
    found, skipped = [], []
    for part in parts:
        file = root.joinpath(*part)
        if len(part) <= depth:
            skipped.append(Skipped(str(file), "lies beside the split folders, so it belongs to no split"))
        elif labelled and len(part) == depth + 1:
            skipped.append(Skipped(str(file), "lies beside the label folders, so it has no label"))
        else:
            split = _SPLITS[part[0].lower()] if is_split else None
            found.append(_Found(file, split, part[depth] if labelled else None))
    return found, skipped


def walk_images(root: Path) -> list[Path]:
    """List image files below `root`, sorted; hidden names are passed over and links followed once."""
    files, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in images.SUFFIXES
        ]
    return sorted(files)


def _listing(root: Path, found: list[_Found]) -> list[str]:
    facts = []
    for item in found:
        try:
            stat = item.path.stat()
            facts.append(f"{item.path.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}")
        except OSError:  # a link to nowhere: reading it will say so
            facts.append(f"{item.path.relative_to(root)}\0gone")
    return facts


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _build(
    root: Path,
    found: list[_Found],
    skipped: list[Skipped],
    size: int | tuple[int, int] | None,
    channels: int | None,
    scratch: Path | None,
) -> Dataset:
    """Read headers to settle the shape, then decode into one array, closing the gaps of bad files."""
    headers = _in_threads(lambda item: images.attempt(images.read_header, item.path), found)
    skipped = skipped + [
        Skipped(str(f.path), h) for f, h in zip(found, headers, strict=True) if isinstance(h, str)
    ]
    found = [item for item, header in zip(found, headers, strict=True) if not isinstance(header, str)]
    if not found:
        raise UsageError(f"{root}: none of {len(skipped)} images can be read; the first, {_first(skipped)}")
    good_headers = [header for header in headers if not isinstance(header, str)]
    shape = _choose_shape(good_headers, size, channels)
    deep = [item for item, header in zip(found, good_headers, strict=True) if header.deep]
    peaks = _in_threads(lambda item: images.attempt(images.peak, item.path), deep)
    white = images.white_of(value for value in peaks if not isinstance(value, str))
    full = (len(found), *shape)
    x = np.empty(full, np.uint8) if scratch is None else reserve(scratch / "x.npy", full)

    def fill(row: int) -> str | None:
        pixels = images.attempt(lambda path: images.decode(path, shape, white), found[row].path)
        if isinstance(pixels, str):
            return pixels
        x[row] = pixels
        return None

    reasons = _in_threads(fill, range(len(found)))
    good = [row for row, reason in enumerate(reasons) if reason is None]
    if len(good) < len(found):
        skipped += [Skipped(str(f.path), r) for f, r in zip(found, reasons, strict=True) if r is not None]
        if not good:
            raise UsageError(
                f"{root}: none of {len(skipped)} images can be read; the first, {_first(skipped)}"
            )
        x = _close_gaps(x, good, scratch)
    made = made_by_decoding(good_headers, shape, white)
    return replace(_with_places(root, x, [found[row] for row in good], skipped), preparation=made)


def _first(skipped: list[Skipped]) -> str:
    return f"{Path(skipped[0].path).name}, {skipped[0].reason}"


def _in_threads(task: Callable[[_In], _Out], items: list[_In] | range) -> list[_Out]:
    results: list[_Out] = []
    with ThreadPoolExecutor(_THREADS) as pool:  # Pillow decodes outside the interpreter's lock
        for start in range(0, len(items), _BATCH):
            results += pool.map(task, items[start : start + _BATCH])
    return results


def _choose_shape(
    headers: list[images.Header], size: int | tuple[int, int] | None, channels: int | None
) -> tuple[int, int, int]:
    sizes = {(header.height, header.width) for header in headers}
    if isinstance(size, int):
        size = (size, size)
    elif size is None:
        size = sizes.pop()
        if sizes or max(size) > _LARGEST_OWN_SIDE:
            size = (_DEFAULT_SIDE, _DEFAULT_SIDE)
    return (*size, channels or (1 if all(header.grey for header in headers) else 3))


def made_by_decoding(
    headers: Collection[images.Header], shape: tuple[int, ...], white: int = images.WHITE
) -> Preparation:
    """Say how images of these sizes, if they are known, became examples of a shape ``(h, w, c)``."""
    height, width, channels = shape
    same = bool(headers) and all((header.height, header.width) == (height, width) for header in headers)
    way = Way("none" if same else "crop", (height, width), channels, white=white)
    return Preparation("folder", (("", way),))


def _close_gaps(x: Array, good: list[int], scratch: Path | None) -> Array:
    """Keep the good rows only; on disk by copying, as the file's header states the count."""
    if scratch is None:
        return x[good]
    kept = reserve(scratch / "kept.npy", (len(good), *x.shape[1:]))
    for start in range(0, len(good), _BATCH):
        kept[start : start + _BATCH] = x[good[start : start + _BATCH]]
    return kept


def _with_places(root: Path, x: Array, found: list[_Found], skipped: list[Skipped]) -> Dataset:
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

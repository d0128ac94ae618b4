"""Folders of images: sub-folders are labels, train/test folders are splits."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from elboroom.data import images
from elboroom.data.cache import cached, forget_others, reserve
from elboroom.data.dataset import Array, Dataset, Skipped, refuse_skipped
from elboroom.data.image_tree import (
    Found,
    Otherwise,
    cached_as,
    digest,
    listing,
    scan,
    split_notes,
    why_empty,
    with_places,
)
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import UsageError

_DEFAULT_SIDE = 64
_LARGEST_OWN_SIDE = 512  # a camera's photos all have one size too, and a thousand of them fill a disk
DECODING = "3"  # changes when the same files become other numbers, so that no cached ones are taken
THREADS = min(8, os.cpu_count() or 1)
_BATCH = 2048  # files handed to the threads at a time, so that a million do not queue up
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def load_folder(
    path: Path,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    strict: bool = False,
    white: int | None = None,
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
        side, else 64, or what an `Otherwise` says. Others are cropped to the centre in that aspect and
        resized (Lanczos).
    channels : {1, 3}, optional
        Missing: 1 if all images are grey, else 3.
    strict : bool
        Whether an image that cannot be used is an error; if not, it is left out and listed in ``skipped``.
    white : int, optional
        The value that becomes 255 in images of 16 bits; if missing, `elboroom.data.images.white_of` chooses.

    Raises
    ------
    UsageError
        If there is no image, none can be used, or under `strict` any cannot.
    FailureError
        If the disk is full.
    """
    found, skipped = scan(path)
    if not found:
        raise UsageError(f"{path}: {why_empty(path)}")
    prefix = "folder-named-" + digest(cached_as(path.resolve(), size, channels, white)) + "-"
    key = prefix + digest([DECODING, *listing(path, found), *(skip.path for skip in skipped)])
    data = cached(key, lambda scratch: _build(path, found, skipped, size, channels, white, scratch))
    forget_others(prefix, keep=key)
    if strict:
        refuse_skipped(data)
    return data


def example(folder: Path) -> Path:
    """Write a few images in two sub-folders into a folder."""
    from PIL import Image

    path = folder / "pets"
    for number, label in enumerate(("cat", "cat", "dog", "dog")):
        (path / label).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (40 * number, 9, 200)).save(path / label / f"{number}.png")
    return path


def _build(
    root: Path,
    found: list[Found],
    skipped: list[Skipped],
    size: int | tuple[int, int] | None,
    channels: int | None,
    white: int | None,
    scratch: Path | None,
) -> Dataset:
    """Read headers to settle the shape, then decode into one array, closing the gaps of bad files."""
    headers = _in_threads(lambda item: images.attempt(images.read_header, item.path), found)
    skipped = skipped + [
        Skipped(str(f.path), h) for f, h in zip(found, headers, strict=True) if isinstance(h, str)
    ]
    found = [item for item, header in zip(found, headers, strict=True) if not isinstance(header, str)]
    if not found:
        raise UsageError(f"{root}: none of {len(skipped)} images can be used; the first, {_first(skipped)}")
    good_headers = [header for header in headers if not isinstance(header, str)]
    shape = choose_shape(good_headers, size, channels)
    if white is None:
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

    x, found, skipped = keep_good(root, x, found, skipped, fill, scratch)
    made = made_by_decoding(good_headers, shape, white)
    notes = (*split_notes(found), *size_notes(good_headers, shape))
    return replace(with_places(root, x, found, skipped), preparation=made, notes=notes)


def keep_good(
    root: Path,
    x: Array,
    found: list[Found],
    skipped: list[Skipped],
    fill: Callable[[int], str | None],
    scratch: Path | None,
) -> tuple[Array, list[Found], list[Skipped]]:
    """Fill the rows of `x` in threads, and leave out those of which `fill` gives a reason.

    Returns
    -------
    numpy.ndarray, list of Found, list of Skipped
        The rows that are good, their files, and all that was left out.

    Raises
    ------
    UsageError
        If none is good.
    """
    reasons = _in_threads(fill, range(len(found)))
    good = [row for row, reason in enumerate(reasons) if reason is None]
    if len(good) == len(found):
        return x, found, skipped
    skipped = skipped + [
        Skipped(str(f.path), r) for f, r in zip(found, reasons, strict=True) if r is not None
    ]
    if not good:
        raise UsageError(f"{root}: none of {len(skipped)} images can be used; the first, {_first(skipped)}")
    return _close_gaps(x, good, scratch), [found[row] for row in good], skipped


def _first(skipped: list[Skipped]) -> str:
    return f"{Path(skipped[0].path).name}, {skipped[0].reason}"


def _in_threads(task: Callable[[_In], _Out], items: list[_In] | range) -> list[_Out]:
    results: list[_Out] = []
    with ThreadPoolExecutor(THREADS) as pool:  # Pillow decodes outside the interpreter's lock
        for start in range(0, len(items), _BATCH):
            results += pool.map(task, items[start : start + _BATCH])
    return results


def choose_shape(
    headers: list[images.Header], size: int | tuple[int, int] | None, channels: int | None
) -> tuple[int, int, int]:
    """Height, width and channels of the examples: those asked for, or what suits all images."""
    sizes = {(header.height, header.width) for header in headers}
    if isinstance(size, int):
        size = (size, size)
    elif size is None or isinstance(size, Otherwise):
        height, width = size or (_DEFAULT_SIDE, _DEFAULT_SIDE)
        own = sizes.pop()
        size = (height, width) if sizes or max(own) > _LARGEST_OWN_SIDE else own
    return (*size, channels or (1 if all(header.grey for header in headers) else 3))


def size_notes(headers: Collection[images.Header], shape: tuple[int, int, int]) -> list[str]:
    """Say that images were cropped and resized, and that only the first of several in a file was read."""
    notes = []
    sizes = {(header.height, header.width) for header in headers}
    if sizes - {shape[:2]}:
        what = "images of one size" if len(sizes) == 1 else f"images of {len(sizes):,} sizes"
        notes.append(f"{what}: the middle of each was cropped and resized to {shape[1]}×{shape[0]}")
    if any(header.several for header in headers):
        notes.append("some files hold several images or frames; only the first was read")
    return notes


def made_by_decoding(
    headers: Collection[images.Header], shape: tuple[int, ...], white: int = images.WHITE
) -> Preparation:
    """Say how images of these sizes, if they are known, became examples of a shape ``(h, w, c)``."""
    height, width, channels = shape
    same = bool(headers) and all((header.height, header.width) == (height, width) for header in headers)
    one = PhotoSteps("none" if same else "crop", (height, width), channels, white=white)
    return Preparation("folder", (("", one),))


def _close_gaps(x: Array, good: list[int], scratch: Path | None) -> Array:
    """Keep the good rows only; on disk by copying, as the file's header states the count."""
    if scratch is None:
        return x[good]
    kept = reserve(scratch / "kept.npy", (len(good), *x.shape[1:]))
    for start in range(0, len(good), _BATCH):
        kept[start : start + _BATCH] = x[good[start : start + _BATCH]]
    return kept

"""Shards: several ``.tar`` files of images (WebDataset), or several ``.npy`` files, as one data set."""

from __future__ import annotations

import io
import itertools
import re
import tarfile
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import cast

import numpy as np

from elboroom.data.arrays import from_array, is_series, map_npy
from elboroom.data.dataset import TRAIN, Array, Dataset
from elboroom.data.image_tree import SPLITS, walk_images
from elboroom.data.rows import Joined
from elboroom.data.tars import COMPRESSED, load_tars
from elboroom.errors import UsageError

_PATTERN = re.compile(r"[*?\[{]")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_MOST = 1_000_000  # a typing error in a range should not fill the memory


def find_shards(path: Path) -> list[Path]:
    """List the shards that a source names; none if it names something else.

    Parameters
    ----------
    path : pathlib.Path
        A pattern such as ``shards/train-{000..009}.tar`` or ``shards/*.npy``; one ``.tar`` file; or a
        folder with ``.tar`` or ``.npy`` files in it or in its split folders (``train``, ``test``, …), and
        without images.

    Raises
    ------
    UsageError
        If a pattern names a file that is missing, no file, files of other kinds, or both kinds.
    """
    if path.is_file():
        return [path] if path.suffix.lower() == ".tar" or path.name.lower().endswith(COMPRESSED) else []
    if path.is_dir():
        found = _in_folder(path)
    elif _PATTERN.search(str(path)):
        found = _expand(str(path))
    else:
        return []
    kinds = {shard.suffix.lower() for shard in found}
    if len(kinds) > 1:
        raise UsageError(
            f"{path}: contains both .tar and .npy files; name one kind with a pattern such as "
            f"{path / '*.tar'}"
        )
    return found


def is_shards(path: Path) -> bool:
    """Whether a path or pattern names shards."""
    return bool(find_shards(path))


def load_shards(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    strict: bool = False,
    white: int | None = None,
) -> Dataset:
    """Load shards as one data set; split words in their names (``train-000.tar``) are its split.

    Tar shards are decoded once; see `elboroom.data.tars.load_tars`. ``.npy`` shards stay where they are and
    are read from there; `size` and `channels` are then the caller's to bring about.

    Raises
    ------
    UsageError
        If a shard cannot be used, or only some of their names say a split.
    FailureError
        If the disk is full.
    """
    shards = find_shards(path)
    name = path.resolve().name if path.is_dir() else path.name
    splits = _splits(shards)
    if shards[0].suffix.lower() == ".npy":
        return _join(shards, splits, name)
    return load_tars(
        shards,
        splits,
        name,
        where=str(path.absolute()),
        size=size,
        channels=channels,
        strict=strict,
        white=white,
    )


def example(folder: Path) -> Path:
    """Write a small tar shard of images with their labels into a folder."""
    from PIL import Image

    path = folder / "pets.tar"
    with tarfile.open(path, "w") as archive:
        for number, label in enumerate(("cat", "cat", "dog", "dog")):
            image = io.BytesIO()
            Image.new("RGB", (6, 5), (40 * number, 9, 200)).save(image, "PNG")
            for suffix, content in (("png", image.getvalue()), ("cls", label.encode())):
                info = tarfile.TarInfo(f"{number}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def _in_folder(path: Path) -> list[Path]:
    folders = [path, *(sub for sub in sorted(path.iterdir()) if sub.name.lower() in SPLITS and sub.is_dir())]
    found = [
        file
        for folder in folders
        for file in sorted(folder.iterdir())
        if (file.suffix.lower() in (".tar", ".npy") or file.name.lower().endswith(COMPRESSED))
        and not file.name.startswith(".")
    ]
    return found if found and not walk_images(path) else []


def _expand(pattern: str) -> list[Path]:
    """Files that braces and wildcards name, in the order of the braces."""
    found: list[Path] = []
    for word in _expand_braces(pattern):
        matches = sorted(glob(word)) if re.search(r"[*?\[]", word) else [word]  # noqa: PTH207 - may be absolute
        if not matches or not Path(matches[0]).exists():
            raise UsageError(f"{pattern}: there is no file {word}; correct the pattern or add the file")
        found += map(Path, matches)
    other = next((file for file in found if file.suffix.lower() not in (".tar", ".npy")), None)
    if other is not None and not other.name.lower().endswith(COMPRESSED):
        raise UsageError(f"{pattern}: names {other}; a pattern is for .tar or .npy shards")
    return list(dict.fromkeys(found))


def _expand_braces(pattern: str) -> Iterator[str]:
    """Expand ``{000..009}`` and ``{a,b}``, left to right, the last varying fastest.

    Examples
    --------
    >>> list(_expand_braces("{train,test}-{08..10}.tar"))[2:5]
    ['train-10.tar', 'test-08.tar', 'test-09.tar']
    """
    pieces = _BRACES.split(pattern)
    choices: list[list[str]] = []
    for i, piece in enumerate(pieces):
        span = _RANGE.fullmatch(piece) if i % 2 else None
        if span is not None:
            first, last = int(span[1]), int(span[2])
            if not first <= last < first + _MOST:
                raise UsageError(
                    f"{pattern}: {{{piece}}} must go from a lower number up to one of the next {_MOST:,}"
                )
            choices.append([str(number).zfill(len(span[1])) for number in range(first, last + 1)])
        else:
            choices.append(piece.split(",") if i % 2 else [piece])
    return map("".join, itertools.product(*choices))


def _splits(shards: list[Path]) -> list[int] | None:
    """Split of each shard, from a word in its name or its folder's; None if there are no such words."""
    found: list[int | None] = []
    for shard in shards:
        words = re.split(r"[-_.\s\d]+", shard.stem.lower())
        by_name = [SPLITS[word] for word in words if word in SPLITS]
        found.append(by_name[0] if by_name else SPLITS.get(shard.parent.name.lower()))
    # As with folders: what has no training part, or nothing else, is split by drawing.
    if TRAIN not in found or set(found) == {TRAIN}:
        return None
    silent = next((shard for shard, split in zip(shards, found, strict=True) if split is None), None)
    if silent is not None:
        raise UsageError(
            f"{silent}: its name contains no split word, unlike the others; rename it to train-…, test-… "
            "or val-…, or name the shards that you want with a pattern"
        )
    return [split for split in found if split is not None]


def _join(shards: list[Path], splits: list[int] | None, name: str) -> Dataset:
    parts: list[Array] = []
    for shard in shards:
        part = map_npy(shard)
        if part.ndim < 2:
            raise UsageError(
                f"{shard}: contains an array of shape {part.shape}; a shard must be (n, h, w[, c]) or (n, d)"
            )
        part = part[..., None] if part.ndim == 3 and not is_series(part) else part
        if not part.flags.c_contiguous:
            raise UsageError(
                f"{shard}: is stored column by column; save numpy.ascontiguousarray of it instead"
            )
        if parts and (part.shape[1:], part.dtype) != (parts[0].shape[1:], parts[0].dtype):
            raise UsageError(
                f"{shard}: contains rows of {part.shape[1:]} {part.dtype}, and {shards[0].name} of "
                f"{parts[0].shape[1:]} {parts[0].dtype}; the shards of a set must agree"
            )
        parts.append(part)
    counts = [len(part) for part in parts]
    split = None if splits is None else np.repeat(np.array(splits, dtype=np.uint8), counts)
    return from_array(cast(Array, Joined(parts)), name, split=split, origin=f"{len(parts):,} .npy shards")

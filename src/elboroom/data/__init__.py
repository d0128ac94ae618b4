"""Data of every kind, as one array with a fixed split.

`load_data` is the way in: a named set, an array, a file, a folder of images or a directory of the Haskell
program becomes a `Dataset`.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from elboroom.data.arrays import from_array, load_npy, load_npz
from elboroom.data.cache import cache_dir
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Dataset, Skipped
from elboroom.data.faces.files import is_prepared, load_prepared
from elboroom.data.folder import load_folder
from elboroom.data.haskell import is_haskell_directory, load_haskell_directory
from elboroom.data.images import read_image, resize_images
from elboroom.data.memory import require_memory
from elboroom.data.named import NAMED, load_named
from elboroom.data.rows import chunks
from elboroom.data.shards import find_shards, load_shards
from elboroom.data.table import SUFFIXES as TABLES
from elboroom.data.table import load_csv
from elboroom.errors import UsageError, nearest

__all__ = [
    "NAMED",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Dataset",
    "Skipped",
    "cache_dir",
    "full_name",
    "load_data",
    "load_haskell_directory",
    "read_image",
]


def load_data(
    source: str | os.PathLike[str] | np.ndarray[Any, np.dtype[Any]] | Dataset,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    strict: bool = False,
) -> Dataset:
    """Load data from whatever names it.

    Parameters
    ----------
    source : str, path, numpy.ndarray or Dataset
        A name in `NAMED`; the path of a ``.npy``, ``.npz``, ``.csv`` or ``.tsv`` file, of a folder of images,
        of a folder of ``.tar`` shards (WebDataset) or ``.npy`` shards or a pattern that names some, such as
        ``shards/train-{000..009}.tar``, or of a directory of ``<number>.txt`` files as the Haskell program
        has them; an array; or a data set, which is returned as it is. A path that is called like a named set
        is written ``./mnist``.
    size : int or (int, int), optional
        Side, or height and width, that images are brought to: their largest centred part of that aspect.
    channels : {1, 3}, optional
        Grey or colour, of images.
    strict : bool
        Whether an input that cannot be read is an error; if not, it is left out and listed in ``skipped``.

    Returns
    -------
    Dataset
        With a fixed split. Data that comes without one is split 90 to 10 into train and test, always alike.

    Raises
    ------
    UsageError
        If there is no such data, it cannot be read, or it cannot be brought to the size asked for.
    FailureError
        If a download failed or the disk is full.

    Examples
    --------
    >>> load_data("digits").shape
    (8, 8, 1)
    >>> load_data(np.zeros((20, 3), dtype=np.float32)).describe()
    'array: 18 train, 2 test, 3 float32, no labels (from memory)'
    """
    size = _checked_size(size, channels)
    if isinstance(source, Dataset):
        return _of_size(source, size, channels)
    if isinstance(source, np.ndarray):
        return _of_size(from_array(source, "array", origin="memory"), size, channels)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"data is a {type(source).__name__}; it must be a name, a path, a numpy array or a Dataset"
        )
    name = os.fspath(source)
    if name in NAMED and (isinstance(source, str) or not Path(name).exists()):
        return _of_size(load_named(name), size, channels)
    try:
        shards = _shards(name)
        if shards:
            data = load_shards(shards, name, size=size, channels=channels, strict=strict)
            return _of_size(data, size, channels)
        path = _existing(name)
        if path.is_dir() and is_prepared(path):
            return _of_size(load_prepared(path), size, channels)
        if path.is_dir() and not is_haskell_directory(path):
            return load_folder(path, size=size, channels=channels, strict=strict)
        return _of_size(_load_path(path, strict), size, channels)
    except PermissionError as error:
        where = error.filename or name
        raise UsageError(f"{where}: cannot be read ({error.strerror}); check its permissions") from error


def full_name(source: str) -> str:
    """Name of a set, or a path that holds wherever the program is called from.

    Examples
    --------
    >>> full_name("digits"), Path(full_name("photos")).is_absolute()
    ('digits', True)
    """
    return source if source in NAMED else str(Path(source).expanduser().absolute())


def _shards(text: str) -> list[Path]:
    if not text.strip():
        return []  # the folder one happens to be in is not meant
    try:
        path = Path(text).expanduser()
        is_other = path.is_dir() and (is_prepared(path) or is_haskell_directory(path))
        return [] if is_other else find_shards(text)
    except PermissionError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # no path at all, which _existing will say
        if isinstance(error, UsageError):
            raise
        return []


def _existing(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        found = bool(text) and path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null character, no such user
        found = False
    if not found:
        raise UsageError(
            f"no data set or path {text!r}: {nearest(text, NAMED)} "
            "(it is neither a named set nor an existing path)"
        )
    return path


def _load_path(path: Path, strict: bool) -> Dataset:
    if path.is_dir():
        return load_haskell_directory(path, strict)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return load_npy(path)
    if suffix == ".npz":
        return load_npz(path)
    if suffix in TABLES:
        return load_csv(path, strict)
    raise UsageError(
        f"{path}: a file ending in {suffix or 'nothing'!r} cannot be loaded; it must be .npy, .npz, .csv or "
        ".tsv, a folder of images, a directory of <number>.txt files, or .tar or .npy shards"
    )


def _checked_size(size: int | tuple[int, int] | None, channels: int | None) -> tuple[int, int] | None:
    if channels not in (None, 1, 3):
        raise UsageError(f"channels is {channels!r}; it must be 1 (grey) or 3 (colour)")
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and 1 <= side <= 4096 for side in sides):
        raise UsageError(
            f"size is {size!r}; it must be a whole number of pixels, 1 to 4096, or (height, width)"
        )
    return int(sides[0]), int(sides[1])


def _of_size(data: Dataset, size: tuple[int, int] | None, channels: int | None) -> Dataset:
    """Resize images, and turn colour to grey; refuse what has no pixels of 0 to 255."""
    if (size or channels) and not data.is_image:
        raise UsageError(f"{data.name} holds rows of numbers, not images; leave size and channels out")
    if not data.is_image:
        return data
    height, width = size or data.shape[:2]
    shape = (height, width, channels or data.shape[2])
    if shape == data.shape:
        return data
    if data.x.dtype != np.uint8 or data.scale < 255:
        has, asked = ("×".join(map(str, sides)) for sides in (data.shape, shape))
        raise UsageError(
            f"{data.name} is {has} and {asked} was asked for; only pixels of 0 to 255 can be resized, "
            "so leave size and channels out"
        )
    needed = len(data) * math.prod(shape)
    require_memory(needed, f"{data.name}: images are resized in memory", data.name)
    resized, start = np.empty((len(data), *shape), np.uint8), 0
    for part in chunks(data.x):
        resized[start : start + len(part)] = resize_images(part, shape)
        start += len(part)
    return replace(data, x=resized)

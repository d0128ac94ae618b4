"""Load data sets by name, path or pattern."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from elboroom.config.columns import Column
from elboroom.config.kinds import declared_kinds
from elboroom.data.arrays import from_array
from elboroom.data.columns import as_numbers
from elboroom.data.dataset import Dataset
from elboroom.data.ecosystem.choice import check_asked, outside_set
from elboroom.data.ecosystem.hf_files import is_hub_name, load_hub_set
from elboroom.data.formats import Options, listed, recognise
from elboroom.data.images import resize_images
from elboroom.data.memory import require_memory
from elboroom.data.named import NAMED, load_named
from elboroom.data.rows import chunks
from elboroom.data.table_frames import memory_table, row_names
from elboroom.data.table_set import Reading, labelled_set
from elboroom.errors import UsageError, nearest


def load_data(
    source: Any,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    strict: bool = False,
    kinds: Mapping[str, str] | str | None = None,
    columns: Sequence[Column] = (),
    encoding: str | None = None,
    unseen: Literal["refuse", "missing"] = "refuse",
    label_column: str | None = None,
    layer: str | None = None,
) -> Dataset:
    """Load a data set by its name or path, or wrap a table or an array in memory.

    Parameters
    ----------
    source : str, path, table, numpy.ndarray or Dataset
        A name in `NAMED`; ``hf://datasets/user/name@COMMIT``, on the Hugging Face hub; a path in one of
        `elboroom.data.formats.FORMATS`; a pattern of shards, such as ``shards/train-{000..009}.tar``; a data
        frame of pandas or polars, a table of pyarrow, a structured array or a dict of columns; AnnData; a
        Dataset of PyTorch or Hugging Face; an array; or a data set, which is returned as it is.
        Write ``./mnist`` for a path that has the name of a named set.
    size : int or (int, int), optional
        Side, or height and width, that images are brought to: their largest centred part of that aspect.
    channels : {1, 3}, optional
        Grey or colour, of images.
    strict : bool
        Whether an input that cannot be read is an error; if not, it is left out and listed in ``skipped``.
        A cell of a table that does not fit its column is then missing, which a note says.
    kinds : mapping of str to str, or str, optional
        Kinds of columns of a table that are not to be inferred, as in ``'zip=category, id=ignored,
        rating=ordinal:low<mid<high, weight=positive[kg], day=datetime:%d/%m/%Y'``; "numbers" reads all
        columns as plain numbers and leaves out rows with a hole.
    columns : sequence of Column
        Columns of a run, ``vae.config.columns``, to which a table is brought by name.
    encoding : str, optional
        Of a text table, as Python names it. Default: UTF-8, or as its first bytes say.
    unseen : {"refuse", "missing"}
        What a category of a table is to a model that was not trained on it: an error, or a missing cell.
    label_column : str, optional
        Column that holds the labels: of ``obs`` of AnnData, or of a data set of Hugging Face. Default: the
        column "label", if there is one.
    layer : str, optional
        Layer of AnnData that is used instead of ``X``.

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
    options = checked_options(size, channels, strict)
    plain = kinds == "numbers"
    reading = None if plain else Reading(declared_kinds(kinds), tuple(columns), unseen=unseen)
    options = replace(options, reading=reading, encoding=encoding, label_column=label_column, layer=layer)
    return load(source, options)


def checked_options(
    size: int | tuple[int, int] | None, channels: int | None, strict: bool = False
) -> Options:
    """Options of these values.

    Raises
    ------
    UsageError
        If size or channels cannot be those of an image.
    """
    return Options(_checked_size(size, channels), channels, strict)


def load(source: Any, options: Options) -> Dataset:
    """As `load_data`, with options that were checked."""
    if isinstance(source, Dataset):
        return _of_size(source, options)
    outside = outside_set(source, options.asked)
    if outside is not None:
        return _of_size(outside, options)
    if not isinstance(source, str | os.PathLike):
        check_asked(options.asked, f"a {type(source).__name__}")
    table = memory_table(source)
    if table is not None:
        reading = replace(options.reading or Reading(), strict=options.strict)
        data = labelled_set(table, "table", reading, origin="memory", names=row_names(source))
        return data if options.reading is not None else as_numbers(data)
    if isinstance(source, np.ndarray):
        return _of_size(from_array(source, "array", origin="memory"), options)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"data has type {type(source).__name__}; it must be a name, a path, a data frame, a numpy array, "
            "a Dataset of elboroom, PyTorch or Hugging Face, or AnnData"
        )
    name = os.fspath(source)
    if is_hub_name(source):
        return _of_size(load_hub_set(name, options.asked), options)
    if name in NAMED and (isinstance(source, str) or not Path(name).exists()):
        check_asked(options.asked, name)
        return _of_size(load_named(name), options)
    try:
        return _of_size(_read(name, options), options)
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
    return source if source in NAMED or is_hub_name(source) else str(Path(source).expanduser().absolute())


def _read(name: str, options: Options) -> Dataset:
    """Read a path, or a pattern of paths, in the first of `FORMATS` that recognises it."""
    path = as_path(name)
    row = None if path is None else recognise(path)
    if path is not None and row is not None:
        if not row.asks:
            check_asked(options.asked, str(path))
        found = row.read(path, options)
        return found.with_origin(row.origin) if row.origin else found
    if path is not None and path.exists():
        ending = f"a file ending in {path.suffix!r}" if path.suffix else "a file without an ending"
        raise UsageError(f"{path}: {ending} cannot be loaded; give {listed()}")
    raise UsageError(
        f"no data set or path {name!r}: it is neither a named set nor an existing path; "
        f"{nearest(name, NAMED)}"
    )


def as_path(name: str) -> Path | None:
    """The path that a text names, whether it exists or not; None if it cannot be one."""
    if not name.strip():
        return None  # and not the current folder
    try:
        path = Path(name).expanduser()
        path.exists()
    except PermissionError:
        raise
    except (OSError, ValueError, RuntimeError):  # too long, a null character, no such user
        return None
    return path


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


def _of_size(data: Dataset, options: Options) -> Dataset:
    """Resize images, and turn colour to grey; refuse what has no pixels of 0 to 255."""
    size, channels = options.size, options.channels
    if (size or channels) and not data.is_image:
        raise UsageError(f"{data.name} contains rows of numbers, not images; leave size and channels out")
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

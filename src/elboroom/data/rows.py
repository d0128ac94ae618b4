"""Rows of arrays that may be larger than memory: read from the file behind a map, not through the map.

Pages of a map that have been touched count as memory of the process. What ``pread`` brings passes through
the system's cache instead, so that reading any number of gigabytes takes no more memory than one buffer.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import FailureError

Array = np.ndarray[Any, np.dtype[Any]]
Rows = NDArray[np.int64]

_CHUNK_BYTES = 16 << 20
_MOST_BUFFERS = 1024  # that one preadv takes: IOV_MAX of Linux and macOS
_CAN_READ = hasattr(os, "preadv")  # not on Windows, which reads through the map


@dataclass(frozen=True)
class _FilePart:
    """Rows ``first`` to ``first + count`` of an array, as they lie in a file."""

    path: Path
    identity: tuple[int, int]
    offset: int
    first: int
    count: int


class Joined:
    """Arrays one after the other, as one: what ``numpy.concatenate`` gives, with nothing copied.

    It has what a `Dataset` asks of its array: ``shape dtype ndim nbytes min max``, length, and rows by
    number, slice or array of numbers. Those are read when they are asked for.

    Parameters
    ----------
    parts : sequence of numpy.ndarray
        At least one; all of one type and one shape but for the first axis.

    Examples
    --------
    >>> both = Joined([np.zeros((2, 3)), np.ones((1, 3))])
    >>> both.shape, both[1:].tolist(), both[2].tolist()
    ((3, 3), [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [1.0, 1.0, 1.0])
    """

    def __init__(self, parts: Sequence[Array]):
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *map(len, self.parts)])
        self.dtype = self.parts[0].dtype
        self.shape: tuple[int, ...] = (int(self.starts[-1]), *self.parts[0].shape[1:])
        self.ndim = len(self.shape)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, int | np.integer):
            row = range(len(self))[int(key)]  # raises IndexError, on which iteration relies
            return self.take(np.array([row]))[0]
        return take(self, key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("parts of an array cannot be joined without a copy")
        whole = take(self, slice(None))
        return whole if dtype is None else whole.astype(dtype)

    def min(self) -> Any:
        """Smallest value."""
        return extent(self)[0]

    def max(self) -> Any:
        """Largest value."""
        return extent(self)[1]

    def take(self, rows: Rows) -> Array:
        """Rows by number, through the parts; see :func:`take` for reading their files instead."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.starts, rows, side="right") - 1
        for part in np.unique(which):
            here = which == part
            found[here] = self.parts[part][rows[here] - self.starts[part]]
        return found


class RowReader:
    """Reads rows of an array into buffers, in the order of their places in the files behind it.

    It keeps nothing open between two calls, and threads may share one. An array in memory is copied from. So
    is a map whose file has been replaced or removed since, because the map still has what the file had.

    Parameters
    ----------
    x : numpy.ndarray or Joined
        ``(n, *shape)``.
    """

    def __init__(self, x: Array | Joined):
        self.x = x
        self.row_bytes = max(1, x.nbytes // max(1, len(x)))
        parts = _file_parts(x) if _CAN_READ else None
        self._parts = parts or []
        self._firsts = np.array([part.first for part in self._parts])

    @property
    def from_file(self) -> bool:
        """Whether rows are read from files."""
        return bool(self._parts)

    def read(self, batches: Sequence[Rows], buffers: Sequence[Array]) -> None:
        """Fill each buffer ``(b, *shape)`` with the rows of a batch ``(b,)``; neighbours in one read.

        Raises
        ------
        FailureError
            If a file has become shorter, or its disk fails.
        """
        if not self._parts:
            for rows, buffer in zip(batches, buffers, strict=True):
                buffer[...] = self._copy(rows)
            return
        rows = np.concatenate([np.asarray(batch, dtype=np.int64) for batch in batches])
        if not len(rows):
            return
        if rows.min() < 0 or rows.max() >= len(self.x):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self.x)} were asked for")
        views = _row_views(buffers, self.row_bytes)
        by_place = np.argsort(rows, kind="stable")
        rows = rows[by_place]
        cuts = np.searchsorted(rows, self._firsts[1:])
        for part, start, stop in zip(self._parts, [0, *cuts], [*cuts, len(rows)], strict=True):
            if start < stop:
                here = [views[i] for i in by_place[start:stop].tolist()]
                self._read_part(part, rows[start:stop] - part.first, here)

    def _copy(self, rows: Rows) -> Array:
        """Rows through the array itself."""
        return self.x.take(rows) if isinstance(self.x, Joined) else self.x[rows]

    def _read_part(self, part: _FilePart, rows: Rows, views: list[memoryview]) -> None:
        try:
            descriptor = os.open(part.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return self._copy_part(part, rows, views)
        except OSError as error:
            raise FailureError(f"{part.path}: cannot be read ({error.strerror})") from error
        try:
            stat = os.fstat(descriptor)
            if (stat.st_dev, stat.st_ino) != part.identity:
                return self._copy_part(part, rows, views)
            ends = np.flatnonzero(np.diff(rows) != 1) + 1
            for start, stop in zip([0, *ends.tolist()], [*ends.tolist(), len(rows)], strict=True):
                for at in range(start, stop, _MOST_BUFFERS):
                    run = views[at : min(stop, at + _MOST_BUFFERS)]
                    place = part.offset + int(rows[at]) * self.row_bytes
                    if os.preadv(descriptor, run, place) < len(run) * self.row_bytes:
                        self._read_on(descriptor, run, place)
        except OSError as error:
            raise FailureError(f"{part.path}: cannot be read ({error.strerror})") from error
        except EOFError:
            raise FailureError(
                f"{part.path}: has become shorter while it was read; copy it again, then resume the run"
            ) from None
        finally:
            os.close(descriptor)

    def _read_on(self, descriptor: int, views: list[memoryview], place: int) -> None:
        """Read the rest row by row after a short read."""
        for view in views:
            done = 0
            while done < len(view):
                got = os.preadv(descriptor, [view[done:]], place + done)
                if not got:
                    raise EOFError
                done += got
            place += len(view)

    def _copy_part(self, part: _FilePart, rows: Rows, views: list[memoryview]) -> None:
        whole = _bytes(np.ascontiguousarray(self._copy(rows + part.first)))
        for i, view in enumerate(views):
            view[:] = whole[i * self.row_bytes : (i + 1) * self.row_bytes]


def take(x: Array | Joined, key: Any) -> Array:
    """Rows ``x[key]`` by slice or by array of numbers, read from the file where there is one.

    Examples
    --------
    >>> take(np.arange(6).reshape(3, 2), np.array([2, 0])).tolist()
    [[4, 5], [0, 1]]
    """
    reader = RowReader(x)
    if not reader.from_file and not isinstance(x, Joined):
        return np.asarray(x[key])
    rows = (
        np.arange(*key.indices(len(x)), dtype=np.int64)
        if isinstance(key, slice)
        else np.arange(len(x), dtype=np.int64)[key]
    )
    if rows.ndim != 1:
        return np.asarray(x[key])
    found = np.empty((len(rows), *x.shape[1:]), x.dtype)
    reader.read([rows], [found])
    return found


def chunks(x: Array | Joined) -> Iterator[Array]:
    """Yield consecutive rows, some 16 MB at a time; views of an array in memory, else read from the file."""
    reader = RowReader(x)
    step = max(1, _CHUNK_BYTES // reader.row_bytes)
    for start in range(0, len(x), step):
        if reader.from_file or isinstance(x, Joined):
            rows = np.arange(start, min(len(x), start + step))
            part = np.empty((len(rows), *x.shape[1:]), x.dtype)
            reader.read([rows], [part])
            yield part
        else:
            yield np.asarray(x[start : start + step])


_extents: dict[int, tuple[weakref.ref[Any], tuple[Any, Any]]] = {}


def extent(x: Array | Joined) -> tuple[Any, Any]:
    """Smallest and largest value, as Python numbers; nan if there is one. Read-only maps are read but once.

    Of the centres of larger images, the values of the whole images count.

    Examples
    --------
    >>> extent(np.array([[3.0, -1.0]]))
    (-1.0, 3.0)
    """
    x = getattr(x, "stored", x)
    held = _extents.get(id(x))
    if held is not None and held[0]() is x:
        return held[1]
    lows, highs = zip(*((part.min(), part.max()) for part in chunks(x)), strict=True)
    low, high = np.min(lows).item(), np.max(highs).item()
    if isinstance(x, Joined) or (isinstance(x, np.memmap) and not x.flags.writeable):
        key = id(x)
        _extents[key] = (weakref.ref(x, lambda _: _extents.pop(key, None)), (low, high))
    return low, high


def _file_parts(x: Array | Joined) -> list[_FilePart] | None:
    """Where an array's rows lie in files; None if they do not lie there one after the other."""
    if isinstance(x, Joined):
        places = [_place(part) for part in x.parts]
        if any(place is None for place in places):
            return None
        return [
            _FilePart(*place, first=int(first), count=len(part))
            for place, first, part in zip(places, x.starts, x.parts, strict=False)
            if place is not None
        ]
    place = _place(x)
    return None if place is None else [_FilePart(*place, first=0, count=len(x))]


def _place(x: Array) -> tuple[Path, tuple[int, int], int] | None:
    """File, device and inode, and the first byte of a memory map or of a view of one."""
    if not x.flags.c_contiguous or x.dtype.hasobject or not x.nbytes:
        return None
    mapped, base = None, x
    while isinstance(base, np.ndarray):
        mapped = base if isinstance(base, np.memmap) else mapped
        base = base.base  # type: ignore[assignment]
    if not isinstance(base, mmap.mmap) or mapped is None or mapped.filename is None:
        return None
    path = Path(os.fsdecode(mapped.filename))
    try:
        stat = path.stat()
        replaced = stat.st_size != base.size()
    except OSError:
        return None
    if replaced:
        return None
    # A view keeps the offset of the map it was made of, so the view's own offset follows from its address.
    within = x.__array_interface__["data"][0] - np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    return (
        path,
        (stat.st_dev, stat.st_ino),
        mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY + within,
    )


def _bytes(x: Array) -> memoryview:
    """Bytes of a contiguous array, in place."""
    return x.reshape(-1).view(np.uint8).data


def _row_views(buffers: Sequence[Array], row_bytes: int) -> list[memoryview]:
    """Bytes of each row of each buffer, to be written into."""
    views = []
    for buffer in buffers:
        whole = _bytes(buffer)
        views += [whole[start : start + row_bytes] for start in range(0, len(whole), row_bytes)]
    return views

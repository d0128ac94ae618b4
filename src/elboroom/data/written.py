"""Rows written one after the other into a file, with no more memory than one of them takes."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from elboroom.data.cache import reserve
from elboroom.data.memory import require_memory
from elboroom.data.rows import Array


class WrittenRows:
    """A uint8 array that grows row by row up to a known size; its disk space is claimed first.

    Written pages of a map would count as memory of the process, so rows are written to the file itself.

    Parameters
    ----------
    scratch : pathlib.Path, optional
        Folder for ``x.npy``; in memory if missing.
    shape : tuple of int
        ``(n, h, w, c)``; rows that are never appended are cut off at the end.
    name : str
        What the data set is called.

    Raises
    ------
    FailureError
        If the disk has no room for it.
    UsageError
        If there is no scratch folder, and memory has none either.
    """

    def __init__(self, scratch: Path | None, shape: tuple[int, ...], name: str):
        self.count = 0
        self.row_bytes = math.prod(shape[1:])
        self._shape = shape
        self._path = None if scratch is None else scratch / "x.npy"
        self._held: Array | None = None
        if self._path is None:
            needed = math.prod(shape)
            require_memory(needed, f"{name}: without a cache {shape[0]:,} images are kept in memory", name)
            self._held = np.empty(shape, np.uint8)
        else:
            self._start = int(reserve(self._path, shape).offset)  # type: ignore[attr-defined]
            self._file = self._path.open("r+b")
            self._file.seek(self._start)

    def append(self, row: Array) -> None:
        """Write one row ``(h, w, c)``."""
        if self._held is not None:
            self._held[self.count] = row
        else:
            self._file.write(np.ascontiguousarray(row).data)
        self.count += 1

    def finish(self) -> Array:
        """Close the file and return what was written, as a memory map."""
        if self._held is not None:
            return self._held[: self.count]
        with self._file as file:
            if self.count < self._shape[0]:
                file.truncate()
                file.seek(0)
                shape = (self.count, *self._shape[1:])
                # numpy leaves room in the header for another count, so that it keeps its length.
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            os.fsync(file.fileno())
        return np.lib.format.open_memmap(str(self._path), mode="r")

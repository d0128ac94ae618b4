"""Check how much memory the members of a ``.npz`` archive need before they are unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elboroom.data.memory import available_memory, fits
from elboroom.errors import UsageError

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def weigh(archive: zipfile.ZipFile, names: Sequence[str], path: Path) -> None:
    """Refuse to unpack arrays that do not fit into memory, or are not as large as their headers state.

    A few kilobytes can unpack to more than any memory holds. The archive's directory states the unpacked
    sizes, and no more than that is unpacked.

    Parameters
    ----------
    archive : zipfile.ZipFile
        Open.
    names : sequence of str
        Of the arrays, without ``.npy``; those that are missing do not count.
    path : pathlib.Path
        Of the archive, for the message.

    Raises
    ------
    UsageError
        If they take more than half of the free memory, or a member is damaged.
    """
    members = [info for info in archive.infolist() if info.filename.removesuffix(".npy") in names]
    needed = sum(info.file_size for info in members)
    if not fits(needed):
        raise UsageError(
            f"{path}: its arrays unpack to {needed / 1e9:,.1f} GB, and {available_memory() / 1e9:,.1f} GB of "
            "memory are free; save them as .npy, which is read from the disk piece by piece"
        )
    for info in members:
        stated = _stated(archive, info)
        if stated is not None and stated != info.file_size:
            raise UsageError(
                f"{path}: entry {info.filename.removesuffix('.npy')!r} is damaged: its header states "
                f"{stated:,} bytes, and it contains {info.file_size:,}; write or copy it again"
            )


def _stated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int | None:
    """Size of a member by its own header; None if that is unreadable, as reading the member will explain."""
    try:
        with archive.open(info) as file:
            shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
            return None if dtype.hasobject else file.tell() + math.prod(shape) * dtype.itemsize
    except Exception:  # damaged bytes are met with nearly any exception
        return None

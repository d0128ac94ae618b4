"""Sizes and kinds of the picture files of a folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elboroom.data.image_tree import scan
from elboroom.data.images import read_header

_MOST = 500  # files whose headers are read


@dataclass(frozen=True)
class FileKinds:
    """What some picture files are.

    Attributes
    ----------
    count : int
        How many were looked at.
    sizes : Counter
        How many have each (width, height).
    grey : int
        How many are grey.
    """

    count: int
    sizes: Counter[tuple[int, int]]
    grey: int


def kinds_of_files(folder: Path) -> FileKinds | None:
    """Read the headers of at most 500 picture files, evenly spaced; None if there are none."""
    files = [found.path for found in scan(folder)[0]]
    sizes: Counter[tuple[int, int]] = Counter()
    grey = 0
    for at in np.unique(np.linspace(0, len(files) - 1, min(len(files), _MOST), dtype=np.int64)):
        try:
            header = read_header(files[at])
        except (ValueError, OSError):  # damaged: the loader lists it
            continue
        sizes[header.width, header.height] += 1
        grey += header.grey
    return FileKinds(sizes.total(), sizes, grey) if sizes else None

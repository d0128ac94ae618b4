"""The memory that is free for data, and the refusal of data that do not fit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from elboroom.data.rows import Array, chunks
from elboroom.errors import UsageError

if TYPE_CHECKING:
    import torch

_SHARE = 0.5  # the model, its gradients and what else runs must fit too
_CONTROL = Path("/sys/fs/cgroup")


def fits(nbytes: int, device: torch.device | None = None) -> bool:
    """Whether so many bytes take at most half of what is free on the device; of main memory without one."""
    if device is not None and device.type == "cuda":
        import torch

        return nbytes <= _SHARE * torch.cuda.mem_get_info(device)[0]
    return nbytes <= _SHARE * available_memory()


def available_memory() -> int:
    """Free bytes of main memory: of the machine, or what a container's limit leaves."""
    import psutil  # here, so that what needs no data loads quickly

    free = int(psutil.virtual_memory().available)
    try:
        group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].split("\n")[0]
    except OSError:
        return free
    return min(free, _left_by_limits(_CONTROL, _CONTROL / group.strip("/")))


def convert(x: Array, dtype: type[np.generic], name: str) -> Array:
    """Copy an array into memory as another type, part by part.

    Raises
    ------
    UsageError
        If the copy of a memory map does not fit.
    """
    needed = math.prod(x.shape) * np.dtype(dtype).itemsize
    if not isinstance(x, np.ndarray) or isinstance(x, np.memmap):
        require_memory(needed, f"{name}: {x.dtype} values are brought to {np.dtype(dtype)} in memory", name)
    converted = np.empty(x.shape, dtype)
    start = 0
    for part in chunks(x):
        converted[start : start + len(part)] = part
        start += len(part)
    return converted


def require_memory(needed: int, what: str, name: str) -> None:
    """Refuse to make an array of so many bytes where it would not leave memory for anything else.

    Raises
    ------
    UsageError
        If they are more than half of what is free.
    """
    if not fits(needed):
        raise UsageError(
            f"{what}, which takes {needed / 1e9:,.1f} GB and leaves too little; save {name} as the uint8 or "
            "float32 array that is wanted, which is read from the disk piece by piece"
        )


def _left_by_limits(root: Path, group: Path) -> int:
    """Least bytes that a control group (version 2) and those above it still allow."""
    left = 1 << 62
    for folder in (group, *group.parents):
        try:
            limit = (folder / "memory.max").read_text().strip()
            used = int((folder / "memory.current").read_text())
            facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            limit = "max"
        if limit != "max":
            # Pages of files that were read count as used, and are given up when they are needed.
            left = min(left, int(limit) - used + int(facts.get("inactive_file", 0)))
        if folder == root:
            break
    return max(0, left)

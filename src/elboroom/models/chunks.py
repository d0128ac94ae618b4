"""How much of a computation is done at a time, and what happens when memory runs out.

On the CPU chunks are sized for its cache. A GPU wants large ones: as many numbers as keep it busy, if they
take at most a quarter of the memory that is free there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from elboroom.errors import FailureError

# Share of a GPU's free memory that one chunk may take, and the numbers beyond which larger ones gain nothing.
_SHARE = 0.25
MOST_NUMBERS = 64_000_000
# For each number of a layer's output: float32, beside seven others that are needed at the same time.
_BYTES = 8 * 4

Compute = Callable[[slice, slice], Tensor]


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a GPU, with those that PyTorch holds in reserve; None where a cache decides."""
    if device.type != "cuda":
        return None
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + reserve


def has_memory_to_fill(device: torch.device) -> bool:
    """Whether chunks are sized by the memory of a device, as on a GPU, and not by a cache."""
    return free_memory(device) is not None


def numbers_at_once(device: torch.device, on_cpu: int) -> int:
    """How many numbers of a layer's output to compute at a time; ``on_cpu`` where memory is not the limit."""
    free = free_memory(device)
    return on_cpu if free is None else max(1, min(MOST_NUMBERS, int(_SHARE * free) // _BYTES))


def bytes_at_once(device: torch.device) -> int | None:
    """How many bytes of examples to bring to a GPU at a time; None for the CPU, where they are already."""
    free = free_memory(device)
    return None if free is None else max(1, int(_SHARE * free))


def computed(compute: Compute, rows: int, columns: int, at_once: int, device: torch.device) -> Tensor:
    """Compute a matrix in pieces of at most ``at_once`` cells, or in smaller ones if memory runs out.

    Parameters
    ----------
    compute : callable
        (rows, columns) as slices → that piece, (r, c) or (r, c, ...).
    rows, columns : int
        Cells in all.
    at_once : int
        Cells of the first pieces; halved each time that the device has no memory for one.
    device : torch.device
        Where it is computed, for the message.

    Raises
    ------
    FailureError
        If memory does not suffice for a single cell.

    Examples
    --------
    >>> table = torch.arange(12).reshape(3, 4)
    >>> torch.equal(computed(lambda r, c: table[r, c], 3, 4, 2, table.device), table)
    True
    """
    limit = at_once

    def piece(top: int, bottom: int, left: int, right: int) -> Tensor:
        nonlocal limit
        height, width = bottom - top, right - left
        cells = height * width
        if cells <= max(1, limit):
            with out_of_memory(device, last=cells <= 1) as ran_out:
                return compute(slice(top, bottom), slice(left, right))
            assert ran_out  # the failed computation has been left, and with it what it had allocated
            limit = cells // 2
        if height > 1:
            step = max(1, min(height, limit // width))
            parts = [piece(i, min(i + step, bottom), left, right) for i in range(top, bottom, step)]
            return torch.cat(parts)
        step = max(1, limit)
        return torch.cat([piece(top, bottom, i, min(i + step, right)) for i in range(left, right, step)], 1)

    return piece(0, rows, 0, columns)


@contextmanager
def out_of_memory(device: torch.device, *, last: bool) -> Iterator[list[bool]]:
    """Let a block be left where the device has no memory for it, and free what it had allocated.

    Yields
    ------
    list
        Not empty after the block if it ran out of memory.

    Raises
    ------
    FailureError
        If this was the ``last``, smallest attempt.
    """
    ran_out: list[bool] = []
    try:
        yield ran_out
    except torch.OutOfMemoryError as error:
        if last:
            free = free_memory(device) or 0
            raise FailureError(
                f"the memory of {device} does not suffice for one example at a time ({free / 1e9:.1f} GB are "
                "free); end other programs that use it, or do this on the CPU"
            ) from error
        ran_out.append(True)
    if ran_out and device.type == "cuda":
        torch.cuda.empty_cache()

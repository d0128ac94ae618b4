"""Read batches ahead of use, for data larger than memory, and shuffle in an order that suits slow disks."""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.rows import RowReader

_BLOCK_BYTES = 8 << 20  # read at a time: large enough to hold neighbours, small enough to start soon
_AHEAD = 3  # blocks being read or waiting
_READERS = 2

Order = Sequence[NDArray[np.int64]]


def stream_rows(
    reader: RowReader, order: Order, device: torch.device, *, block_bytes: int = _BLOCK_BYTES
) -> Iterator[Tensor]:
    """Yield the raw rows of each batch of row numbers, on the device, while later ones are read.

    Two threads fill a few blocks of batches ahead of use, at most ``_AHEAD``. A batch may be kept: its memory
    is used again only when nothing holds it. For a GPU it is pinned. The threads end with the generator: at
    its end, when it is closed or dropped, and on any error.

    Parameters
    ----------
    reader : RowReader
        Of uint8 or float32 rows ``(n, *shape)``.
    order : sequence of array
        Row numbers ``(b,)`` of each batch; the result depends on nothing else.
    device : torch.device
        Where batches go; copies are asynchronous.
    block_bytes : int
        Bytes read at a time, in file order; at least one batch.

    Raises
    ------
    FailureError
        Where a row is due that cannot be read.
    """
    buffers = _Buffers(reader, order, device)

    def read(batches: Order) -> list[Tensor]:
        tensors = [buffers.empty(len(rows)) for rows in batches]
        reader.read(batches, [tensor.numpy() for tensor in tensors])
        return tensors

    waiting: deque[Future[list[Tensor]]] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="elboroom-reader")
    try:
        for block in _blocks(order, reader.row_bytes, block_bytes):
            waiting.append(pool.submit(read, block))
            if len(waiting) > _AHEAD:
                yield from _onto(device, waiting.popleft().result())
        while waiting:
            yield from _onto(device, waiting.popleft().result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Buffers:
    """Memory for batches, each used again when nothing holds the last batch in it any more.

    It does not come from malloc: what one thread takes from there and another gives back leaves gaps, and the
    process grows. For a GPU it is torch's pinned memory, which torch itself uses again.
    """

    def __init__(self, reader: RowReader, order: Order, device: torch.device):
        self._dtype = reader.x.dtype
        self._shape = reader.x.shape[1:]
        self._bytes = max(1, max(map(len, order), default=0) * reader.row_bytes)
        self._pinned = device.type == "cuda"
        self._free: list[mmap.mmap] = []

    def empty(self, count: int) -> Tensor:
        shape = (count, *self._shape)
        if self._pinned:
            kind = torch.from_numpy(np.empty(0, self._dtype)).dtype
            return torch.empty(shape, dtype=kind, pin_memory=True)
        try:
            pages = self._free.pop()
        except IndexError:
            pages = mmap.mmap(-1, self._bytes)
        array = np.frombuffer(pages, self._dtype, math.prod(shape)).reshape(shape)
        weakref.finalize(array, self._free.append, pages).atexit = False  # the tensor holds the array
        return torch.from_numpy(array)


def _onto(device: torch.device, batches: list[Tensor]) -> Iterator[Tensor]:
    batches.reverse()
    while batches:  # taken off, so that a batch is freed when its user drops it
        yield batches.pop().to(device, non_blocking=True)


def _blocks(order: Order, row_bytes: int, block_bytes: int) -> Iterator[Order]:
    """Consecutive batches that together reach the size of a block."""
    block: list[NDArray[np.int64]] = []
    held = 0
    for rows in order:
        block.append(rows)
        held += len(rows) * row_bytes
        if held >= block_bytes:
            yield block
            block, held = [], 0
    if block:
        yield block


def chunked_permutation(
    indices: NDArray[np.int64], chunk: int, window: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Shuffle chunks of neighbours, then the rows within windows of whole chunks.

    A full shuffle makes a read for every row. Here, all rows of a chunk come within ``window`` places of each
    other, so that a reader that looks that far ahead fetches them in one read. Where chunks begin is drawn
    anew at every call, so that no two rows always come together.

    Parameters
    ----------
    indices : array
        ``(n,)`` row numbers, ascending.
    chunk : int
        Neighbours that stay together, at least 1. With 1 it is ``rng.permutation(indices)``, draw for draw.
    window : int
        Rows shuffled together, rounded down to whole chunks and at least one. The wider, the nearer to a
        full shuffle; a reader merges reads where ``window`` rows fit into one of its blocks.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    numpy.ndarray
        A permutation of ``indices``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> order = chunked_permutation(np.arange(12), chunk=3, window=6, rng=rng)
    >>> sorted(order.tolist()) == list(range(12))
    True
    """
    if chunk <= 1:
        return rng.permutation(indices)
    whole = len(indices) // chunk * chunk
    turned = np.roll(indices, -int(rng.integers(chunk)))
    chunks = turned[:whole].reshape(-1, chunk)[rng.permutation(whole // chunk)].ravel()
    span = max(1, window // chunk) * chunk
    full = whole // span * span
    windows = rng.permuted(chunks[:full].reshape(-1, span), axis=1).ravel()
    return np.concatenate([windows, rng.permutation(np.concatenate([chunks[full:], turned[whole:]]))])

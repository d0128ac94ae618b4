"""Random numbers of a batch that several processes share.

Each process draws the noise of the whole batch and keeps its own examples' part, so that a training
sees the same noise whether one process runs it or a hundred, and all generators stay in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

# (first example of this process, how many it has, how many the batch has)
_part: ContextVar[tuple[int, int, int] | None] = ContextVar("part of the batch", default=None)


@contextmanager
def part_of_batch(start: int, count: int, total: int) -> Iterator[None]:
    """Let noise for ``count`` examples be that of rows ``start``… of a batch of ``total``.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> whole = normal(1, 4, 2, batch_dim=1, like=torch.zeros(()))
    >>> _ = torch.manual_seed(0)
    >>> with part_of_batch(2, 2, 4):
    ...     part = normal(1, 2, 2, batch_dim=1, like=torch.zeros(()))
    >>> torch.equal(part, whole[:, 2:])
    True
    """
    token = _part.set((start, count, total))
    try:
        yield
    finally:
        _part.reset(token)


def normal(*shape: int, batch_dim: int, like: Tensor) -> Tensor:
    """Draw from N(0, 1), with the dtype and device of ``like``.

    Parameters
    ----------
    *shape : int
        What is wanted here.
    batch_dim : int
        Which of its dimensions counts the examples of the batch.
    like : Tensor
        For dtype and device.
    """
    return _draw(torch.randn, shape, batch_dim, like)


def uniform(*shape: int, batch_dim: int, like: Tensor) -> Tensor:
    """Draw uniformly from [0, 1), as :func:`normal` does."""
    return _draw(torch.rand, shape, batch_dim, like)


def _draw(draw: Callable[..., Tensor], shape: tuple[int, ...], batch_dim: int, like: Tensor) -> Tensor:
    part = _part.get()
    if part is None or shape[batch_dim] != part[1]:  # the latter is no noise of this batch's examples
        return draw(shape, dtype=like.dtype, device=like.device)
    start, count, total = part
    whole = list(shape)
    whole[batch_dim] = total
    return draw(whole, dtype=like.dtype, device=like.device).narrow(batch_dim, start, count)

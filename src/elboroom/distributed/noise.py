"""Random numbers of a batch that several processes share.

Each process draws the noise of the whole batch and keeps its own examples' part, so that a training
sees the same noise whether one process runs it or a hundred, and all generators stay in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor

# (first example of this process, how many it has, how many the batch has)
_part: ContextVar[tuple[int, int, int] | None] = ContextVar("part of the batch", default=None)
_sum_over_parts: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("sum over parts", default=None)

Distribution = Literal["normal", "uniform"]
Source = Callable[[Distribution, tuple[int, ...], Tensor], Tensor]
"""(distribution, shape, tensor with the wanted dtype and device) → numbers of that shape."""
_source: ContextVar[Source | None] = ContextVar("source of noise", default=None)
_FROM_GENERATOR: dict[Distribution, Callable[..., Tensor]] = {"normal": torch.randn, "uniform": torch.rand}


@contextmanager
def part_of_batch(
    start: int, count: int, total: int, sum_over_parts: Callable[[Tensor], Tensor] | None = None
) -> Iterator[None]:
    """Let noise for ``count`` examples be that of rows ``start``… of a batch of ``total``.

    ``sum_over_parts`` is what :func:`whole_batch` asks the other processes by.

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
    part, summed = _part.set((start, count, total)), _sum_over_parts.set(sum_over_parts)
    try:
        yield
    finally:
        _part.reset(part)
        _sum_over_parts.reset(summed)


@contextmanager
def noise_from(source: Source) -> Iterator[None]:
    """Take all noise of the block from a function instead of torch's generator.

    Examples
    --------
    >>> with noise_from(lambda distribution, shape, like: torch.ones(shape).to(like)):
    ...     normal(2, batch_dim=0, like=torch.zeros(())).tolist()
    [1.0, 1.0]
    """
    before = _source.set(source)
    try:
        yield
    finally:
        _source.reset(before)


def from_generator(distribution: Distribution, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Draw from torch's generator: the source where no other is set."""
    return _FROM_GENERATOR[distribution](shape, dtype=like.dtype, device=like.device)


def whole_batch(rows: Tensor) -> Tensor:
    """Rows (m · examples, ...) of all processes in the batch's order; ``rows`` itself if there is but one.

    All processes must ask, in the same order. For statistics that must be the same in all of them, such as a
    codebook's.
    """
    part, sum_over_parts = _part.get(), _sum_over_parts.get()
    if part is None or sum_over_parts is None:
        return rows
    start, count, total = part
    each = len(rows) // count
    whole = rows.new_zeros(each * total, *rows.shape[1:])
    whole[each * start : each * (start + count)] = rows
    return sum_over_parts(whole)


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
    return _draw("normal", shape, batch_dim, like)


def uniform(*shape: int, batch_dim: int, like: Tensor) -> Tensor:
    """Draw uniformly from [0, 1), as :func:`normal` does."""
    return _draw("uniform", shape, batch_dim, like)


def _draw(distribution: Distribution, shape: tuple[int, ...], batch_dim: int, like: Tensor) -> Tensor:
    draw, part = _source.get() or from_generator, _part.get()
    if part is None or shape[batch_dim] != part[1]:  # the latter is no noise of this batch's examples
        return draw(distribution, shape, like)
    start, count, total = part
    whole = (*shape[:batch_dim], total, *shape[batch_dim + 1 :])
    return draw(distribution, whole, like).narrow(batch_dim, start, count)

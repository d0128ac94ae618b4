"""Random numbers of a batch that is divided among processes.

Each process draws the noise of the whole batch and keeps the part of its own examples. A training therefore
sees the same noise with any number of processes, and all generators stay in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor

# (first example of this process, its number of examples, that of the whole batch)
_part: ContextVar[tuple[int, int, int] | None] = ContextVar("part of the batch", default=None)
_sum_over_parts: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("sum over parts", default=None)
_counts: ContextVar[bool] = ContextVar("examples of this process count", default=True)

Distribution = Literal["normal", "uniform"]
Source = Callable[[Distribution, tuple[int, ...], Tensor], Tensor]
"""(distribution, shape, tensor with the wanted dtype and device) → numbers of that shape."""
_source: ContextVar[Source | None] = ContextVar("source of noise", default=None)


@contextmanager
def part_of_batch(
    start: int,
    count: int,
    total: int,
    sum_over_parts: Callable[[Tensor], Tensor] | None = None,
    *,
    counts: bool = True,
) -> Iterator[None]:
    """Draw noise for ``count`` examples as rows from ``start`` of the noise of a batch of ``total``.

    ``sum_over_parts`` is the sum over processes that :func:`whole_batch` uses. It leaves out what is given if
    ``counts`` is false, because another process has the same examples.

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
    counted = _counts.set(counts)
    try:
        yield
    finally:
        _part.reset(part)
        _sum_over_parts.reset(summed)
        _counts.reset(counted)


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


def source() -> Source:
    """Return where noise is taken from at present."""
    return _source.get() or from_generator


class SharedNoise:
    """Noise that all examples share, for `noise_from`: what is made of it depends on the example alone.

    Independent draws would make an example's result depend on its place among others. Over seeds, an example
    gets the same distribution of results from shared noise.

    Parameters
    ----------
    seed : int
        Of the noise.
    draws : int, optional
        Draws of a model with one stochastic layer after which the noise starts again, for the next batch.
        Without it, one object serves one batch.
    batch_dim : {0, 1}
        The dimension of the shapes asked for that counts examples; with 1, dimension 0 counts draws.

    Examples
    --------
    >>> noise = SharedNoise(0, 2)
    >>> drawn, again = (noise("normal", (2, rows, 4), torch.zeros(())) for rows in (3, 1))
    >>> torch.equal(drawn[:, 0], drawn[:, 2]), torch.equal(drawn[0], drawn[1])
    (True, False)
    >>> torch.equal(drawn[:, :1], again)
    True
    """

    def __init__(self, seed: int, draws: int | None = None, *, batch_dim: int = 1):
        self._seed, self._draws, self._batch_dim = seed, draws, batch_dim
        self._streams: list[torch.Generator] = []  # one for each layer that draws
        self._layer, self._done = 0, 0

    def next_draws(self) -> None:
        """Say that the first layer draws next, for further draws of the same examples."""
        self._layer = 0

    def __call__(self, distribution: Distribution, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers of a shape, the same for each example."""
        count = shape[0] if self._batch_dim else 1
        if self._draws is not None and self._done % self._draws == 0:
            self._streams, self._layer = [], 0
        if self._layer == len(self._streams):
            seed = self._seed + 1_000_003 * self._layer
            self._streams.append(torch.Generator().manual_seed(seed % (1 << 63)))
        stream = self._streams[0 if self._draws is not None else self._layer]
        self._layer, self._done = self._layer + 1, self._done + count
        draw = torch.randn if distribution == "normal" else torch.rand
        rest = shape[self._batch_dim + 1 :]
        # One by one: torch draws other numbers when it is asked for more at a time.
        each = [draw(1, *rest, generator=stream, dtype=torch.float64) for _ in range(count)]
        one = torch.stack(each) if self._batch_dim else each[0]
        return one.to(like).expand(shape)


def from_generator(distribution: Distribution, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Draw from torch's generator: the source where no other is set."""
    draw = torch.randn if distribution == "normal" else torch.rand
    return draw(shape, dtype=like.dtype, device=like.device)


def whole_batch(rows: Tensor) -> Tensor:
    """Return the rows (m · examples, ...) of all processes in the order of the batch.

    With one process these are ``rows`` themselves. All processes must call this in the same order. It serves
    statistics that must be equal in all of them, such as those of a codebook.
    """
    part, sum_over_parts = _part.get(), _sum_over_parts.get()
    if part is None or sum_over_parts is None:
        return rows
    start, count, total = part
    each = len(rows) // count
    whole = rows.new_zeros(each * total, *rows.shape[1:])
    whole[each * start : each * (start + count)] = rows
    return sum_over_parts(whole)


def mean_over_batch(mean: Tensor) -> Tensor:
    """Return the mean over the whole batch of what is a mean over the examples of this process.

    With one process it is the mean itself. All processes must call this in the same order.
    """
    part, sum_over_parts = _part.get(), _sum_over_parts.get()
    if part is None or sum_over_parts is None:
        return mean
    _, count, total = part
    return sum_over_parts(mean * (count / total))


def sum_over_batch(own: Tensor) -> Tensor:
    """Return the sum over the whole batch of what is a sum over the examples of this process.

    With one process it is that sum itself. All processes must call this in the same order, and differentiate
    it or not alike: the gradient is that of the losses of all processes.
    """
    part, sum_over_parts = _part.get(), _sum_over_parts.get()
    if part is None or sum_over_parts is None:
        return own
    summed: Tensor = _SumOverBatch.apply(own, sum_over_parts, _counts.get())  # type: ignore[no-untyped-call]
    return summed


class _SumOverBatch(torch.autograd.Function):
    """The sum over processes; its gradient is one too, since the losses of all depend on it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, sum_over_parts: Callable[[Tensor], Tensor], counts: bool) -> Tensor:
        ctx.sum_over_parts, ctx.counts = sum_over_parts, counts
        return sum_over_parts(own.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        whole = ctx.sum_over_parts(gradients[0].clone())
        return (whole if ctx.counts else torch.zeros_like(whole)), None, None


def normal(*shape: int, batch_dim: int, like: Tensor) -> Tensor:
    """Draw from N(0, 1), with the dtype and device of ``like``.

    Parameters
    ----------
    *shape : int
        Shape of the result in this process.
    batch_dim : int
        The dimension that counts the examples of the batch.
    like : Tensor
        Tensor with the wanted dtype and device.
    """
    return _draw("normal", shape, batch_dim, like)


def uniform(*shape: int, batch_dim: int, like: Tensor) -> Tensor:
    """Draw uniformly from [0, 1), as :func:`normal` does."""
    return _draw("uniform", shape, batch_dim, like)


def _draw(distribution: Distribution, shape: tuple[int, ...], batch_dim: int, like: Tensor) -> Tensor:
    draw, part = source(), _part.get()
    if part is None or shape[batch_dim] != part[1]:  # or not one draw for each example
        return draw(distribution, shape, like)
    start, count, total = part
    whole = (*shape[:batch_dim], total, *shape[batch_dim + 1 :])
    return draw(distribution, whole, like).narrow(batch_dim, start, count)

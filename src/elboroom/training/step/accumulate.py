"""A batch in pieces, whose gradients are added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from elboroom.data.batches import Rows
from elboroom.distributed import noise
from elboroom.distributed.processes import Part
from elboroom.training.step.totals import Sums


def pieces(part: Part, size: int) -> Iterator[tuple[slice, Part]]:
    """Divide a part of a batch into pieces of at most ``size`` examples.

    Yields
    ------
    (slice, Part)
        Which rows of the part they are, and which part of the whole batch.

    Examples
    --------
    >>> for rows, piece in pieces(Part(4, 9, 10, 0.5), 2):
    ...     print(rows.start, rows.stop, piece.start, piece.stop, piece.weight)
    0 2 4 6 0.2
    2 4 6 8 0.2
    4 5 8 9 0.1
    """
    count = part.stop - part.start
    for start in range(0, count, size):
        stop = min(start + size, count)
        weight = part.weight * (stop - start) / count
        yield slice(start, stop), Part(part.start + start, part.start + stop, part.total, weight)


class _Again:
    """Source of noise that gives each piece of a batch what the first one drew: that of the whole batch."""

    def __init__(self, source: noise.Source):
        self._source = source
        self._drawn: list[Tensor] = []
        self._next = 0

    def begin(self) -> None:
        """Start again from the first draw."""
        self._next = 0

    def __call__(self, distribution: noise.Distribution, shape: tuple[int, ...], like: Tensor) -> Tensor:
        self._next += 1
        if self._next <= len(self._drawn) and self._drawn[self._next - 1].shape == shape:
            return self._drawn[self._next - 1]
        found = self._source(distribution, shape, like)
        if self._next > len(self._drawn):
            self._drawn.append(found)
        return found


def add_up(backward: Callable[[Rows, Part], Sums], rows: Rows, part: Part, size: int) -> Sums:
    """Add the gradients of a batch's pieces, with the noise that the batch has as one.

    Parameters
    ----------
    backward : callable
        Adds the gradients of some rows, which are a part of the batch, and returns their sums.
    rows, part
        The batch, or the part of it that this process computes.
    size : int
        Largest number of examples of a piece.

    Returns
    -------
    Sums
        Those of the whole: the mean loss, and the sums of distortion and rate.
    """
    again, found = _Again(noise.source()), []
    with noise.noise_from(again):
        for own, piece in pieces(part, size):
            again.begin()
            sums = backward(rows[own], piece)
            share = (own.stop - own.start) / len(rows)
            found.append(torch.stack([share * sums.loss, sums.distortion, sums.rate]))
    return Sums(*torch.stack(found).sum(0))

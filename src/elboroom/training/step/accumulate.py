"""A batch in pieces, whose gradients are added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from elboroom.data.batches import Rows
from elboroom.distributed.processes import Part
from elboroom.training.checkpoints.state import random_state, set_random_state
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


def add_up(
    backward: Callable[[Rows, Part], Sums], rows: Rows, part: Part, size: int, device: torch.device
) -> Sums:
    """Add the gradients of a batch's pieces, with the noise that the batch has as one.

    Parameters
    ----------
    backward : callable
        Adds the gradients of some rows, which are a part of the batch, and returns their sums.
    rows, part
        The batch, or the part of it that this process computes.
    size : int
        Largest number of examples of a piece.
    device : torch.device
        The device whose generator is drawn from.

    Returns
    -------
    Sums
        Those of the whole: the mean loss, and the sums of distortion and rate.
    """
    before = random_state(device)
    found = []
    for own, piece in pieces(part, size):
        set_random_state(before, device)  # each draws the noise of the whole batch and uses its part
        sums = backward(rows[own], piece)
        share = (own.stop - own.start) / len(rows)
        found.append(torch.stack([share * sums.loss, sums.distortion, sums.rate]))
    return Sums(*torch.stack(found).sum(0))

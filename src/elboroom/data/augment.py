"""Random changes of training images that leave their numbers as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from elboroom.distributed.noise import uniform


def mirrored(x: Tensor) -> Tensor:
    """Mirror images (b, h, w, c) left to right, each with probability one half."""
    chosen = uniform(len(x), 1, 1, 1, batch_dim=0, like=x) < 0.5
    return torch.where(chosen, x.flip(2), x)


def cropped(x: Tensor, margin: int) -> Tensor:
    """Crop images (b, h, w, c) at random after adding a margin at each side by reflection.

    Parameters
    ----------
    x : Tensor
        (b, h, w, c), with sides longer than the margin.
    margin : int
        Pixels. Each image is moved by up to so many in both directions, each move as likely as any other.

    Examples
    --------
    >>> x = torch.arange(5.0).reshape(1, 1, 5, 1).expand(1, 5, 5, 1)
    >>> from elboroom.distributed.noise import noise_from
    >>> with noise_from(lambda _distribution, shape, like: torch.full(shape, 0.99)):  # the largest moves
    ...     cropped(x, 2)[0, 0, :, 0].tolist()
    [2.0, 3.0, 4.0, 3.0, 2.0]
    """
    b, height, width, _ = x.shape
    moves = (uniform(b, 2, batch_dim=0, like=x) * (2 * margin + 1)).long().clamp_(max=2 * margin) - margin
    rows, columns = (
        _reflected(torch.arange(side, device=x.device) + moves[:, i, None], side)
        for i, side in enumerate((height, width))
    )
    every = torch.arange(b, device=x.device)[:, None, None]
    return x[every, rows[:, :, None], columns[:, None, :]]


def _reflected(index: Tensor, side: int) -> Tensor:
    """Indices within 0 to side − 1, of which those beyond the edge count backwards from it."""
    index = index.abs()
    return torch.minimum(index, 2 * (side - 1) - index)

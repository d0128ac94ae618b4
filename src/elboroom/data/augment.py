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
    height, width = x.shape[1:3]
    down, right = _drawn(x, 2 * margin + 1, 2 * margin + 1)
    rows, columns = (
        _reflected(torch.arange(side, device=x.device) + first[:, None] - margin, side)
        for first, side in ((down, height), (right, width))
    )
    return _chosen(x, rows, columns)


def windows(x: Tensor, height: int, width: int) -> Tensor:
    """Cut a window of ``(height, width)`` out of each image (b, h, w, c), each place as likely as any other.

    Parameters
    ----------
    x : Tensor
        (b, h, w, c), of any type, with ``h >= height`` and ``w >= width``.
    height, width : int
        Of the result, ``(b, height, width, c)``.

    Examples
    --------
    >>> x = torch.arange(6).reshape(1, 1, 6, 1)
    >>> from elboroom.distributed.noise import noise_from
    >>> with noise_from(lambda _distribution, shape, like: torch.full(shape, 0.99)):  # the last place
    ...     windows(x, 1, 4)[0, 0, :, 0].tolist()
    [2, 3, 4, 5]
    """
    down, right = _drawn(x, x.shape[1] - height + 1, x.shape[2] - width + 1)
    rows, columns = (
        torch.arange(side, device=x.device) + first[:, None]
        for first, side in ((down, height), (right, width))
    )
    return _chosen(x, rows, columns)


def _drawn(x: Tensor, *counts: int) -> list[Tensor]:
    """For each count n, whole numbers (b,) from 0 to n − 1, each as likely as any other."""
    like = x if x.is_floating_point() else torch.empty(0, device=x.device)
    drawn = uniform(len(x), len(counts), batch_dim=0, like=like)
    return [(drawn[:, i] * n).long().clamp_(max=n - 1) for i, n in enumerate(counts)]


def _chosen(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels of images (b, h, w, c) in the rows (b, h') and columns (b, w') of each: (b, h', w', c)."""
    b, height, width, channels = x.shape
    first = height * torch.arange(b, device=x.device)[:, None] + rows  # in all rows of all images
    places = width * first[:, :, None] + columns[:, None, :]
    found = x.reshape(-1, channels).index_select(0, places.flatten())  # much faster than x[…, rows, columns]
    return found.view(*places.shape, channels)


def _reflected(index: Tensor, side: int) -> Tensor:
    """Indices within 0 to side − 1, of which those beyond the edge count backwards from it."""
    index = index.abs()
    return torch.minimum(index, 2 * (side - 1) - index)

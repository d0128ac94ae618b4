"""The order of the numbers of a code that consists of vectors on a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from elboroom.errors import UsageError


class Layout:
    """How the vectors of a grid lie in rows: place by place, or channel by channel.

    Parameters
    ----------
    grid : sequence of int
        (..., c), with the length of a vector last.
    channels_first : bool
        Rows are (c, ...) instead.

    Raises
    ------
    UsageError
        If there is no grid, or a number is below 1.

    Examples
    --------
    >>> import torch
    >>> Layout((2, 2), channels_first=True).vectors(torch.tensor([[1, 2, 3, 4]]))
    tensor([[1, 3],
            [2, 4]])
    """

    def __init__(self, grid: Sequence[int], channels_first: bool):
        if len(grid) < 2 or min(grid) < 1:
            raise UsageError(
                f"in_shape = {tuple(grid)}: a quantiser takes vectors on a grid, such as (7, 7, 16), or (8, "
                "16) for 8 vectors of 16 numbers"
            )
        *places, self.length = grid
        self.first = channels_first
        self.shape = (self.length, *places) if channels_first else (*places, self.length)

    def vectors(self, rows: Tensor) -> Tensor:
        """Vectors (b·P, c) of rows (b, *shape) or (b, P·c)."""
        if self.first:
            rows = rows.reshape(len(rows), self.length, rows.shape[1:].numel() // self.length).transpose(1, 2)
        return rows.reshape(-1, self.length)

    def rows(self, vectors: Tensor) -> Tensor:
        """Rows (b, P·c) of vectors (b·P, c), or of as many in any other shape (..., c)."""
        vectors = vectors.reshape(-1, math.prod(self.shape) // self.length, self.length)
        return (vectors.transpose(1, 2) if self.first else vectors).flatten(1)

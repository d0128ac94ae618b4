"""Columns made normal by the quantiles of their training data, for heavy tails and several modes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elboroom.config.columns import Column
from elboroom.probability.columns.numbers import GaussianColumns


class QuantileColumns(GaussianColumns):
    """y is a piecewise linear function of x, or of log x, that makes the training data standard normal.

    It passes through the ``knots`` of a column at their ``levels``; the outer pieces go on as straight lines.
    """

    knots: Tensor
    levels: Tensor
    log_slopes: Tensor

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns)
        most = max(2, *(len(c.knots) for c in columns))
        padded = [_padded(column, most) for column in columns]
        knots, levels = (torch.tensor(part) for part in zip(*padded, strict=True))
        slopes = levels.diff() / knots.diff()
        for name, buffer in (("knots", knots), ("levels", levels), ("log_slopes", slopes.log())):
            self.register_buffer(name, buffer, persistent=False)

    def _to_y(self, u: Tensor) -> tuple[Tensor, Tensor]:
        slopes = self.log_slopes.exp()
        y = _through(u, self.knots, self.levels, slopes)
        # The pieces before the first and after the last knot are those next to them.
        piece = (u[..., None] >= self.knots[:, 1:-1]).sum(-1, keepdim=True)
        of_each = self.log_slopes.expand(*u.shape, -1)
        return y, of_each.gather(-1, piece)[..., 0]

    def _from_y(self, y: Tensor) -> Tensor:
        return _through(y, self.levels, self.knots, (-self.log_slopes).exp())


def _through(x: Tensor, starts: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
    """Piecewise linear function of x (..., g) with values (g, K) at starts (g, K), and slopes (g, K − 1).

    A sum of what each piece adds has no branch in its gradient.
    """
    along = x[..., None] - starts[:, :-1]
    inner = torch.minimum(along.clamp(min=0), starts.diff())
    before = (x - starts[:, 0]).clamp(max=0) * slopes[:, 0]
    after = (x - starts[:, -1]).clamp(min=0) * slopes[:, -1]
    return values[:, 0] + (inner * slopes).sum(-1) + before + after


def _padded(column: Column, count: int) -> tuple[list[float], list[float]]:
    """Knots and levels of a column; those that are lacking go on along the last piece."""
    knots, levels = list(column.knots), list(column.levels)
    if not knots:
        knots, levels = [column.location, column.location + column.scale], [0.0, 1.0]
    width, rise = knots[-1] - knots[-2], levels[-1] - levels[-2]
    lacking = range(1, count - len(knots) + 1)
    further = [levels[-1] + i * rise for i in lacking]
    return knots + [knots[-1] + i * width for i in lacking], levels + further

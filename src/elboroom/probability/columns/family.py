"""The likelihood of columns of one family: what all families have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from elboroom.config.columns import Column
from elboroom.probability.columns.points import CENTRED, Placing, Points

_SHARED_RATE = 10.0  # as steps of weights are small


class ColumnFamily(nn.Module):
    """The likelihood of g columns.

    Parameters
    ----------
    columns : sequence of Column
        The columns, in the order of the last axis of what the methods take.
    widths, encoded_widths : sequence of int
        Features of each column in the decoder's output, and numbers that the encoder sees of it.
    of_scale : int
        How many of a column's features tell how far a cell may lie from where it is expected; they come last.

    Attributes
    ----------
    width : int
        Features that the decoder gives for one example.
    shared : Parameter or None
        A tenth of the features that :meth:`share_scale` takes from the decoder. Adam, which moves all
        parameters by similar amounts, then finds a scale in hundreds of steps.
    encoded_width : int
        Numbers that the encoder sees of one example.
    owner : Tensor
        The column (0 to g − 1) that each of these numbers belongs to, (encoded_width,).
    fill : Tensor
        Values in the support (g,), which stand in for missing cells before they are masked.
    """

    location: Tensor
    spread: Tensor
    fill: Tensor
    owner: Tensor
    shared: nn.Parameter | None

    def __init__(
        self,
        columns: Sequence[Column],
        widths: Sequence[int],
        encoded_widths: Sequence[int],
        of_scale: int = 0,
    ):
        super().__init__()
        self.width, self.encoded_width = sum(widths), sum(encoded_widths)
        self._of_scale = of_scale * len(columns)
        self.register_parameter("shared", None)
        location = torch.tensor([column.location for column in columns])
        spread = torch.tensor([column.scale for column in columns])
        # The columns themselves are saved with the configuration.
        for name, buffer in (("location", location), ("spread", spread), ("fill", location.clone())):
            self.register_buffer(name, buffer, persistent=False)
        owner = torch.arange(len(columns)).repeat_interleave(torch.tensor(encoded_widths))
        self.register_buffer("owner", owner, persistent=False)

    def share_scale(self) -> None:
        """Make the features of scale parameters, the same for all rows, instead of outputs of the decoder.

        A decoder that chooses the scale of each cell can make any value probable by a wide one.
        """
        if self._of_scale and self.shared is None:
            self.shared = nn.Parameter(torch.zeros(self._of_scale))
            self.width -= self._of_scale

    def complete(self, features: Tensor) -> Tensor:
        """Features of the decoder (..., width) with the shared ones behind them."""
        if self.shared is None:
            return features
        scale = (_SHARED_RATE * self.shared).expand(*features.shape[:-1], -1)
        return torch.cat([features, scale], -1)

    def encode(self, x: Tensor) -> Tensor:
        """What the encoder sees of x (..., g): (..., encoded_width)."""
        raise NotImplementedError

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-density or log-mass of each cell in its own units, (..., g), in nats."""
        raise NotImplementedError

    def mean(self, features: Tensor) -> Tensor:
        """The value to show for each cell, (..., g): the mean, or the most probable category."""
        raise NotImplementedError

    def sample(self, features: Tensor) -> Tensor:
        """Draw each cell, (..., g)."""
        raise NotImplementedError

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Log-probability that each cell of numbers lies in [low, high], (g,) each: (..., g), in nats."""
        raise NotImplementedError

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draw each cell of numbers within [low, high], (g,) each: (..., g)."""
        raise NotImplementedError

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:
        """Possible values of each cell with their log-probabilities, for all columns, a few at a time.

        Sums over them are expectations of functions of the cell: exact ones for categories and up to some
        dozens of counts. For the logistic function of ``placing`` their logarithm is accurate to about 1e-6
        for normal numbers, and to about 1e-3 for Student's t and large counts.
        """
        raise NotImplementedError

    def seen(self, values: Tensor, members: Tensor) -> Tensor:  # noqa: ARG002
        """What the log-odds of missing cells depend on, of ``values`` of points: what the encoder sees."""
        return values

    def values(self, x: Tensor) -> Tensor:
        """Cells x (..., g) as ``values`` of points; the inverse of :meth:`cells`."""
        return x

    def cells(self, values: Tensor) -> Tensor:
        """Cells in their own units, of ``values`` of points."""
        return values

    def typical(self, y: Tensor) -> Tensor:
        """Numbers in their own units that the encoder sees as about y (n, g): (n, g)."""
        return self.cells(y)

    def best(self, cells: Tensor, weights: Tensor) -> Tensor:
        """The value to show of cells (N, ..., m) with weights that add up to 1: their mean."""
        return (weights * cells).sum(0)

"""One likelihood for tables whose columns are of different kinds, with missing cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from elboroom.config.columns import COUNTS, Column
from elboroom.distributed import noise
from elboroom.errors import UsageError, shortened
from elboroom.probability.columns import COLUMN_FAMILIES, ColumnFamily
from elboroom.probability.columns.numbers import LEAST_SCALE, NumberColumns
from elboroom.probability.missingness import IfMissing, SelfMasking
from elboroom.probability.parameters import Measure

_LEAST_POSITIVE, _MOST = 2.0**-149, 3e38  # of float32; an infinite buffer would look like a fault

ObservationScale = Literal["cell", "shared"]


@dataclass(frozen=True)
class Mixed:
    """p(x|z) of rows of d columns, each with a likelihood of its own.

    Attributes
    ----------
    head : MixedHead
        Knows the columns.
    features : Tensor
        Output of the decoder, (..., *head.in_shape).
    """

    head: MixedHead
    features: Tensor

    @property
    def mean(self) -> Tensor:
        """The value to show for each cell, (..., d): a mean, or the index of the most probable category."""
        return self.head.joined([family.mean(own) for family, own in self.head.apart(self.features)])

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p(x|z) of the observed cells of x (b, d), (..., b), in nats; missing ones add nothing.

        With a mechanism of missing cells it is log p(x, s|z), where s says which are missing.
        """
        return self.log_prob_by_column(x).sum(-1)

    def log_prob_by_column(self, x: Tensor) -> Tensor:
        """What each column of x (b, d) adds to :meth:`log_prob`, (..., b, d), nats."""
        cells = self.log_prob_of_cells(x)
        mechanism = self.head.mechanism
        if mechanism is None:
            return cells
        missing = x.isnan()
        known = torch.where(missing, self.head.fill, x)
        return cells + self.head.joined(mechanism.log_prob(self.head.apart(self.features), known, missing))

    def log_prob_of_cells(self, x: Tensor) -> Tensor:
        """Log-density or log-mass of each cell of x (b, d) in nats, (..., b, d); 0 where it is missing."""
        missing = x.isnan()
        known = torch.where(missing, self.head.fill, x)
        found = [
            family.log_prob(own, known[..., places])
            for (family, own), places in zip(self.head.apart(self.features), self.head.places, strict=True)
        ]
        return torch.where(missing, 0.0, self.head.joined(found))

    def sample(self) -> Tensor:
        """Draw one complete row per code, (..., d)."""
        return self.head.joined([family.sample(own) for family, own in self.head.apart(self.features)])

    @property
    def if_missing(self) -> Mixed | IfMissing:
        """The distribution of each cell if it is missing, which is the same unless there is a mechanism."""
        mechanism = self.head.mechanism
        return self if mechanism is None else IfMissing(self, mechanism)


class MixedHead(nn.Module):
    """Features → :class:`Mixed`, and rows → what the encoder sees.

    Parameters
    ----------
    shape : tuple of int
        (d,).
    columns : sequence of Column
        The d columns.
    drop_cells : float
        In training mode, the share of cells that :meth:`standardize` hides at random. They are scored all the
        same: q(z|x) then sees less of a row than p(x|z) is asked for, and the bound on the log-density of all
        its observed cells holds for every choice of hidden ones.
    observation_scale : {"cell", "shared"}
        Whether the decoder gives the scale of each cell of numbers, and the like, or one is learned for each
        column; see ``share_scale``.
    least_scale : float
        Lower bound of the scale of standardised real numbers, above 0 and below 0.5.
    missing_mechanism : {"ignorable", "self_masking"}
        Whether cells are missing whatever their values are, or with a probability that depends on the value
        of the cell itself and is learned: :class:`~elboroom.probability.missingness.SelfMasking`.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of what the encoder sees of one row: standardised numbers, one-hot categories, and for each
        column whether its cell is missing.
    accepts_missing : bool
        True: cells may be NaN.

    Raises
    ------
    UsageError
        If there is not one column for each number of a row.

    Examples
    --------
    >>> job = Column(name="job", kind="category", categories=("cook", "nurse", "smith"))
    >>> head = MixedHead((2,), columns=[Column(name="age", kind="real"), job])
    >>> head.in_shape, head.input_shape
    ((5,), (6,))
    >>> p = head(torch.zeros(1, 5))
    >>> p.log_prob(torch.tensor([[float("nan"), 2.0]]))  # log(1/3)
    tensor([-1.0986])
    """

    support: tuple[float, float] | None = None
    spacing: float | None = None
    measure: Measure | None = None
    accepts_missing = True
    fitted = True  # the columns hold their means and scales

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        columns: Sequence[Column],
        drop_cells: float = 0.0,
        observation_scale: ObservationScale = "cell",
        least_scale: float = LEAST_SCALE,
        missing_mechanism: str = "ignorable",
    ):
        super().__init__()
        self.drop_cells, self.observation_scale, self.least_scale = drop_cells, observation_scale, least_scale
        if shape != (len(columns),):
            raise UsageError(
                f"{len(columns)} columns for examples of shape {shape}; give one for each number"
            )
        self.columns = tuple(columns)
        names = list(dict.fromkeys(str(column.family) for column in columns))
        self.places = [[i for i, c in enumerate(columns) if c.family == name] for name in names]
        self.families = nn.ModuleList(
            COLUMN_FAMILIES[name]([columns[i] for i in places])
            for name, places in zip(names, self.places, strict=True)
        )
        for family in self._typed():
            if observation_scale == "shared":
                family.share_scale()
            if isinstance(family, NumberColumns):
                family.least_scale = least_scale
        self_masking = missing_mechanism == "self_masking"
        self.mechanism = SelfMasking(columns, self.places) if self_masking else None
        self._widths = [family.width for family in self._typed()]
        self.in_shape: tuple[int, ...] = (sum(self._widths),)
        seen = sum(family.encoded_width for family in self._typed())
        self.input_shape: tuple[int, ...] = (seen + len(columns),)
        flat = torch.tensor([i for places in self.places for i in places])
        self._order: Tensor
        self.register_buffer("_order", flat.argsort(), persistent=False)
        self.fill: Tensor
        self.register_buffer("fill", self.joined([family.fill for family in self._typed()]), persistent=False)
        least, most, whole = zip(*map(_range_of, columns), strict=True)
        self._least: Tensor
        self._most: Tensor
        self._whole: Tensor
        self._named: Tensor
        self.register_buffer("_least", torch.tensor(least), persistent=False)
        self.register_buffer("_most", torch.tensor(most), persistent=False)
        self.register_buffer("_whole", torch.tensor(whole), persistent=False)
        named = torch.tensor([bool(column.categories) for column in columns])
        self.register_buffer("_named", named, persistent=False)

    def forward(self, features: Tensor) -> Mixed:
        """p(x|z) of codes of any leading shape."""
        return Mixed(self, features)

    def standardize(self, x: Tensor) -> Tensor:
        """What the encoder sees of rows x (..., d), (..., *input_shape)."""
        missing = x.isnan()
        if self.training and self.drop_cells:
            missing = missing | (noise.uniform(*x.shape, batch_dim=0, like=x) < self.drop_cells)
        known = torch.where(missing, self.fill, x)
        seen = []
        for family, places in zip(self._typed(), self.places, strict=True):
            absent = missing[..., places].index_select(-1, family.owner)
            seen.append(torch.where(absent, 0.0, family.encode(known[..., places])))
        return torch.cat([*seen, missing.to(x.dtype)], -1)

    def check_values(self, x: Tensor, *, scored: bool = False) -> None:
        """Refuse cells that a column cannot hold: infinite ones, unknown categories, no counts, not positive.

        Counts may be fractional, as their means are, unless they are to be ``scored``.

        Raises
        ------
                UsageError
                    That names the first such column.
        """
        rows = x.detach().reshape(-1, len(self.columns))
        known = ~rows.isnan()
        integer = (self._whole if scored else self._named) & (rows != rows.round())
        wrong = known & (rows.isinf() | integer | (rows < self._least) | (rows > self._most))
        if bool(wrong.any()):
            at = int(wrong.any(0).nonzero()[0])
            raise UsageError(_refusal(self.columns[at], float(rows[wrong[:, at], at][0])))

    def log_slopes(self, x: Tensor) -> Tensor:
        """Log dy/dx of the cells x (..., d) of real numbers, where y is the standardised number.

        Log p(x) is log p(y) plus this. It is 0 for missing cells, and for columns of counts and categories.
        """
        missing = x.isnan()
        known = torch.where(missing, self.fill, x)
        found = [
            family.standardized(known[..., places])[1].expand(known[..., places].shape)
            if isinstance(family, NumberColumns)
            else torch.zeros_like(known[..., places])
            for family, places in zip(self._typed(), self.places, strict=True)
        ]
        return torch.where(missing, 0.0, self.joined(found))

    def apart(self, features: Tensor) -> list[tuple[ColumnFamily, Tensor]]:
        """Each family with its features."""
        parts: Sequence[Tensor] = features.split(self._widths, -1)  # type: ignore[no-untyped-call]
        return [(each, each.complete(own)) for each, own in zip(self._typed(), parts, strict=True)]

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Cells (..., g) of each family, in the order of the columns, (..., d)."""
        return torch.cat(list(parts), -1).index_select(-1, self._order)

    def _typed(self) -> list[ColumnFamily]:
        return [family for family in self.families if isinstance(family, ColumnFamily)]

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        dropped = f", drop_cells={self.drop_cells:g}" if self.drop_cells else ""
        scales = ", shared scales" if self.observation_scale == "shared" else ""
        return f"columns={len(self.columns)}{dropped}{scales}"


def _range_of(column: Column) -> tuple[float, float, bool]:
    """Least and largest value of a cell, and whether it must be whole."""
    if column.categories:
        return 0.0, len(column.categories) - 1.0, True
    if column.family in COUNTS:
        return 0.0, _MOST, True
    return (_LEAST_POSITIVE if column.logged else -_MOST), _MOST, False


def _refusal(column: Column, value: float) -> str:
    name = f"column {shortened(column.name)}"
    if math.isinf(value):
        return f"{name}: a value is infinite; remove or replace it"
    if column.categories:
        last = len(column.categories) - 1
        return f"{name}: {value:g} is not the number of a category; they are 0 to {last}"
    wanted = "a count (0, 1, 2, …)" if column.family in COUNTS else "above 0"
    return f"{name}: {value:g} is not {wanted}, as {column.family} requires; make the column of kind real"

"""Which cells of a table are missing, if that depends on their values: a mechanism that is not at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.config.columns import Column
from elboroom.probability.columns import ColumnFamily
from elboroom.probability.columns.points import Placing, Points, Tilt

Part = tuple[ColumnFamily, Tensor]
"""A family of columns with its features (..., width)."""
GAIN = 10.0
"""Log-odds for each unit of a parameter."""
_LEAST_SHARE = 1e-3  # of missing cells in training, from which log-odds start


class FamilyMechanism(nn.Module):
    """Log-odds that a cell is missing, for the g columns of one family.

    Of a number they are intercept + slope · y, where y is the number as the encoder sees it: standardised,
    and for positive numbers and counts the logarithm. Each category has log-odds of its own. In the beginning
    they are those of the share of missing cells, whatever the value.

    Parameters
    ----------
    columns : sequence of Column
        The columns.

    Attributes
    ----------
    present : Tensor
        Which of the columns have a mechanism, (g,): those with missing cells in training.
    any_present : bool
        Whether any has; without, there are no parameters.
    """

    present: Tensor

    def __init__(self, columns: Sequence[Column]):
        super().__init__()
        shares = [0.5 if c.missing is None else c.missing for c in columns]
        start = torch.tensor([math.log(s / (1 - s)) for s in map(_inner, shares)])
        self.any_present = any(c.missing != 0 for c in columns)
        present = torch.tensor([c.missing != 0 for c in columns])
        self.register_buffer("present", present, persistent=False)
        most = max(len(c.categories) for c in columns)
        self._named = most > 0
        if not self.any_present:
            return  # parameters would have no gradient
        # Adam moves all parameters by similar amounts: from shares of them log-odds are found in fewer steps.
        if self._named:
            self.raw_table = nn.Parameter(start[:, None].repeat(1, most) / GAIN)
        else:
            self.raw_intercept = nn.Parameter(start / GAIN)
            self.raw_slope = nn.Parameter(torch.zeros_like(start))

    @property
    def table(self) -> Tensor:
        """Log-odds of each category, (g, most categories)."""
        return GAIN * self.raw_table

    @property
    def intercept(self) -> Tensor:
        """Log-odds of numbers at y = 0, (g,)."""
        return GAIN * self.raw_intercept

    @property
    def slope(self) -> Tensor:
        """Change of the log-odds of numbers with y, (g,)."""
        return GAIN * self.raw_slope

    @property
    def tilt(self) -> Tilt | None:
        """Intercepts and slopes, for numbers."""
        return None if self._named else Tilt(self.intercept.detach(), self.slope.detach())

    def log_odds(self, seen: Tensor, members: Tensor) -> Tensor:
        """Log-odds that cells of the columns ``members`` (m,) are missing, of their ``seen`` (..., m)."""
        if self._named:
            return self.table[members, seen.long()]
        return self.intercept[members] + self.slope[members] * seen

    def log_missing(self, family: ColumnFamily, points: Points) -> Tensor:
        """Log-probability of each of the points and that the cell is missing, (N, ..., m), nats."""
        odds = self.log_odds(family.seen(points.values, points.members), points.members)
        return points.log_mass + F.logsigmoid(odds)

    def log_mean(self, family: ColumnFamily, features: Tensor) -> Tensor:
        """Log of the mean over p(x_j|z) of the probability that cell j is missing, (..., g), nats."""
        found = [
            (points.members, self.log_missing(family, points).logsumexp(0))
            for points in family.points(features, Placing(self.tilt))
        ]
        return in_order(found)

    def log_mean_of(self, family: ColumnFamily, features: Tensor, missing: Tensor) -> Tensor:
        """As :meth:`log_mean` for features (..., b, width), but only where ``missing`` (b, g) is True."""
        tilt = self.tilt
        if tilt is None or features.shape[-2] != len(missing) or not _is_readable(features):
            return self.log_mean(family, features)
        rows, columns = (missing & self.present).nonzero(as_tuple=True)
        tilt = Tilt(tilt.intercept[columns], tilt.slope[columns])
        (points,) = family.points(features, Placing(tilt, cells=(rows, columns)))
        found = self.log_missing(family, points).logsumexp(0)
        lead = found.shape[:-1]
        none = found.new_zeros(*lead, missing.numel())
        return none.index_copy(-1, rows * missing.shape[1] + columns, found).reshape(*lead, *missing.shape)

    def log_odds_of(self, family: ColumnFamily, x: Tensor) -> Tensor:
        """Log-odds that cells x (..., g) are missing."""
        members = torch.arange(x.shape[-1], device=x.device)
        return self.log_odds(family.seen(family.values(x), members), members)


class SelfMasking(nn.Module):
    """P(s|x) of the pattern s of missing cells of a row: each depends on the value of its own cell.

    The factors of p(s|x) and of p(x|z) belong to one column each. What the missing cells contribute to the
    likelihood, the mean of p(s_j|x_j) over p(x_j|z), is therefore a sum or an integral over one number, which
    is computed without sampling; arXiv:2006.12871, which this is otherwise, draws x_j.

    Parameters
    ----------
    columns : sequence of Column
        Of a table; a mechanism is made for those that had missing cells in training.
    places : sequence of sequence of int
        The columns of each family.
    """

    def __init__(self, columns: Sequence[Column], places: Sequence[Sequence[int]]):
        super().__init__()
        self.places = [list(own) for own in places]
        self.of_families = nn.ModuleList(FamilyMechanism([columns[i] for i in own]) for own in self.places)

    def log_prob(self, parts: Sequence[Part], x: Tensor, missing: Tensor) -> list[Tensor]:
        """Log p(s_j|z, x_j) of each cell of x (b, d) that is observed, and log p(s_j|z) where it is missing.

        Parameters
        ----------
        parts : sequence
            Families with features (..., b, width).
        x : Tensor
            Rows, with values in the support in place of missing cells.
        missing : Tensor
            Which are missing, (b, d).

        Returns
        -------
        list of Tensor
            (..., b, g) of each family, nats; 0 for columns without a mechanism.
        """
        found = []
        for mechanism, (family, features), own in zip(self.typed(), parts, self.places, strict=True):
            if not mechanism.any_present:
                found.append(features.new_zeros(()).expand(*features.shape[:-1], len(own)))
                continue
            observed = F.logsigmoid(-mechanism.log_odds_of(family, x[..., own]))
            holes = missing[..., own]
            each = torch.where(holes, mechanism.log_mean_of(family, features, holes), observed)
            found.append(torch.where(mechanism.present, each, 0.0))
        return found

    def typed(self) -> list[FamilyMechanism]:
        """The mechanism of each family."""
        return [each for each in self.of_families if isinstance(each, FamilyMechanism)]


@dataclass(frozen=True)
class IfMissing:
    """p(x_j|z, cell j is missing) of each column; of those without a mechanism this is p(x_j|z).

    Attributes
    ----------
    p : Mixed
        p(x|z) of codes of any leading shape.
    mechanism : SelfMasking
        Of its columns.
    """

    p: Any
    mechanism: SelfMasking

    @property
    def mean(self) -> Tensor:
        """Mean of each number, or the most probable category, (..., d)."""
        return self._joined(lambda family, cells, weights: family.best(cells, weights), "mean")

    def sample(self) -> Tensor:
        """Draw each cell, (..., d)."""

        def drawn(_: ColumnFamily, cells: Tensor, weights: Tensor) -> Tensor:
            level = torch.rand_like(weights[0]) * weights.sum(0)
            chosen = (weights.cumsum(0) <= level).sum(0).clamp(max=len(weights) - 1)
            return cells.expand_as(weights).gather(0, chosen[None])[0]

        return self._joined(drawn, "sample", shifted=True)

    def log_prob_of_cells(self, x: Tensor) -> Tensor:
        """Log-density or log-mass of values x (b, d), (..., b, d), nats; 0 where they are missing."""
        known = torch.where(x.isnan(), self.p.head.fill, x)
        found = []
        of_families = zip(
            self.mechanism.typed(), self._parts, self.mechanism.places, self._log_means, strict=True
        )
        for mechanism, (family, features), own, log_mean in of_families:
            if log_mean is None:
                found.append(features.new_zeros(*features.shape[:-1], len(own)))
                continue
            each = F.logsigmoid(mechanism.log_odds_of(family, known[..., own])) - log_mean
            found.append(torch.where(mechanism.present, each, 0.0))
        return self.p.log_prob_of_cells(x) + torch.where(x.isnan(), 0.0, self.p.head.joined(found))

    @cached_property
    def _log_means(self) -> list[Tensor | None]:
        """Log of the probability that each cell is missing, of each family that has a mechanism."""
        return [
            each.log_mean(*part) if each.any_present else None
            for each, part in zip(self.mechanism.typed(), self._parts, strict=True)
        ]

    @property
    def _parts(self) -> list[Part]:
        found: list[Part] = self.p.head.apart(self.p.features)
        return found

    def _joined(self, of: Any, otherwise: str, *, shifted: bool = False) -> Tensor:
        found = []
        for mechanism, (family, features) in zip(self.mechanism.typed(), self._parts, strict=True):
            plain: Tensor = getattr(family, otherwise)(features)
            if not mechanism.any_present:
                found.append(plain)
                continue
            offset = torch.rand_like(plain) - 0.5 if shifted else 0.0
            each = []
            for points in family.points(features, Placing(mechanism.tilt, offset)):
                weights = mechanism.log_missing(family, points).softmax(0)
                each.append((points.members, of(family, family.cells(points.values), weights)))
            found.append(torch.where(mechanism.present, in_order(each), plain))
        joined: Tensor = self.p.head.joined(found)
        return joined


def _is_readable(x: Tensor) -> bool:
    """Whether where cells are missing may be looked up: not on a GPU, nor while operations are recorded."""
    traced = torch._C._len_torch_dispatch_stack() or torch._C._functorch.peek_interpreter_stack() is not None
    return x.device.type == "cpu" and not traced and not torch.compiler.is_compiling()


def in_order(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Columns (..., m) of parts with their places, in the order of the places, (..., g)."""
    if len(parts) == 1:
        return parts[0][1]
    order = torch.cat([members for members, _ in parts]).argsort()
    return torch.cat([each for _, each in parts], -1).index_select(-1, order)


def _inner(share: float) -> float:
    return min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE)

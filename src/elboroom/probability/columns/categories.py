"""Columns of categories: categorical, ordinal and Bernoulli."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.config.columns import Column
from elboroom.probability.columns.family import ColumnFamily
from elboroom.probability.columns.points import CENTRED, Placing, Points, along_first
from elboroom.probability.parameters import softplus_from

_LEAST_GAP = 1e-3  # between two thresholds of ordered levels
_START_SLOPE, _LEAST_SLOPE = 1.0, 1e-2


class NamedColumns(ColumnFamily):
    """Columns whose cells are indices of categories; ``last`` is the last one of each, (g,)."""

    last: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        widths: Sequence[int],
        encoded_widths: Sequence[int],
        of_scale: int = 0,
    ):
        super().__init__(columns, widths, encoded_widths, of_scale)
        self.fill.zero_()
        self._most = max(len(column.categories) for column in columns)
        last = torch.tensor([len(column.categories) - 1 for column in columns])
        self.register_buffer("last", last.to(self.location), persistent=False)

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:  # noqa: ARG002
        """All categories."""
        index = torch.arange(self._most, device=self.last.device).to(self.last)
        index = along_first(index, features)
        log_mass = self.log_prob(features, index.minimum(self.last))
        members = torch.arange(len(self.last), device=self.last.device)
        yield Points(members, index, torch.where(index > self.last, -torch.inf, log_mass))

    def best(self, cells: Tensor, weights: Tensor) -> Tensor:
        """The most probable category."""
        return cells.expand_as(weights).gather(0, weights.argmax(0, keepdim=True))[0]


class CategoricalColumns(NamedColumns):
    """Categories: the decoder gives their logits, side by side; the encoder sees them one-hot.

    Columns of similar size are computed together, each padded to at most twice its size.
    """

    def __init__(self, columns: Sequence[Column]):
        sizes = [len(column.categories) for column in columns]
        super().__init__(columns, sizes, sizes)
        first = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)
        groups: dict[int, list[int]] = {}
        for i, size in enumerate(sizes):
            groups.setdefault((size - 1).bit_length(), []).append(i)
        self._groups = len(groups)
        for k, members in enumerate(groups.values()):
            of_each = torch.tensor([sizes[i] for i in members])[:, None]
            within = torch.arange(int(of_each.max()))
            # What is beyond a column's categories is read from the end, where -inf is appended.
            places = torch.where(within < of_each, first[members][:, None] + within, sum(sizes))
            self.register_buffer(f"_places_{k}", places, persistent=False)
            self.register_buffer(f"_members_{k}", torch.tensor(members), persistent=False)
        order = torch.tensor([i for members in groups.values() for i in members]).argsort()
        self._order: Tensor
        self.register_buffer("_order", order, persistent=False)
        self._rank: Tensor  # of each logit within its column
        self.register_buffer("_rank", torch.arange(sum(sizes)) - first[self.owner], persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """One-hot."""
        return (x.index_select(-1, self.owner) == self._rank).to(x.dtype)

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each category."""
        found = []
        for logits, members in self._each(features):
            log_mass = logits.log_softmax(-1)
            chosen = x.index_select(-1, members).long()[..., None]
            lead = (log_mass[..., 0] + chosen[..., 0]).shape
            found.append(log_mass.expand(*lead, -1).gather(-1, chosen.expand(*lead, 1))[..., 0])
        return self._joined(found)

    def mean(self, features: Tensor) -> Tensor:
        """Index of the most probable category."""
        most = [logits.argmax(-1) for logits, _ in self._each(features)]
        return self._joined(most).to(features.dtype)

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:  # noqa: ARG002
        """All categories, of columns of similar size at a time."""
        for logits, members in self._each(features):
            log_mass = logits.log_softmax(-1).movedim(-1, 0)
            index = torch.arange(len(log_mass), device=features.device).to(features)
            yield Points(members, along_first(index, features), log_mass)

    def sample(self, features: Tensor) -> Tensor:
        """Index of a category, by Gumbel noise."""
        drawn = [
            (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)
            for logits, _ in self._each(features)
        ]
        return self._joined(drawn).to(features.dtype)

    def _each(self, features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (..., m, size) of each group of columns, with the m columns."""
        padded = F.pad(features, (0, 1), value=-torch.inf)
        for k in range(self._groups):
            places, members = getattr(self, f"_places_{k}"), getattr(self, f"_members_{k}")
            chosen = padded.index_select(-1, places.flatten())
            yield chosen.reshape(*features.shape[:-1], *places.shape), members

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -1).index_select(-1, self._order)


class OrdinalColumns(NamedColumns):
    """Ordered levels, P(x ≤ k) = σ(a(τ_k − η)): the decoder gives η and the slope a of each cell.

    The thresholds τ of a column are parameters and increase; the encoder sees levels from −1 to 1.
    """

    _start_gaps: Tensor

    def __init__(self, columns: Sequence[Column]):
        count = len(columns)
        super().__init__(columns, [2] * count, [1] * count, of_scale=1)
        sizes = torch.tensor([len(column.categories) for column in columns])
        most = int(sizes.max())
        # Thresholds start where levels are equally probable at η = 0; those of no level are ignored.
        share = torch.arange(1, most) / sizes[:, None].to(self.location)
        start = share.clamp(max=1 - 1e-4).logit()
        self.first = nn.Parameter(start[:, 0].clone())
        self.register_buffer("_start_gaps", start.diff().clamp(min=_LEAST_GAP), persistent=False)
        self.raw_gaps = nn.Parameter(torch.zeros_like(self._start_gaps))

    @property
    def thresholds(self) -> Tensor:
        """τ of each column, increasing, (g, most levels − 1); those beyond its levels are not used."""
        gaps = self._start_gaps * softplus_from(self.raw_gaps, 1.0, _LEAST_GAP)
        first = self.first[:, None]
        return torch.cat([first, first + gaps.cumsum(-1)], -1)

    def encode(self, x: Tensor) -> Tensor:
        """Level 0 is −1, the last one 1."""
        return 2 * x / self.last - 1

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each level, with σ(b) − σ(a) = σ(b) σ(−a) (1 − e^(a − b))."""
        center, slope = self._center_and_slope(features)
        lowest, highest = x == 0, x == self.last
        thresholds = self.thresholds.expand(*x.shape, -1)
        upper = thresholds.gather(-1, torch.where(highest, x - 1, x).long()[..., None])[..., 0]
        lower = thresholds.gather(-1, torch.where(lowest, x, x - 1).long()[..., None])[..., 0]
        inner = ~(lowest | highest)
        gap = torch.where(inner, slope * (upper - lower), 1.0)
        below = torch.where(highest, 0.0, F.logsigmoid(slope * (upper - center)))
        above = torch.where(lowest, 0.0, F.logsigmoid(slope * (center - lower)))
        return below + above + torch.where(inner, torch.log(-torch.expm1(-gap)), 0.0)

    def mean(self, features: Tensor) -> Tensor:
        """The most probable level."""
        cumulative = F.pad(self._cumulative(features), (1, 1))
        cumulative[..., -1] = 1.0
        return cumulative.diff().argmax(-1).to(features.dtype)

    def sample(self, features: Tensor) -> Tensor:
        """Draw a level."""
        cumulative = self._cumulative(features)
        uniform = torch.rand_like(cumulative[..., :1])
        return (uniform >= cumulative).sum(-1).to(features.dtype)

    def _cumulative(self, features: Tensor) -> Tensor:
        """P(x ≤ k) for k = 0, 1, … up to the last but one level of any column, (..., g, most − 1)."""
        center, slope = self._center_and_slope(features)
        below = torch.sigmoid(slope[..., None] * (self.thresholds - center[..., None]))
        levels = torch.arange(below.shape[-1], device=below.device)
        return torch.where(levels < self.last[:, None], below, 1.0)

    def _center_and_slope(self, features: Tensor) -> tuple[Tensor, Tensor]:
        center, raw = features.chunk(2, -1)
        return center, softplus_from(raw, _START_SLOPE, _LEAST_SLOPE)


class BernoulliColumns(NamedColumns):
    """Booleans: the decoder gives the logit of the second category."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, [1] * len(columns), [1] * len(columns))

    def encode(self, x: Tensor) -> Tensor:
        """−1 or 1."""
        return 2 * x - 1

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each value."""
        return F.logsigmoid((2 * x - 1) * features)

    def mean(self, features: Tensor) -> Tensor:
        """The more probable value."""
        return (features > 0).to(features.dtype)

    def sample(self, features: Tensor) -> Tensor:
        """Draw 0 or 1."""
        return torch.bernoulli(torch.sigmoid(features))

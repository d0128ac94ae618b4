"""Columns of counts: Poisson, negative binomial and zero-inflated negative binomial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elboroom.config.columns import Column
from elboroom.probability.columns.between import Counted, counts_between, log_mass_of_counts
from elboroom.probability.columns.family import ColumnFamily
from elboroom.probability.columns.points import CENTRED, Placing, Points, count_bins
from elboroom.probability.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from elboroom.probability.parameters import tame_log

_LEAST_START = 1e-3  # mean count from which a column of zeros starts


class CountColumns(ColumnFamily):
    """Columns of counts; the encoder sees log(1 + x), standardised.

    ``location`` and ``scale`` of a column are those of log(1 + x). The decoder's first outputs times
    ``scale``, from the logarithm of a typical count on, are logarithms of means.
    """

    start: Tensor

    def __init__(self, columns: Sequence[Column], features: int):
        count = len(columns)
        super().__init__(columns, [features] * count, [1] * count, of_scale=features - 1)
        self.fill.zero_()
        typical = self.location.double().expm1().clamp(min=_LEAST_START).log()
        self.register_buffer("start", typical.to(self.location), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """log(1 + x), standardised."""
        return (x.log1p() - self.location) / self.spread

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each count."""
        return self._counted(features).log_prob(x)

    def mean(self, features: Tensor) -> Tensor:
        """Expected count."""
        return self._counted(features).mean

    def sample(self, features: Tensor) -> Tensor:
        """Draw counts."""
        return self._counted(features).sample()

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """By scipy."""
        return log_mass_of_counts(self._counted(features), low, high)

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """By scipy."""
        return counts_between(self._counted(features), low, high).to(features.dtype)

    def points(self, features: Tensor, placing: Placing = CENTRED) -> Iterator[Points]:
        """Single counts, and from some dozens on one count for each range of counts; see `count_bins`."""
        p = self._counted(features)
        parts = {name: each for name, each in vars(p).items() if isinstance(each, Tensor)}
        of_cells: dict[str, Any] = dict(zip(parts, placing.of(*parts.values()), strict=True))
        p = replace(p, **of_cells)
        log_theta = torch.full_like(p.log_mean, torch.inf) if isinstance(p, Poisson) else p.log_theta
        counts, sizes = count_bins(p.log_mean.exp(), log_theta.exp(), placing.offset)
        log_mass = p.log_prob(counts).double() + sizes.log()
        yield Points(
            placing.members(self.location), counts.to(features), log_mass.log_softmax(0).to(features)
        )

    def seen(self, values: Tensor, members: Tensor) -> Tensor:
        """log(1 + x), standardised."""
        return (values.log1p() - self.location[members]) / self.spread[members]

    def typical(self, y: Tensor) -> Tensor:
        """Counts."""
        return (self.location + self.spread * y).expm1().round().clamp(min=0)

    def _log_mean(self, raw: Tensor) -> Tensor:
        return tame_log(self.start + self.spread * raw)

    def _counted(self, features: Tensor) -> Counted:
        raise NotImplementedError


class PoissonColumns(CountColumns):
    """Poisson counts."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, 1)

    def _counted(self, features: Tensor) -> Poisson:
        return Poisson(self._log_mean(features), 0)


class NegativeBinomialColumns(CountColumns):
    """Negative binomial counts: the decoder gives the mean and log θ, the inverse dispersion."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, 2)

    def _counted(self, features: Tensor) -> NegativeBinomial:
        raw, raw_theta = features.chunk(2, -1)
        return NegativeBinomial(self._log_mean(raw), tame_log(raw_theta), 0)


class ZeroInflatedColumns(CountColumns):
    """Zero-inflated negative binomial counts: the decoder gives the logit of an extra zero as well."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, 3)

    def _counted(self, features: Tensor) -> ZeroInflatedNegativeBinomial:
        raw, raw_theta, logits = features.chunk(3, -1)
        return ZeroInflatedNegativeBinomial(self._log_mean(raw), tame_log(raw_theta), logits, 0)

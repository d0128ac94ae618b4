"""Likelihoods of the columns of a table: a family models several columns of its kind at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from elboroom.config.columns import Column
from elboroom.probability.columns.categories import BernoulliColumns, CategoricalColumns, OrdinalColumns
from elboroom.probability.columns.counts import NegativeBinomialColumns, PoissonColumns, ZeroInflatedColumns
from elboroom.probability.columns.family import ColumnFamily
from elboroom.probability.columns.numbers import GaussianColumns, MixtureColumns, StudentTColumns
from elboroom.probability.columns.quantile import QuantileColumns

__all__ = ["COLUMN_FAMILIES", "ColumnFamily"]

COLUMN_FAMILIES: dict[str, Callable[[Sequence[Column]], ColumnFamily]] = {
    "gaussian": GaussianColumns,
    "student_t": StudentTColumns,
    "log_normal": GaussianColumns,  # of the logarithm, as Column.logged says
    "mixture": MixtureColumns,
    "quantile": QuantileColumns,
    "poisson": PoissonColumns,
    "negative_binomial": NegativeBinomialColumns,
    "zero_inflated_negative_binomial": ZeroInflatedColumns,
    "categorical": CategoricalColumns,
    "ordinal": OrdinalColumns,
    "bernoulli": BernoulliColumns,
}
"""Name of a family, as in :class:`elboroom.config.columns.Column` → its class."""

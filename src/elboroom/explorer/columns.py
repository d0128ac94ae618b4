"""Rows of a table in the page: what it decodes for each column, and how each is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.data.dataset import Dataset
from elboroom.explorer.blob import Array
from elboroom.explorer.layers import CannotRunError, Op, Translator, to_numpy
from elboroom.probability.columns import ColumnFamily
from elboroom.probability.columns.categories import BernoulliColumns, CategoricalColumns, OrdinalColumns
from elboroom.probability.columns.counts import CountColumns, ZeroInflatedColumns
from elboroom.probability.columns.numbers import MixtureColumns, NumberColumns
from elboroom.probability.columns.quantile import QuantileColumns
from elboroom.probability.mixed import Mixed, MixedHead

_MOST = 200  # columns that are shown as bars
_TAILS = (1, 99)  # percentiles of the data between which a number is shown


def decoded_cells(likelihood: Any) -> Array:
    """What the page decodes: means (n, ...), and of categories in a table the probability of each, (n, w)."""
    if not isinstance(likelihood, Mixed):
        return to_numpy(likelihood.mean)
    columns, mean = likelihood.head.columns, likelihood.mean
    most = max(len(column.categories) for column in columns)
    named = torch.tensor([bool(column.categories) for column in columns], device=mean.device)
    last = torch.tensor([max(1, len(column.categories)) - 1 for column in columns], device=mean.device)
    # Of each number of a category the log-probability of that category; other columns are not looked at.
    of_each = [
        likelihood.log_prob_by_column(
            torch.where(named, last.clamp(max=k).to(mean), likelihood.head.fill).expand_as(mean)
        ).exp()
        for k in range(most)
    ]
    parts = [
        torch.stack([of_each[k][:, i] for k in range(len(column.categories))], 1)
        if column.categories
        else mean[:, i : i + 1]
        for i, column in enumerate(columns)
    ]
    return to_numpy(torch.cat(parts, 1))


def columns_op(to: Translator, head: MixedHead) -> list[Op]:
    """The operation from a decoder's features of one row to what :func:`decoded_cells` gives.

    Raises
    ------
    CannotRunError
        If the page does not know the likelihood of a column.
    """
    families = []
    for family, places in zip(head.families, head.places, strict=True):
        assert isinstance(family, ColumnFamily)
        nothing = torch.zeros(family.width, device=family.location.device)
        tail = family.complete(nothing)[family.width :]
        entry = {"places": list(places), "width": family.width, **_family(to, family)}
        families.append({**entry, "tail": to.vector(tail) if len(tail) else None})
    sizes = [max(1, len(column.categories)) for column in head.columns]
    return [{"op": "columns", "families": families, "sizes": sizes}]


def _family(to: Translator, family: ColumnFamily) -> Op:
    if isinstance(family, NumberColumns):
        parts = {"location": family.location, "spread": family.spread, "logged": family.logged.float()}
        kind = "number"
        if isinstance(family, QuantileColumns):
            kind, parts = "quantile", {**parts, "knots": family.knots, "levels": family.levels}
        elif isinstance(family, MixtureColumns):
            kind, parts = "mixture", {**parts, "start": family.start}
    elif isinstance(family, CountColumns):
        kind = "zeroInflated" if isinstance(family, ZeroInflatedColumns) else "count"
        parts = {"start": family.start, "spread": family.spread}
    elif isinstance(family, CategoricalColumns):
        kind, parts = "categories", {}
    elif isinstance(family, OrdinalColumns):
        kind, parts = "ordinal", {"thresholds": family.thresholds}
    elif isinstance(family, BernoulliColumns):
        kind, parts = "boolean", {}
    else:
        raise CannotRunError(f"columns of the type {type(family).__name__}")
    return {"kind": kind, **{name: to.vector(values) for name, values in parts.items()}}


def column_facts(data: Dataset, rows: NDArray[np.int64]) -> list[dict[str, Any]] | None:
    """How to show each column of rows (n, d): name, and range or categories; None for other shapes."""
    if len(data.shape) != 1 or data.shape[0] > _MOST:
        return None
    x = data.values(rows).astype(np.float64)
    facts = []
    for i in range(data.shape[0]):
        known = x[np.isfinite(x[:, i]), i]
        low, high = np.percentile(known, _TAILS) if len(known) else (0.0, 1.0)
        one = data.columns[i] if data.columns else None
        facts.append(
            {
                "name": f"x{i}" if one is None else one.name,
                "categories": [] if one is None else list(one.categories),
                "unit": "" if one is None else one.unit,
                "whole": one is not None and one.whole,
                "step": "" if one is None else one.step,
                "origin": "" if one is None else one.origin,
                "low": float(low),
                "high": float(high) if high > low else float(low) + 1.0,
            }
        )
    return facts

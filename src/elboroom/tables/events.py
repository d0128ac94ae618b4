"""Probabilities of events under p(x|z) of a table, and rows drawn within them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elboroom.probability.columns import ColumnFamily
from elboroom.probability.mixed import Mixed
from elboroom.tables.conditions import Event


def log_probability(p: Mixed, events: Sequence[Event]) -> Tensor:
    """Log p(x ∈ E|z) of codes of any leading shape, (...): a density where a number is given exactly."""
    found = [_log_probability(p, event) for event in events]
    return torch.stack(found).sum(0)


def sample_within(p: Mixed, events: Sequence[Event]) -> Tensor:
    """Draw one row per code within the events, (..., d): given z, the columns are independent."""
    rows = p.sample()
    for event in events:
        rows[..., event.place] = _sample(p, event).to(rows.dtype)
    return rows


def _log_probability(p: Mixed, event: Event) -> Tensor:
    family, features, place = _of_column(p, event.place)
    if event.categories is not None:
        return _of_each_category(p, event).logsumexp(-1)
    if event.is_point:
        return family.log_prob(features, _bound(family, place, event.low))[..., place]
    low, high = (_bound(family, place, end, other=other) for end, other in _ends(event))
    return family.log_mass_between(features, low, high)[..., place]


def _sample(p: Mixed, event: Event) -> Tensor:
    family, features, place = _of_column(p, event.place)
    if event.categories is not None:
        logits = _of_each_category(p, event)
        chosen = (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)
        return torch.tensor(sorted(event.categories), device=logits.device)[chosen]
    if event.low == event.high:
        return torch.full_like(features[..., 0], event.low)
    low, high = (_bound(family, place, end, other=other) for end, other in _ends(event))
    return family.sample_between(features, low, high)[..., place].clamp(event.low, event.high)


def _ends(event: Event) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both ends, each with that of a column without a condition."""
    return (event.low, -math.inf), (event.high, math.inf)


def _of_each_category(p: Mixed, event: Event) -> Tensor:
    """Log-probability of each allowed category, (..., C)."""
    family, features, place = _of_column(p, event.place)
    allowed = sorted(event.categories or ())
    rows = family.fill.expand(len(allowed), -1).clone()
    rows[:, place] = torch.tensor(allowed, dtype=rows.dtype, device=rows.device)
    return family.log_prob(features[..., None, :], rows)[..., place]


def _of_column(p: Mixed, place: int) -> tuple[ColumnFamily, Tensor, int]:
    """The family of a column, the family's features, and the column's place among the family's."""
    for (family, features), places in zip(p.head.apart(p.features), p.head.places, strict=True):
        if place in places:
            return family, features, places.index(place)
    raise IndexError(place)


def _bound(family: ColumnFamily, place: int, value: float, *, other: float | None = None) -> Tensor:
    """Cells (g,) with a value in one column, and in the others one in the support, or ``other``."""
    cells = family.fill.double() if other is None else torch.full_like(family.fill.double(), other)
    cells[place] = value
    return cells

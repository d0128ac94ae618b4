"""Probabilities of intervals, and draws within them, of every family of numbers and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from elboroom.config.columns import COUNTS, FAMILIES, LOGGED, Column
from elboroom.probability.columns import COLUMN_FAMILIES

KNOTS = {"knots": (-3.0, -1.0, 0.0, 0.5, 2.0, 4.0), "levels": (-2.0, -0.7, -0.1, 0.4, 1.1, 2.2)}
NUMBERS = FAMILIES["real"]


def _family(name: str, kind: str) -> Any:
    if name in COUNTS:
        columns = [Column(name=n, kind="count", family=name, location=1.2, scale=0.8) for n in "ab"]
    else:
        extra: dict[str, Any] = KNOTS if name == "quantile" else {}
        columns = [Column(name=n, kind=kind, family=name, location=0.4, scale=1.5, **extra) for n in "ab"]
    family = COLUMN_FAMILIES[name](columns).double()
    torch.manual_seed(5)
    return family, torch.randn(3, family.width, dtype=torch.float64)


CASES = [*((name, "real") for name in NUMBERS), *((name, "positive") for name in FAMILIES["positive"])]


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize(("low", "high"), [(0.3, 2.5), (-np.inf, 1.0), (4.0, np.inf), (9.0, 9.5)])
def test_the_mass_of_an_interval_is_the_integral_of_the_density(
    name: str, kind: str, low: float, high: float
) -> None:
    family, features = _family(name, kind)
    logged = kind == "positive" and name in LOGGED
    grid = np.linspace(max(low, -400.0), min(high, 400.0), 40_001)
    if logged:
        grid = np.geomspace(max(low, 1e-9), min(high, 1e9), 40_001)
    at = torch.tensor(np.stack([grid, np.full_like(grid, 1.0)], 1))
    density = family.log_prob(features[:, None], at)[..., 0].exp().numpy()
    wanted = ((density[:, 1:] + density[:, :-1]) / 2 * np.diff(grid)).sum(1)
    ends = [torch.tensor([end, free], dtype=torch.float64) for end, free in ((low, -np.inf), (high, np.inf))]
    found = family.log_mass_between(features, *ends)
    np.testing.assert_allclose(found[:, 0].exp(), wanted, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-9)
    drawn = family.sample_between(features[:1].expand(4000, -1), *ends)[:, 0].numpy()
    assert drawn.min() >= low - 1e-6
    assert drawn.max() <= high + 1e-6
    middle = float(np.median(drawn))
    half = [
        torch.tensor([end, free], dtype=torch.float64) for end, free in ((low, -np.inf), (middle, np.inf))
    ]
    below = family.log_mass_between(features[:1], *half) - family.log_mass_between(features[:1], *ends)
    assert float(below[0, 0].exp()) == pytest.approx(0.5, abs=0.035)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("low", "high"), [(0, 3), (2, np.inf), (5, 5), (-np.inf, 0), (60, np.inf), (3, 300)])
def test_the_mass_of_counts_is_their_sum(name: str, low: float, high: float) -> None:
    family, features = _family(name, "count")
    counts = torch.arange(3_000, dtype=torch.float64)
    logs = family.log_prob(features[:, None], counts[:, None].expand(-1, 2))[..., 0]
    inside = (counts >= low) & (counts <= high)
    ends = [torch.tensor([end, free], dtype=torch.float64) for end, free in ((low, -np.inf), (high, np.inf))]
    found = family.log_mass_between(features, *ends)
    np.testing.assert_allclose(found[:, 0], logs[:, inside].logsumexp(1), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-12)
    torch.manual_seed(0)
    drawn = family.sample_between(features[:1].expand(4000, -1), *ends)[:, 0]
    assert drawn.eq(drawn.round()).all()
    assert drawn.min() >= max(low, 0)
    assert drawn.max() <= high
    share = (logs[0, inside] - logs[0, inside].logsumexp(0)).exp()
    for count in counts[inside][:3].tolist():
        at = share[(counts[inside] == count)]
        assert float(drawn.eq(count).double().mean()) == pytest.approx(float(at), abs=0.035)

"""Fixtures of the hierarchies' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same noise."""
    with torch.random.fork_rng():
        torch.manual_seed(13)
        yield


@pytest.fixture
def float64() -> Iterator[None]:
    """Make new tensors and modules double, so that tolerances can be those of float64 rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

"""Fixtures of the tests of objectives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same noise, and leaves no trace of it."""
    with torch.random.fork_rng():
        torch.manual_seed(20240229)
        yield


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Make new tensors and modules double, so that tolerances can be those of float64 rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

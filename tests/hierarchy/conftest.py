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

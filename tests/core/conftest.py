"""Fixtures of the known-answer tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same noise, in whatever order tests run, and leaves no trace of it."""
    with torch.random.fork_rng():
        torch.manual_seed(20240229)
        yield


@pytest.fixture(autouse=True)
def _warns_always() -> Iterator[None]:
    """Let torch warn each time and not once a process, so that no test hides a warning from the next."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)

"""Fixtures of the known-answer tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def seeded_float64() -> Iterator[None]:
    """Start from the same noise and make new tensors double; the world outside gets its own back."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(20240229)
    yield
    torch.set_default_dtype(before)

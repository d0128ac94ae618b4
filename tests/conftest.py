"""What every test has: a cache of its own, no local data, one thread, and noise left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELBOROOM_DATA", raising=False)
    monkeypatch.delenv("ELBOROOM_MIRROR", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def float64() -> Iterator[None]:
    """Make new tensors and modules double, so that tolerances can be those of float64 rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

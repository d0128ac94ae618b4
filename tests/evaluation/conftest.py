"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a cache of its own, no local data, one thread, and leaves the noise as it was."""
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELBOROOM_DATA", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)

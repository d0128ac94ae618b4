"""An entry that takes a second, for tests alone."""

from __future__ import annotations

import pytest

from elboroom.reproduction import entries
from elboroom.reproduction.entry import Entry, Row

TINY = Entry(
    name="tiny",
    title="scikit-learn's digits",
    paper="no paper, Table 0",
    arxiv="0000.00000",
    source="digits",
    options={"latent_dim": 2, "hidden": (8,), "batch_size": 200, "epochs": 3, "binarize": "stochastic"},
    rows={"a": Row(40.0, "VAE"), "b": Row(1.0, "a figure out of reach", {"num_samples": 2})},
    samples=50,
    departures=("It is no paper's.",),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setitem(entries.ENTRIES, "tiny", TINY)
    return TINY

"""What recomputed activations save, counted rather than timed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benchmarks.activations import Live, measure


def test_live_tensors_are_counted_and_dead_ones_are_not() -> None:
    with Live() as live:
        a = torch.zeros(1000)
        b = a.view(10, 100) + 1
        assert live.peak == 8000
        del a
        c = b * 2
        assert live.peak == 8000
        del b
        torch.zeros(3000)
        assert live.peak == 16000
        del c


@pytest.mark.parametrize(("network", "saves"), [("conv", 1.05), ("ladder", 1.8)])
def test_it_saves_memory(network: str, saves: float) -> None:
    case: dict[str, Any] = {"shape": (32, 32, 1), "network": network, "batch_size": 16, "conv_width": 8}
    found = measure(case, rounds=1)["megabytes"]
    assert found["kept"] > saves * found["recomputed"]

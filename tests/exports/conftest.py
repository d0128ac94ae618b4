"""One table of ONNX's operators for all exports, which PyTorch makes anew for each, in half a second."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_table() -> Iterator[None]:
    try:
        from torch.onnx._internal.exporter import _registration
    except ImportError:  # a part of PyTorch that may move
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        make = functools.cache(_registration.ONNXRegistry.from_torchlib)
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", staticmethod(make))
        yield

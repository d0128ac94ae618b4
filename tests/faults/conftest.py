"""One whole run to compare with, and whether there is time for all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from .lives import train

# ``make faults`` sets it: every write is made to fail, and many more processes are killed.
LONG = os.environ.get("ELBOROOM_FAULTS") == "long"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs that nothing disturbs."""
    out = tmp_path_factory.mktemp("faults") / "whole"
    torch.set_num_threads(1)
    train(out, epochs=2)
    return out

"""Each combination in two processes: they stay the same, and train as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from . import job
from .chosen import RESUMED
from .combinations import Combination

# Two halves of a batch are not the batch where examples meet in a statistic of the batch, or where noise is
# not drawn number by number for the whole batch.
_MEETING = {
    *("capacity-vae", "beta-tcvae", "factor-vae", "dip-vae-i", "dip-vae-ii", "info-vae", "wae-mmd", "aae"),
    *("free-bits-vae", "sigma-vae", "svae"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, popen: type[subprocess.Popen[str]]) -> Path:
    """Folders one and two: what so many processes make of the same."""
    folder = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    job.run(folder / "one", list(RESUMED))
    torch.set_num_threads(threads)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with popen(
        [*launcher, "-m", f"{Path(__file__).parent.name}.job", str(folder / "two"), *map(str, RESUMED)],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, told = process.communicate(timeout=max(600, 2 * len(RESUMED)))
    assert process.returncode == 0, told
    return folder


def history(folder: Path, one: Combination) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / f"{one}.json").read_text())
    return rows


def weights(folder: Path, one: Combination) -> dict[str, Tensor]:
    return load_file(folder / f"{one}.safetensors")


@pytest.mark.parametrize("one", RESUMED, ids=str)
def test_two_processes_stay_the_same_and_train_as_one(runs: Path, one: Combination) -> None:
    for error in sorted(runs.glob(f"*/*/{one}.error")):
        pytest.fail(f"{error.parent.parent.name}: {error.read_text()}")
    first, second = (weights(runs / "two" / rank, one) for rank in "01")
    for name, value in first.items():
        assert torch.isfinite(value).all(), name
        assert torch.equal(value, second[name]), name
    alone, together = history(runs / "one" / "0", one), history(runs / "two" / "0", one)
    assert [row["step"] for row in together] == [row["step"] for row in alone] == [3, 6]
    if one.recipe in _MEETING:
        return
    # Sums over halves are in another order, rounding that training passes on.
    for row, other in zip(alone, together, strict=True):
        for name in ("loss", "distortion", "rate"):
            assert other[name] == pytest.approx(row[name], rel=2e-4, abs=1e-5), name

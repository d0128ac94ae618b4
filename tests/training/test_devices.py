"""Where a training runs, in which precision, and which part of a batch is whose."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.distributed import noise
from elboroom.distributed.processes import Workers
from elboroom.errors import UsageError
from elboroom.training import allocator, devices
from elboroom.training.allocator import keep_freed_memory
from elboroom.training.devices import find_device, find_precision

from .runs import build, images, train

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "layer", "batch", "has", "found"),
    [
        ("auto", nn.Linear(1000, 1000), 100, True, "bf16"),
        ("auto", nn.Linear(1000, 1000), 100, False, "fp32"),
        ("auto", nn.Linear(1000, 1000), 1, True, "fp32"),  # casting would cost more than it saves
        ("auto", nn.Linear(1000, 1000).double(), 100, True, "fp32"),
        ("fp32", nn.Linear(1000, 1000), 100, True, "fp32"),
        ("bf16", nn.Linear(2, 2), 1, False, "bf16"),
    ],
)
def test_precision(
    name: str, layer: nn.Module, batch: int, has: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_bf16", lambda _device: has)
    assert find_precision(name, CPU, layer, batch) == found


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="MPS cannot be hidden")
def test_the_tests_see_no_gpu() -> None:
    assert find_device("auto") == CPU
    program = "from elboroom.training.devices import find_device; print(find_device('auto'))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "cpu\n"


def test_a_process_of_a_launcher_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert find_device("auto") == torch.device("cuda:2")
    assert find_device("cuda") == torch.device("cuda:2")
    assert find_device("cuda:1") == torch.device("cuda:1")
    assert find_device("cpu") == CPU
    monkeypatch.setenv("LOCAL_RANK", "7")
    with pytest.raises(UsageError, match="device = 'cuda:7' is not available"):
        find_device("auto")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_does_not_fault_again() -> None:
    import resource

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            torch.empty(4 << 20, dtype=torch.uint8).fill_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert keep_freed_memory()
    faults()  # the heap grows once
    # Each of the 20 blocks has 1,024 pages; given back to the system, all of them would fault each time.
    assert faults() < 20 * 1024 / 10


def test_fit_leaves_the_allocator_alone_and_the_command_line_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []

    class Library:
        def __init__(self, _name: None):
            self.mallopt = lambda option, value: calls.append((option, value)) or 1

    monkeypatch.setattr(allocator.ctypes, "CDLL", Library)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    train(build(), None, 1)
    assert not calls
    data = load_data(images())
    np.save(tmp_path / "x.npy", data.x)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "x.npy", "--epochs", "1", "--hidden", "4", "--quiet", "--out", "run"]) == 0
    assert {option for option, _ in calls} == {-1, -3}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [1, 2, 5, 100])
def test_parts_make_up_the_batch(size: int, total: int) -> None:
    workers = Workers(CPU)
    parts = []
    for rank in range(size):
        workers.size, workers.rank = size, rank
        parts.append(workers.part(total))
    counted = [row for part in parts if part.weight for row in range(part.start, part.stop)]
    assert counted == list(range(total))
    assert sum(part.weight for part in parts) == pytest.approx(1.0)
    assert all(part.stop > part.start for part in parts)  # each computes something
    assert sum(part.counted for part in parts) == total


def test_noise_of_parts_is_that_of_the_whole() -> None:
    like = torch.zeros(())
    torch.manual_seed(0)
    whole = [noise.normal(2, 5, 3, batch_dim=1, like=like), noise.uniform(5, 4, batch_dim=0, like=like)]
    joined: list[list[torch.Tensor]] = [[], []]
    for start, stop in ((0, 2), (2, 5)):
        torch.manual_seed(0)
        with noise.part_of_batch(start, stop - start, 5):
            joined[0].append(noise.normal(2, stop - start, 3, batch_dim=1, like=like))
            joined[1].append(noise.uniform(stop - start, 4, batch_dim=0, like=like))
    assert torch.equal(torch.cat(joined[0], 1), whole[0])
    assert torch.equal(torch.cat(joined[1], 0), whole[1])
    # Noise that is not one draw for each example is nobody's part.
    with noise.part_of_batch(0, 2, 5):
        assert noise.normal(7, 3, batch_dim=0, like=like).shape == (7, 3)


def test_the_environment_of_half_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="WORLD_SIZE is 2, and RANK, MASTER_ADDR, MASTER_PORT are not set"):
        Workers(CPU)


def test_order_in_chunks_is_a_permutation() -> None:
    from elboroom.config import Config
    from elboroom.training.order import epoch_order

    indices = np.arange(0, 1000, 2)
    config = Config().updated(batch_size=32, shuffle_chunk=8, shuffle_window=4).training
    order = np.concatenate(epoch_order(indices, config, 3))
    assert sorted(order) == indices.tolist()
    assert not np.array_equal(order, np.concatenate(epoch_order(indices, config, 4)))

"""Two and three processes train as one does: the same curve, the same checkpoints, one fate."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from elboroom.distributed import group
from elboroom.training.checkpoints.state import load_state

from . import job

SCRIPT = Path(job.__file__)
CURVES = [
    "patch_critic",
    "plain",
    "few_examples",
    "sharded",
    "critic",
    "layers",
    "recomputed",
    "watched",
    "codes",
    "bad_example",
    "freezes",
]
# Sums over parts of a batch are in another order: single-precision rounding, which training passes on.
_TIMES = (r'"(seconds|images_per_second)": [^,}]*', "")  # never the same twice
CLOSE = {"rel": 2e-4, "abs": 1e-5}


def launch(
    popen: type[subprocess.Popen[str]],
    size: int,
    folder: Path,
    names: list[str],
    port: int,
    timeout: float = 600,
) -> list[subprocess.CompletedProcess[str]]:
    """Run a job in processes as a launcher would start them; after ``timeout`` seconds all are killed."""
    shared = os.environ | {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        popen(
            [sys.executable, str(SCRIPT), str(folder), *names],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that its own children can be killed with it
        )
        for rank in range(size)
    ]
    limit = time.monotonic() + timeout
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=max(0.0, limit - time.monotonic()))
            ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return ended


def test_none_outlives_the_limit(tmp_path: Path, free_port: Callable[[], int]) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(subprocess.TimeoutExpired):
        launch(subprocess.Popen, 2, tmp_path, ["plain"], free_port(), timeout=0.5)
    assert set(psutil.Process().children(recursive=True)) <= before


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def assert_same_curve(run: Path, other: Path) -> None:
    one, two = history(run), history(other)
    assert len(one) == len(two)
    for row, row2 in zip(one, two, strict=True):
        for name in row.keys() - {"seconds", "images_per_second"}:
            if row[name] is None:  # not measured
                assert row2[name] is None, name
            else:
                assert row2[name] == pytest.approx(row[name], **CLOSE), name
    a, b = (load_state(r / "checkpoints" / "last" / "state.safetensors")["engine"] for r in (run, other))
    for name, weight in a["model"].items():
        torch.testing.assert_close(b["model"][name], weight, rtol=2e-3, atol=2e-4)


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
    popen: type[subprocess.Popen[str]],
) -> Path:
    """Folders 1, 2 and 3: what so many processes make of the same."""
    folder = tmp_path_factory.mktemp("runs")
    for size in (1, 2, 3):
        (folder / str(size)).mkdir()
    threads = torch.get_num_threads()
    statistics = ["batch_norm", "normalized_codes"]
    job.run(folder / "1", [*CURVES, *statistics, "two_epochs", "two_epochs:whole"])
    job.run(folder / "1", ["goes_on:whole"])
    torch.set_num_threads(threads)
    ends = launch(
        popen,
        2,
        folder / "2",
        [*CURVES, *statistics, "two_epochs", "two_epochs_sharded", "recorded", "leaves"],
        free_port(),
    )
    assert [end.returncode for end in ends] == [0, 0], ends
    for name in ("two_epochs", "two_epochs_sharded"):
        for size in (1, 3):
            shutil.copytree(folder / "2" / name, folder / str(size) / f"{name}_on")
    job.run(folder / "1", ["goes_on:two_epochs_on", "goes_on:two_epochs_sharded_on"])
    torch.set_num_threads(threads)
    last = ["normalized_codes", "goes_on:two_epochs_on", "goes_on:two_epochs_sharded_on", "dies"]
    ends = launch(popen, 3, folder / "3", [*CURVES, *last], free_port())
    (folder / "ends.json").write_text(json.dumps([(end.returncode, end.stderr, time.time()) for end in ends]))
    assert (folder / "3" / "dies").exists(), ends
    return folder


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", CURVES)
def test_the_curve_is_that_of_one_process(runs: Path, name: str, size: int) -> None:
    if name == "critic":
        # A critic shuffles codes among the examples that its process has, and so sees other pairs.
        assert len(history(runs / str(size) / name)) == 2
        return
    assert_same_curve(runs / "1" / name, runs / str(size) / name)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", ["two_epochs_on", "two_epochs_sharded_on"])
def test_a_checkpoint_of_two_goes_on_in_one_and_in_three(runs: Path, name: str, size: int) -> None:
    assert_same_curve(runs / "1" / "whole", runs / str(size) / name)


def test_a_checkpoint_tells_nothing_of_how_many_wrote_it(runs: Path) -> None:
    one, two, sharded = (
        load_state(run / "checkpoints" / "last" / "state.safetensors")["engine"]
        for run in (runs / "1" / "two_epochs", runs / "2" / "two_epochs", runs / "2" / "two_epochs_sharded")
    )
    for state in (two, sharded):
        moments = state["updates"][0]["optimizer"]["state"][0]
        for name, moment in one["updates"][0]["optimizer"]["state"][0].items():
            torch.testing.assert_close(moments[name], moment, rtol=2e-3, atol=1e-6)


def test_the_bad_example_is_left_out_by_all_and_named_once(runs: Path) -> None:
    assert [row["skipped_steps"] for row in history(runs / "3" / "bad_example")] == [1, 1, 1]
    log = (runs / "3" / "bad_example" / "log.txt").read_text()
    assert log.count("data rows 17") == 3


@pytest.mark.parametrize("size", [2, 3])
def test_normalised_codes_learn_as_in_one_process(runs: Path, size: int) -> None:
    """All but the bias before the normalisation: its gradient is 0 but for rounding, which Adam scales up."""
    one, other = runs / "1" / "normalized_codes", runs / str(size) / "normalized_codes"
    for row, row2 in zip(history(one), history(other), strict=True):
        for name in ("loss", "distortion", "perplexity", "grad_norm"):
            assert row2[name] == pytest.approx(row[name], **CLOSE), name
        assert row2["val_loss"] == pytest.approx(row["val_loss"], rel=2e-3)
    a, b = (load_state(r / "checkpoints" / "last" / "state.safetensors")["engine"] for r in (one, other))
    for name in a["model"].keys() - {"encoder.code.grid.bias", "posterior.vectors.mean"}:
        torch.testing.assert_close(b["model"][name], a["model"][name], rtol=2e-3, atol=2e-4)


def test_running_statistics_are_the_mean_over_processes(runs: Path) -> None:
    one, two = (history(runs / size / "batch_norm") for size in "12")
    # Each process normalises by its own half of a batch: near, not the same.
    assert two[-1]["loss"] == pytest.approx(one[-1]["loss"], rel=0.05)


def test_no_thread_outlives_the_group_to_abort_the_process(runs: Path) -> None:
    assert [(runs / "2" / f"threads-{rank}").read_text() for rank in (0, 1)] == ["", ""]


@pytest.mark.parametrize("name", job.RECORDED)
def test_recorded_steps_of_two_are_the_steps_themselves(runs: Path, name: str) -> None:
    folder = runs / "2" / "recorded"
    for file in ("model.safetensors", "history.jsonl"):
        one, other = ((folder / capture / name / file).read_text("latin1") for capture in ("off", "auto"))
        assert re.sub(*_TIMES, one) == re.sub(*_TIMES, other), file
    states = [
        load_state(folder / capture / name / "checkpoints" / "last" / "state.safetensors")["engine"]
        for capture in ("off", "auto")
    ]
    for key, weights in states[0]["model"].items():
        assert torch.equal(weights, states[1]["model"][key]), key
    log = (folder / "auto" / name / "log.txt").read_text()
    reasons = re.findall("steps are taken without a CUDA graph: (.*)", log)
    for rank in (0, 1):
        done = json.loads((runs / "2" / f"recorded-{rank}.json").read_text())
        assert done[f"{name} off"] == [0, 0]
        made, replays = done[f"{name} auto"]
        if name == "codes":  # its codebook is moved by the codes of all processes
            assert reasons == ["the model exchanges numbers with other processes in the middle of a step"]
            assert (made, replays) == (1, 0)
            continue
        graphs = 3 if name == "sharded" else 2  # of each size of batch
        # Four epochs of four batches of 16 and one of 4.
        assert (made, replays) == (2 * graphs, graphs * (20 - 3 - 1))
        assert reasons == []


def test_when_one_dies_the_others_say_who_and_the_run_can_be_resumed(runs: Path) -> None:
    ends = json.loads((runs / "ends.json").read_text())
    started = (runs / "3" / "dies" / "config.json").stat().st_mtime
    # Long before the group's own limit.
    assert ends[0][2] - started < group._TIMEOUT.total_seconds() / 2
    assert ends[1][0] == -signal.SIGKILL
    for code, told, _ in (ends[0], ends[2]):
        assert code != 0
        assert re.search(r"process [02] of 3 stops: process 1 \(.*, pid \d+\) is gone", told)
    job.run(runs / "3", ["goes_on:dies"])
    assert_same_curve(runs / "1" / "whole", runs / "3" / "dies")

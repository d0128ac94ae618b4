"""Signals to a real process: exit codes, the way back, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom.io.tensors import read_tensors
from elboroom.runs.run import Run

from .conftest import Command

OPTIONS = [
    *("--hidden", "16", "--batch-size", "8", "--figures-every", "0", "--device", "cpu", "--quiet"),
    *("--patience", "9999", "--optimizer-options", "amsgrad=true", "--binarize", "stochastic"),
]
SIGNALS = {"term": signal.SIGTERM, "int": signal.SIGINT, "kill": signal.SIGKILL}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, popen: type[subprocess.Popen[str]]) -> Any:
    """Three processes that train for ever, at once, each stopped its own way in its third epoch or later.

    The first is a new process, the others are forked.
    """
    folder = tmp_path_factory.mktemp("stopped")
    rng = np.random.default_rng(0)
    split = np.repeat([0, 2, 1], [400, 40, 10])
    np.savez(folder / "x.npz", images=rng.integers(0, 256, (450, 6, 6), dtype=np.uint8), split=split)
    # One thread, as in this process: sums over more are rounded in another order.
    train = [sys.executable, "-m", "elboroom", "train", "x.npz", "--epochs", "99999", *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ELBOROOM_CACHE": str(folder)}
    processes = {
        name: (subprocess.Popen if name == "term" else popen)(
            [*train, "--out", name],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in SIGNALS
    }  # fmt: skip
    waiting, until, found = set(SIGNALS), time.monotonic() + 120, {}
    try:
        while waiting and time.monotonic() < until:
            time.sleep(0.005)
            for name in list(waiting):
                history = folder / name / "history.jsonl"
                if history.exists() and history.read_text().count("\n") >= 2:
                    processes[name].send_signal(SIGNALS[name])
                    waiting.remove(name)
        for name, process in processes.items():
            out, err = process.communicate(timeout=60)
            found[name] = (process.returncode, out, err.splitlines())
    finally:
        for process in processes.values():
            process.kill()
    return folder, found


@pytest.mark.parametrize(("name", "code"), [("term", 143), ("int", 130), ("kill", -9)])
def test_a_stopped_process_and_its_way_back(
    name: str, code: int, stopped: Any, elboroom: Command, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = stopped
    returned, out, lines = found[name]
    assert (returned, out) == (code, "")
    monkeypatch.chdir(folder)
    if name != "kill":
        assert lines[-1].startswith("elboroom: stopped in epoch ")
        assert lines[-1].endswith(f"To continue: elboroom resume {name}")
        assert not any("Traceback" in line for line in lines)
    epochs = len(Run(name).history) + 2
    assert elboroom("resume", name, "--epochs", epochs, "--quiet").code == 0
    whole = f"{name}-whole"
    assert elboroom("train", "x.npz", "--out", whole, "--epochs", epochs, *OPTIONS).code == 0
    times = {"seconds", "images_per_second"}
    histories = [
        [{key: value for key, value in row.items() if key not in times} for row in Run(run).history]
        for run in (name, whole)
    ]
    assert histories[0] == histories[1]
    assert Path(name, "model.safetensors").read_bytes() == Path(whole, "model.safetensors").read_bytes()
    for which in ("last", "best"):
        one, other = (
            read_tensors(Path(run, "checkpoints", which, "state.safetensors"))[0] for run in (name, whole)
        )
        assert one.keys() == other.keys()
        assert all(one[key].equal(other[key]) for key in one)
    assert Run(name).metrics == Run(whole).metrics


def test_an_interruption_elsewhere_is_one_line(elboroom: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("elboroom.data.load_data", interrupted)
    result = elboroom("data", "show", "digits")
    assert (result.code, result.lines) == (130, ["elboroom: stopped"])

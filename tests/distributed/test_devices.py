"""``--devices 2`` on the command line: trains, stops on Ctrl-C, and fails in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elboroom.cli.main import main


def test_ctrl_c_stops_all_and_one_process_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    popen: type[subprocess.Popen[str]],
) -> None:
    run = tmp_path / "run"
    options = ["digits", "--hidden", "8", "--epochs", "100000", "--figures-every", "0", "--out", str(run)]
    command = [sys.executable, "-m", "elboroom", "train", *options, "--devices", "2"]
    process = popen(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to all processes of a command
    )
    until = time.monotonic() + 90
    while not (run / "log.txt").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert f"saved. To continue: elboroom resume {run}" in told.splitlines()[-1]
    assert "Traceback" not in told

    config = json.loads((run / "config.json").read_text())
    assert config["training"]["epochs"] == 100000
    done = len((run / "history.jsonl").read_text().splitlines())
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
    assert main(["resume", str(run), "--epochs", str(done + 1), "--quiet"]) == 0
    capsys.readouterr()
    assert len((run / "history.jsonl").read_text().splitlines()) == done + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digits", "--devices", "0"], "--devices 0: at least 1"),
        (["train", "digits", "--devices", "two"], "--devices two: must be a whole number"),
        (
            ["train", "digits", "--devices", "2", "--device", "tpu"],
            "--device tpu is not available; this machine has cpu",
        ),
        (["resume", "nowhere", "--devices", "2"], "no run at nowhere"),
    ],
)
def test_wrong_use_is_told_once_before_anything_is_launched(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert message in told

"""``--devices N``: nothing is open to other machines, nothing of the current folder runs, one end for all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from elboroom.cli.main import main
from elboroom.distributed import group, launch
from elboroom.distributed.processes import Workers
from elboroom.errors import FailureError, UsageError
from elboroom.io.files import lock_folder

HOSTILE = "import pathlib; pathlib.Path({marker!r}).write_text('ran')\n"


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for something that takes a loaded machine some time."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def listening(processes: list[psutil.Process]) -> list[Any]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return found


def other_addresses() -> list[str]:
    """Addresses of this machine at which others reach it."""
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A long training by two processes, begun in a folder of hostile modules; killed in the end."""
    folder = tmp_path_factory.mktemp("hostile")
    marker = str(folder / "marker")
    (folder / "elboroom").mkdir()
    for name in ("elboroom/__init__.py", "elboroom/__main__.py", "random.py", "torch.py", "sitecustomize.py"):
        (folder / name).write_text(HOSTILE.format(marker=marker))
    options = ["digits", "--hidden", "8", "--epochs", "100000", "--figures-every", "0", "--out", "run"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "elboroom", "train", *options, "--devices", "2"],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "ELBOROOM_CACHE": str(folder / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    )
    children = psutil.Process(process.pid)
    try:
        assert until(lambda: (folder / "run" / "log.txt").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        yield folder, process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in children.children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


def test_nothing_listens_where_other_machines_reach_it(training: tuple[Path, subprocess.Popen[str]]) -> None:
    _, process = training
    launcher = psutil.Process(process.pid)
    children = launcher.children(recursive=True)
    assert len(children) == 2
    sockets = listening([launcher, *children])
    assert {c.laddr.ip for c in sockets} == {"127.0.0.1"}  # those of gloo; so the test sees sockets at all
    others = other_addresses()
    if not others:
        pytest.skip("this machine has no address besides loopback to connect from")
    for address in others:
        for each in sockets:
            with socket.socket() as caller:
                caller.settimeout(5)
                caller.bind((address, 0))
                assert caller.connect_ex((address, each.laddr.port)) != 0


def test_no_module_of_the_current_folder_is_run(training: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, _ = training
    assert not (folder / "marker").exists()
    # That the trap works: a process that searches the current folder falls into it.
    subprocess.run([sys.executable, "-m", "elboroom"], cwd=folder, check=False, capture_output=True)
    assert (folder / "marker").read_text() == "ran"


def test_processes_end_with_their_launcher_and_save(training: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, process = training
    children = psutil.Process(process.pid).children(recursive=True)
    first = next(child for child in children if child.environ()["RANK"] == "0")
    with pytest.raises(UsageError, match=rf"being written by another training \(process {first.pid}\); wait"):
        lock_folder(folder / "run")
    store = Path(first.environ()[group.STORE])
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    process.send_signal(signal.SIGKILL)
    assert until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    assert "saved. To continue" in process.communicate()[1].splitlines()[-1]
    assert "stopped in epoch" in (folder / "run" / "log.txt").read_text().splitlines()[-1]
    lock_folder(folder / "run").release()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE is 'x' and must be a whole number from 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0 and must be a whole number from 1"),
        ({"WORLD_SIZE": "2"}, "RANK, MASTER_ADDR, MASTER_PORT are not set"),
        ({"RANK": "2"}, "RANK is 2 and must be a whole number from 0 to 1, as WORLD_SIZE is 2"),
        ({"RANK": "-1"}, "RANK is -1 and must be a whole number from 0 to 1"),
        ({"RANK": "one"}, "RANK is 'one' and must be a whole number from 0 to 1"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http' and must be a whole number from 1 to 65535"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT is 70000 and must be a whole number from 1 to 65535"),
        ({"MASTER_PORT": "used"}, "which is in use by another program; give all processes another, such as"),
    ],
)
def test_a_wrong_environment_is_named_in_one_line(
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        if environment.get("MASTER_PORT") == "used":
            environment = {"MASTER_PORT": str(taken.getsockname()[1])}
        for name, value in (environment if "WORLD_SIZE" in environment else whole | environment).items():
            monkeypatch.setenv(name, value)
        assert main(["train", "digits", "--out", "run"]) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert message in told


def test_a_store_that_is_gone_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", group.STORE: str(tmp_path / "no" / "store")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(group, "_end_with_launcher", lambda: None)
    with pytest.raises(FailureError, match=r"cannot find each other: .*no is gone; start the command again"):
        Workers(torch.device("cpu"))


def processes_of(codes: list[str]) -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen([sys.executable, "-S", "-c", code]) for code in codes]


def test_when_one_fails_the_others_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_TO_NOTICE", 0.5)
    monkeypatch.setattr(launch, "_TO_END", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    processes = processes_of([deaf, "raise SystemExit(3)", "import time; time.sleep(600)"])
    assert launch._wait(processes, [], tmp_path) == 1
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 3, -signal.SIGTERM]


def test_one_that_fails_after_it_has_left_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_TO_NOTICE", 0.0)
    group._mark(tmp_path, 1).touch()
    processes = processes_of(["import time; time.sleep(2)", "import os; os.abort()"])
    assert launch._wait(processes, [], tmp_path) == 1  # it is named in the end
    assert [process.returncode for process in processes] == [0, -signal.SIGABRT]


def test_signals_are_passed_on(tmp_path: Path) -> None:
    with launch._caught_signals() as signals:
        processes = processes_of(["import time; time.sleep(600)"] * 2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert launch._wait(processes, signals, tmp_path) == 0
    assert [process.returncode for process in processes] == [-signal.SIGTERM] * 2

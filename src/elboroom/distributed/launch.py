"""The launcher for ``--devices N``: the same command in N processes of this machine.

They communicate over loopback only, and find each other through a file in a folder that only this user can
enter. There is no rendezvous server, nothing listens on an address that another machine can reach, and
nothing received is unpickled.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from elboroom.distributed.group import STORE, has_left
from elboroom.errors import ElboroomError, FailureError, UsageError

# The current folder is not searched for modules (-P); PYTHONPATH is, and last where this package came from.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from elboroom.cli.main import main; sys.exit(main())"
_POLL = 0.05
_TO_NOTICE = 15.0  # seconds for the others to report who is gone, and to save
_TO_END = 15.0


class LaunchFailedError(ElboroomError):
    """A process failed; the message is empty if the process has reported the reason itself."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def launch(devices: int, arguments: Sequence[str]) -> None:
    """Run ``elboroom`` with these arguments in several processes and wait for all of them.

    SIGINT, SIGTERM and SIGHUP are passed on to them. They end when this process ends in any way.

    Parameters
    ----------
    devices : int
        Number of processes; on a machine with GPUs each gets its own.
    arguments : sequence of str
        The command line, from which ``--devices`` is removed.

    Raises
    ------
    LaunchFailedError
        If one of them failed; the others are ended within a minute. The message is empty if the process has
        reported the reason itself.
    FailureError
        If a process cannot be started, or the machine has no loopback interface.
    """
    folder = Path(tempfile.mkdtemp(prefix="elboroom-"))  # readable, writable and searchable by this user only
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with _caught_signals() as signals:
            shared = _environment(devices, folder / "store")
            own = without_devices(arguments)
            for rank in range(devices):  # a comprehension would lose those started before a failure
                processes += [_start(rank, shared, own)]
            failed = _wait(processes, signals, folder)
    except OSError as error:
        raise FailureError(
            f"--devices {devices}: cannot start a process ({error.strerror or error})"
        ) from None
    finally:
        for process in processes:
            process.kill()  # those that have ended are not affected
        for process in processes:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if failed is not None:
        code = processes[failed].returncode
        raise LaunchFailedError(
            _describe(failed, processes[failed], devices), code if code > 0 else 1
        ) from None


def without_devices(arguments: Sequence[str]) -> list[str]:
    """Remove ``--devices N`` from a command line.

    Examples
    --------
    >>> without_devices(["train", "--devices", "2", "mnist", "--devices=3", "--lr", "0.1"])
    ['train', 'mnist', '--lr', '0.1']
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--devices":
            next(rest, None)
        elif not argument.startswith("--devices="):
            kept.append(argument)
    return kept


def check_devices(devices: int) -> None:
    """Refuse an impossible number of processes.

    Raises
    ------
    UsageError
        If it is below 1.
    """
    if devices < 1:
        raise UsageError(f"--devices {devices}: at least 1")


def _environment(devices: int, store: Path) -> dict[str, str]:
    """Return the environment variables of all processes."""
    loopback = _loopback()
    shared = {
        STORE: str(store),
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
        # By default both libraries listen on the interface that leads to other machines.
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": f"={loopback}",
    }
    # Without this each process would start a thread for every core.
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // devices))}
    return {**threads, **os.environ, **shared}


def _loopback() -> str:
    """Return the name of the interface of 127.0.0.1: lo on Linux, lo0 on a Mac."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == "127.0.0.1" for address in addresses):
            return name
    raise FailureError(
        "--devices: this machine has no loopback interface (127.0.0.1) to talk over; bring it up"
    )


def _start(rank: int, shared: Mapping[str, str], arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    home = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, home, *arguments],
        env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        # Nothing is written to this pipe: it closes when this process ends, which they watch for.
        stdin=subprocess.PIPE,
        # Ctrl-C in a terminal reaches this process only, and is passed on once.
        start_new_session=True,
    )


def _wait(processes: Sequence[subprocess.Popen[bytes]], signals: list[int], folder: Path) -> int | None:
    """Wait for all, pass signals on, and return the number of the process that failed first, if any."""
    failed: int | None = None
    asked_to_stop, ended, since = False, False, 0.0
    while any(process.poll() is None for process in processes):
        while signals:
            asked_to_stop = True
            _send(processes, signals.pop(0))
        if failed is None:
            failed = _first_failed(processes, folder)
            since = time.monotonic()
        elif not asked_to_stop and time.monotonic() > since + _TO_NOTICE + (_TO_END if ended else 0.0):
            _send(processes, signal.SIGKILL if ended else signal.SIGTERM)
            ended = True
        time.sleep(_POLL)
    return _first_failed(processes) if failed is None else failed


def _first_failed(processes: Sequence[subprocess.Popen[bytes]], folder: Path | None = None) -> int | None:
    """Return a process that failed; with a folder, only one that the others still needed."""
    for rank, process in enumerate(processes):
        if process.poll() and not (folder is not None and has_left(folder, rank)):
            return rank
    return None


def _send(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        process.send_signal(number)  # has no effect on one that has ended


@contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Collect the signals that ask this process to stop."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread may set handlers
        return

    def on_signal(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    wanted = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        wanted.append(signal.SIGHUP)
    previous = {each: signal.signal(each, on_signal) for each in wanted}
    try:
        yield caught
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _describe(rank: int, process: subprocess.Popen[bytes], devices: int) -> str:
    if process.returncode >= 0:
        return ""
    name = signal.Signals(-process.returncode).name
    return (
        f"process {rank} of {devices} (pid {process.pid}) was ended by {name}, and the others "
        "with it; 'elboroom resume RUN' continues from the last checkpoint"
    )

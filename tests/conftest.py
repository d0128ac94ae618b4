"""What every test has: a cache of its own, no local data, one thread, and noise left as it was."""

from __future__ import annotations

import gc
import inspect
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Tests mean the CPU, whose results can be repeated bit for bit, so a GPU is hidden from them and from the
# processes that they start. With ELBOROOM_TEST_CUDA=1 those that take the fixture ``gpu`` see it, no others.
if not os.environ.get("ELBOROOM_TEST_CUDA"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
import torch

from elboroom.objectives import critics

_ASKED = os.environ.get("ELBOROOM_TEST_CUDA", "")
_VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES")
_SHOWN = {"is_available": torch.cuda.is_available, "device_count": torch.cuda.device_count}
_HAS_GPU = _ASKED == "1" and torch.cuda.is_available()
if _HAS_GPU:
    torch.cuda.init()  # before it is hidden, as the driver reads the variable once
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.cuda.is_available = lambda: False
    torch.cuda.device_count = lambda: 0


# Collecting tests makes objects that are all kept; to search them for cycles takes a third of its time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> str:
    """The device of a test that means a GPU. ELBOROOM_TEST_CUDA=cpu tries such tests on the CPU."""
    if _ASKED == "cpu":
        return "cpu"
    if not _HAS_GPU:
        pytest.skip("there is no GPU" if _ASKED else "ELBOROOM_TEST_CUDA=1 is not set")
    for name, shown in _SHOWN.items():
        monkeypatch.setattr(torch.cuda, name, shown)
    if _VISIBLE is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", _VISIBLE)
    return "cuda"


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ELBOROOM_DATA", raising=False)
    monkeypatch.delenv("ELBOROOM_MIRROR", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def float64() -> Iterator[None]:
    """Make new tensors and modules double, so that tolerances can be those of float64 rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def narrow_critics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give critics layers of 8 numbers, because those of 1,000 take longer than all else of a small model."""
    full = critics._leaky_mlp

    def narrow(inputs: int, hidden: Sequence[int], slope: float) -> torch.nn.Sequential:
        return full(inputs, [min(width, 8) for width in hidden], slope)

    monkeypatch.setattr(critics, "_leaky_mlp", narrow)


@pytest.fixture(scope="module")
def usual_signals() -> Iterator[None]:
    """Let signals act as in a terminal's foreground; under ``nohup`` or ``&`` some are ignored."""
    usual = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    numbers = {getattr(signal, name): handler for name, handler in usual.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Find a TCP port for a test's own processes, other than those of tests that run at the same time.

    It lies below the ports that systems give to outgoing connections, so that none takes it in between.
    """
    candidates = iter(range(10_000 + os.getpid() * 20 % 20_000, 32_000))

    def find() -> int:
        for port in candidates:
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise RuntimeError("no port is free")

    return find


class _Forked(subprocess.Popen[Any]):
    """A process that ``fork_server.py`` forks; in all else as another process of ``subprocess.Popen``."""

    server: socket.socket
    # What an interpreter or a library reads as it starts.
    _READ_AT_START = ("PYTHON", "LANG", "LC_", "MPL")

    def _execute_child(self, *arguments: Any) -> None:
        given = inspect.signature(subprocess.Popen._execute_child).bind(self, *arguments).arguments  # type: ignore[attr-defined]
        env = dict(os.environ if given["env"] is None else given["env"]) | {"OMP_NUM_THREADS": "1"}
        words = list(map(os.fspath, given["args"]))
        differ = {name for name, _ in env.items() ^ _AT_START.items() if name.startswith(self._READ_AT_START)}
        if words[0] != sys.executable or differ:
            raise ValueError(f"{words[0]} with other {differ} is to be started by subprocess.Popen")
        request = {
            "words": words[1:],
            "cwd": os.fspath(given["cwd"] or Path.cwd()),
            "env": env,
            "session": given["start_new_session"],
            "ignored": [name for name in signal.valid_signals() if signal.getsignal(name) is signal.SIG_IGN],
        }
        pipes = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [number if pipe == -1 else pipe for number, pipe in enumerate(pipes)]
        self._answer, answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answer:
            socket.send_fds(self.server, [json.dumps(request).encode()], [*streams, answer.fileno()])
        self.pid = self._told()
        self._child_created = True
        for one, other in (("p2cread", "p2cwrite"), ("c2pwrite", "c2pread"), ("errwrite", "errread")):
            if given[one] != -1 and given[other] != -1:
                os.close(given[one])
        self._closed_child_pipe_fds = True

    def _told(self) -> int:
        if not (told := self._answer.recv(32)):
            raise RuntimeError("the server of forked processes has ended")
        return int(told)

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if flags and not select.select([self._answer], [], [], 0)[0]:
            return 0, 0
        with self._answer:
            return self.pid, self._told()

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and (ended := self._try_wait(os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode


_AT_START = dict(os.environ)


@pytest.fixture(scope="session")
def popen() -> Iterator[type[subprocess.Popen[Any]]]:
    """``subprocess.Popen`` for Python with one thread, forked so that nothing has to be imported again.

    For tests of what processes do. Tests of how one starts use subprocess; with ELBOROOM_TEST_PROCESSES=new
    all are new processes.
    """
    if os.environ.get("ELBOROOM_TEST_PROCESSES") == "new" or sys.platform != "linux":
        yield subprocess.Popen
        return
    _Forked.server, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [sys.executable, "-P", Path(__file__).with_name("fork_server.py"), str(control.fileno())]
    env = _AT_START | {"OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(words, env=env, stdin=-3, stdout=-3, pass_fds=[control.fileno()])
    control.close()
    yield _Forked
    _Forked.server.close()
    server.wait()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, for tests of pages; driven by playwright, of which a process bears one only."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: elboroom[browser]")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next((found for found in map(shutil.which, names) if found), None)
    if path is None:
        pytest.skip("there is no Chromium on the path")
    flags = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()

"""What every test has: a cache of its own, no local data, one thread, and noise left as it was."""

from __future__ import annotations

import os
import shutil
import signal
import socket
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

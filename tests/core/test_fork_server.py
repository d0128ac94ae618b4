"""A forked process has what a new one has, and ends as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TELLS = """
import json, os, signal, sys, tempfile, threading
settings = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
print(json.dumps({
    "folder": os.getcwd(), "settings": settings, "arguments": sys.argv, "path": sys.path, "name": __name__,
    "main": sys.modules["__main__"].__dict__ is globals(), "umask": os.umask(0o22),
    "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "wakes": signal.set_wakeup_fd(-1),
    "files": os.listdir("/proc/self/fd"), "threads": os.listdir("/proc/self/task") == [str(os.getpid())],
    "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(),
    "scratch": tempfile.gettempdir(), "daemons": threading.active_count(),
    "streams": [
        (each.encoding, each.errors, each.line_buffering, each.write_through, each.isatty())
        for each in (sys.stdin, sys.stdout, sys.stderr)
    ],
}, default=list))
sys.stderr.write("error")
"""


def run(popen: type[subprocess.Popen[str]], *words: str, **options: Any) -> tuple[int, str, list[str]]:
    command = [sys.executable, *words]
    with popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        out, told = process.communicate(timeout=60)
    return process.returncode, out, told.splitlines()[-1:]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", ["-c", "-m", "script"])
def test_it_has_what_a_new_process_has(
    kind: str, own: bool, tmp_path: Path, popen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LEFT_OUT", "1")
    kept = {name: value for name, value in os.environ.items() if name != "LEFT_OUT"}
    options = {"start_new_session": True, "env": kept | {"GIVEN": "1"}} if own else {}
    (tmp_path / "tells.py").write_text(TELLS)
    words = {"-c": ["-c", TELLS], "-m": ["-m", "tells"], "script": [str(tmp_path / "tells.py")]}[kind]
    new, forked = (
        run(each, *words, "--an", "argument", cwd=tmp_path, **options) for each in (subprocess.Popen, popen)
    )
    assert (forked[0], forked[2]) == (new[0], new[2]) == (0, ["error"])
    one, other = json.loads(new[1]), json.loads(forked[1])
    assert one.keys() == other.keys()
    for name in one:
        assert other[name] == one[name], name


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(3)",
        "raise SystemExit('told')",
        "1 / 0",
        "raise KeyboardInterrupt",
        "import os; os._exit(9)",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os.kill(os.getpid(), 15)",
        "import os; os.kill(os.getpid(), 2)",
        "import atexit; atexit.register(print, 'last'); print('first')",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    ],
)
def test_it_ends_as_a_new_process_does(code: str, popen: Any) -> None:
    assert run(popen, "-c", code) == run(subprocess.Popen, "-c", code)


def test_it_is_waited_for_killed_and_given_input(popen: Any) -> None:
    with popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
        assert process.poll() is None
        process.kill()
        assert process.wait() == process.poll() == -9
    with popen([sys.executable, "-c", "print(input() * 2)"], stdin=-1, stdout=-1, text=True) as process:
        assert process.communicate("ab\n") == ("abab\n", None)


def test_two_draw_other_numbers(popen: Any) -> None:
    code = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())"
    one, two = (run(popen, "-c", code)[1].split() for _ in range(2))
    assert len(set(one + two)) == 6


def test_what_is_read_as_python_starts_needs_a_new_process(popen: Any, monkeypatch: Any) -> None:
    if popen is subprocess.Popen:
        pytest.skip("all processes are new")
    monkeypatch.setenv("PYTHONHASHSEED", "3")
    with pytest.raises(ValueError, match="PYTHONHASHSEED"):
        popen([sys.executable, "-c", "pass"])

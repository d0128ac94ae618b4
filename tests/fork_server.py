"""Forks processes for tests out of one that has imported PyTorch and elboroom, which takes seconds.

The fixture ``popen`` of conftest.py runs it as a script and tells it over a socket what to start. A forked
process runs its command line as a new interpreter would, and ends as one does: it has the folder, the
environment, the files and the signals that it is given, the streams and the ``__main__`` of its own, and
no thread, no socket and no seed of this process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import types
from typing import Any

# What a training imports, but for that which reads the environment while it is imported.
IMPORTED = [
    *("torch.distributed", "elboroom.cli.main", "elboroom.cli.training_run", "elboroom.runs.run"),
    *("elboroom.training.loop", "elboroom.training.step.whole", "elboroom.training.together.train"),
]
STREAMS = 3
LARGEST = 1 << 20


def serve(control: socket.socket) -> dict[str, Any]:
    """Fork a process for each request and tell how each ends. Returns in a forked process only."""
    answers: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the tests
    while True:
        ready = select.select([control, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(answers):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with answers.pop(pid) as answer, contextlib.suppress(OSError):
                        answer.send(str(status).encode())
        if control not in ready:
            continue
        message, files, _, _ = socket.recv_fds(control, LARGEST, STREAMS + 1)
        if not message:
            sys.exit()
        if threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
            sys.exit("a process with threads cannot be forked")
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            for number, file in enumerate(files[:STREAMS]):
                os.dup2(file, number)
            request: dict[str, Any] = json.loads(message)
            return request
        for file in files[:STREAMS]:
            os.close(file)
        answers[pid] = socket.socket(fileno=files[STREAMS])
        answers[pid].send(str(pid).encode())


def become(request: dict[str, Any]) -> None:
    """Take on all that a new process has of its own."""
    os.closerange(STREAMS, 1 << 16)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    for name in os.environ.keys() - request["env"].keys():
        del os.environ[name]
    os.environ.update(request["env"])
    for name in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        ignored = name in request["ignored"]
        usual = signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL
        with contextlib.suppress(OSError):  # those that libc keeps
            signal.signal(name, signal.SIG_IGN if ignored else usual)
    for number, name in enumerate(["stdin", "stdout", "stderr"]):
        own = getattr(sys, name)
        buffering = 0 if number and own.write_through else -1
        binary = os.fdopen(number, "wb" if number else "rb", buffering, closefd=False)
        alike = {key: getattr(own, key) for key in ("encoding", "errors", "line_buffering", "write_through")}
        stream = io.TextIOWrapper(binary, **alike)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    random.seed()
    sys.modules["numpy"].random.seed()
    sys.modules["torch"].default_generator.seed()
    tempfile.tempdir = None


def run(words: list[str]) -> None:
    """Run what follows ``python`` on a command line: ``-m MODULE``, ``-c CODE`` or a script."""
    kind, rest = (words[0], words[1:]) if words[0] in ("-m", "-c") else ("", words)
    sys.argv = [kind or rest[0], *rest[1:]]
    sys.path.insert(0, {"-m": os.getcwd(), "-c": "", "": os.path.dirname(rest[0])}[kind])  # noqa: PTH109, PTH120
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    for each in IMPORTED:
        importlib.import_module(each)
    gc.freeze()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    become(asked)
    run(asked["words"])

"""Interleaved rounds (A B C, A B C, …), with each program in a warm process of its own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import psutil
from benchmarks.engine.cases import Case
from benchmarks.engine.images import image_file
from benchmarks.engine.programs import PROGRAMS
from benchmarks.engine.summary import spread

ROOT = Path(__file__).parents[2]
# Enough to show the shape of the scaling curves.
_SCALING_ROUNDS = 3
# Bytes that all programs together need for one number of the data: uint8 and float copies, and temporary
# memory while they are made.
_BYTES_PER_NUMBER = 16
_LOG_TAIL = 300


class Worker:
    """The process of a program; ``absent`` says why it does not run."""

    def __init__(self, program: str, device: str):
        self.program, self.device = program, device
        self.version: str | None = None
        self.threads: int | None = None
        self.absent: str | None = None
        self._log: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        # In a session of its own, so that on Ctrl-C the parent ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine.worker", program, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def greet(self) -> None:
        """Wait until the process has imported its modules."""
        hello = self._answer()
        self.version, self.threads = hello.get("version"), hello.get("threads")
        self.absent = hello.get("absent")

    def ask(self, order: Any) -> dict[str, Any]:
        """Send an order and wait for the answer, which has ``absent`` if the process died."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer says what happened
            print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._log.seek(0)
        said = " ".join(self._log.read().split())[-_LOG_TAIL:]
        return {"absent": f"its process ended with code {self._process.wait()}: {said}"}

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """Processor time used so far, in seconds."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Workers:
    """One warm process for each program, started on first use and restarted if it died."""

    def __init__(self, device: str):
        self.device = device
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.close()

    def get(self, programs: Iterable[str]) -> list[Worker]:
        """Return the workers of these programs, ready or absent."""
        fresh = []
        for program in programs:
            old = self._workers.get(program)
            if old is not None and (old.alive or old.version is None):
                continue
            if old is not None:
                old.close()
            self._workers[program] = Worker(program, self.device)
            fresh.append(self._workers[program])
        for worker in fresh:
            worker.greet()
        return [self._workers[program] for program in programs]

    def versions(self) -> dict[str, str | None]:
        """Program → version, or None if it is absent."""
        return {name: worker.version for name, worker in self._workers.items()}

    def threads(self) -> int | None:
        """Number of threads of the torch programs."""
        return next((w.threads for w in self._workers.values() if w.threads), None)


def measure(
    case: Case,
    workers: Workers,
    *,
    rounds: int,
    seconds: float,
    folder: Path,
    programs: Sequence[str] = tuple(PROGRAMS),
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Measure a case in interleaved rounds, with each of its programs that is in ``programs``.

    Parameters
    ----------
    rounds : int
        Turns of each program.
    seconds : float
        What one turn should take.
    folder : Path
        Where the images are or will be.

    Returns
    -------
    list of dict
        A row per program, as :func:`row_of` makes it, in the order of ``PROGRAMS``; one for which the
        program is missing or failed holds ``absent``, the reason.
    """
    chosen = [name for name in PROGRAMS if name in case.programs and name in programs]
    short = _short_of_memory(case)
    if short:
        return [_row(case, workers.device, name) | {"absent": short} for name in chosen]
    images = str(image_file(folder, case.net.shape, case.examples))
    order = {"case": case.to_json(), "images": images, "seconds": seconds}
    absent: dict[str, str] = {}
    ready: list[Worker] = []
    for worker in workers.get(chosen):
        answer: dict[str, Any] = {"absent": worker.absent} if worker.absent else worker.ask(order)
        if "absent" in answer:
            absent[worker.program] = answer["absent"]
            say(f"  {worker.program}: {answer['absent']}")
        else:
            ready.append(worker)
    pieces, idle = _take_turns(ready, min(rounds, _SCALING_ROUNDS) if case.group == "scaling" else rounds)
    rows = []
    for name in chosen:
        took = pieces.get(name, [])
        lost = absent.get(name) or next((piece["absent"] for piece in took if "absent" in piece), None)
        rows.append(_row(case, workers.device, name) | ({"absent": lost} if lost else row_of(case, took)))
        rows[-1]["cores_used_by_idle_programs"] = round(idle, 3)
    return rows


def _take_turns(workers: list[Worker], rounds: int) -> tuple[dict[str, list[dict[str, Any]]], float]:
    """Return each program's answers, and the most cores that waiting programs kept busy during a turn."""
    pieces: dict[str, list[dict[str, Any]]] = {worker.program: [] for worker in workers}
    idle = 0.0
    for _ in range(rounds):
        for worker in workers:
            others = [other for other in workers if other is not worker]
            before = sum(other.cpu_seconds() for other in others)
            answer = worker.ask("piece")
            pieces[worker.program].append(answer)
            spent = sum(other.cpu_seconds() for other in others) - before
            idle = max(idle, spent / answer.get("seconds", math.inf))
    for worker in workers:
        worker.ask("over")
    return pieces, idle


def row_of(case: Case, pieces: list[dict[str, float]]) -> dict[str, Any]:
    """Summarise one program: images/s with median and spread, and the time for ``case.per`` images."""
    speeds = spread(piece["images"] / piece["seconds"] for piece in pieces)
    row: dict[str, Any] = {
        "images_per_second": speeds,
        "seconds": case.per / speeds["median"],
        "images_per_round": pieces[0]["images"],
        "megabytes": pieces[-1]["megabytes"],
    }
    if "flops" in pieces[0]:
        row["gigaflops_per_second"] = spread(piece["flops"] / piece["seconds"] / 1e9 for piece in pieces)
    if "optimizer_seconds" in pieces[0]:
        both = spread(piece["images"] / (piece["seconds"] + piece["optimizer_seconds"]) for piece in pieces)
        row["images_per_second_with_optimizer"] = both
        row["copy_gigabytes_per_second"] = spread(piece["copy_bytes_per_second"] / 1e9 for piece in pieces)
    return row


def _row(case: Case, device: str, program: str) -> dict[str, Any]:
    return {"device": device, "case": case.name, "program": program}


def _short_of_memory(case: Case) -> str | None:
    needed = case.examples * math.prod(case.net.shape) * _BYTES_PER_NUMBER
    free = psutil.virtual_memory().available
    if needed <= free:
        return None
    return f"needs about {needed / 1e9:.1f} GB for all programs together, and {free / 1e9:.1f} GB are free"


def environment() -> dict[str, str]:
    """Return the environment variables set for threads and libraries."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "XLA_FLAGS", "LD_PRELOAD")
    return {name: os.environ[name] for name in names if name in os.environ}

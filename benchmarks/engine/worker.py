"""Run one program in a process of its own, on orders that arrive through a pipe.

``python -m benchmarks.engine.worker PROGRAM DEVICE`` answers each line of JSON with one line. It first sends
its version, or the reason for which it is absent. It answers a case once it is warm, ``"piece"`` with the
time that the piece took, and ``"over"`` when it is ready for the next case.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from benchmarks.engine.cases import Case
from benchmarks.engine.programs import PROGRAMS, Absent, DoTask, Enough, Job

# A shorter trial says little about a program's speed.
_TRIAL_SECONDS = 0.1
_MOST_GROWTH = 16
_FIELDS = {"now": "VmRSS", "peak": "VmHWM"}


def main() -> None:
    """Serve until the pipe is closed."""
    program, device = sys.argv[1:]
    # Send what programs print to the log, not among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        module = importlib.import_module(f"benchmarks.engine.programs.{PROGRAMS[program][0]}")
    except ModuleNotFoundError as error:
        install = "pip install -c constraints.txt -e '.[bench]'"
        _say(answers, {"absent": f"{error.name} is not installed: {install}"})
        return
    _say(answers, {"version": module.VERSION, "threads": _threads()})
    for line in sys.stdin:
        order = json.loads(line)
        job = Job(Case.from_json(order["case"]), order["images"], device, program)
        try:
            serve(module.TASKS[job.case.task], job, order["seconds"], answers, sys.stdin)
        except Absent as why:
            _say(answers, {"absent": str(why)})
        except Exception as error:
            _say(answers, {"absent": f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"})


def serve(task: DoTask, job: Job, seconds: float, answers: TextIO, orders: TextIO) -> None:
    """Find how many images take ``seconds``, warm up, and process as many per piece until ``"over"``."""
    count = piece_size(task, job, seconds)
    warm = False

    def done(images: int, seconds: float, **further: float) -> None:
        nonlocal warm
        answer = {
            "images": images,
            "seconds": seconds,
            "megabytes": (megabytes() or {}).get("now"),
            **further,
        }
        _say(answers, answer if warm else {"ready": count})
        warm = True
        if orders.readline().strip() != '"piece"':
            raise Enough

    _until_enough(task, job, count, done)
    _say(answers, {"over": True})


def piece_size(task: DoTask, job: Job, seconds: float) -> int:
    """Return how many images take about ``seconds``, from trials that grow until one is long enough."""
    count = job.case.batch * 2 if job.case.task == "train" else min(8, job.case.examples)
    while True:
        images, took = _trial(task, job, count)
        wanted = max(1, round(images * seconds / took))
        if took >= min(_TRIAL_SECONDS, seconds) or images > count or _is_whole(job, images):
            break
        count = min(wanted, count * _MOST_GROWTH)
    return min(wanted, job.case.examples) if job.case.task != "train" else max(wanted, job.case.batch)


def _is_whole(job: Job, images: int) -> bool:
    return job.case.task != "train" and images >= job.case.examples


def _trial(task: DoTask, job: Job, count: int) -> tuple[int, float]:
    """Return images and seconds of the second piece; the first warms up."""
    pieces: list[tuple[int, float]] = []

    def done(images: int, seconds: float, **further: float) -> None:
        pieces.append((images, seconds))
        if len(pieces) == 2:
            raise Enough

    _until_enough(task, job, count, done)
    return pieces[-1]


def _until_enough(task: DoTask, job: Job, count: int, done: Any) -> None:
    try:
        task(job, count, done)
    except Enough:
        return
    raise RuntimeError(f"{job.program} ended by itself")


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _threads() -> int | None:
    """Return the number of torch's threads, if the program uses torch."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def megabytes() -> dict[str, float] | None:
    """Return the process's memory ``now`` and its ``peak``, or None where the system does not report them.

    ``getrusage`` would include the parent's memory at the time of the fork.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {name: int(lines[field].split()[0]) / 1024 for name, field in _FIELDS.items()}


if __name__ == "__main__":
    main()

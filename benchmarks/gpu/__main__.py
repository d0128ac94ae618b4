"""``python -m benchmarks.gpu``: run all tests and measurements that want a GPU, each within its time.

It writes a JSON file and a table with the name of the GPU. The exit code is 1 if a part failed or ran out of
time, and 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.engine.machine import machine
from benchmarks.gpu.report import markdown

from elboroom.io.files import write_atomic

ROOT = Path(__file__).parents[2]
_LINES = 15  # of the output of a part that failed
_SECONDS = 590  # for all parts


@dataclass(frozen=True)
class Part:
    """A program that is run by itself, so that a fault of the device ends nothing else.

    Attributes
    ----------
    command : list of str
        Arguments of Python; OUT stands for the JSON file that it writes.
    limit : int
        Seconds after which it is killed, or earlier if there are not so many left.
    environment : dict
        Variables that it gets beside those of this process.
    """

    command: list[str]
    limit: int
    environment: dict[str, str]


# One line for each test, so that the names of those that failed are known even if time runs out.
_PYTEST = ["-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider"]
_PYTEST += ["--numprocesses", "logical", "--dist", "worksteal"]
_FAILED = re.compile(r"^\[gw\d+\] \[ *\d+%\] (?:FAILED|ERROR) (.*\S)\s*$", re.MULTILINE)
PARTS = {
    "recipes": Part(["-m", "benchmarks.gpu.recipes", "--out", "OUT"], 150, {}),
    "evaluation": Part(["-m", "benchmarks.gpu.evaluation", "--out", "OUT"], 40, {}),
    "activations": Part(["benchmarks/activations.py", "--device", "cuda", "--out", "OUT"], 45, {}),
    "engine": Part(
        [
            *("-m", "benchmarks.engine", "--quick", "--device", "cuda"),
            *("--cases", "mlp,conv,nll,embed", "--out", "OUT"),
        ],
        115,
        {},
    ),
    "tests": Part(
        _PYTEST, _SECONDS, {"ELBOROOM_TEST_CUDA": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    ),
}


def missing_gpu() -> str | None:
    """Say in one line what is missing to use a GPU; None if nothing is."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is built without CUDA; on a machine with an NVIDIA GPU run "
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130"
        )
    return (
        f"torch {torch.__version__} finds no GPU; it needs an NVIDIA GPU and a driver for CUDA "
        f"{torch.version.cuda} (nvidia-smi lists both), and CUDA_VISIBLE_DEVICES must not hide it"
    )


def run(part: Part, folder: Path, limit: float) -> dict[str, Any]:
    """Run a part and return what it wrote, its time, its last lines and whether all is well."""
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, *(str(out) if word == "OUT" else word for word in part.command)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    began, log = time.perf_counter(), folder / "log.txt"
    with log.open("w") as lines:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, **part.environment},
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its own children can be killed with it
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill(process)
    found: dict[str, Any] = {"ok": code == 0, "seconds": time.perf_counter() - began, "exit_code": code}
    if code is None:
        found["why"] = f"not done within {limit:.0f} s"
    found["result"] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else None
    if "-m benchmarks.gpu" not in " ".join(part.command) or code != 0:
        text = log.read_text(encoding="utf-8", errors="replace")
        found["last_lines"] = text.splitlines()[-_LINES:]
        found["failed"] = sorted(set(_FAILED.findall(text)))
    return found


def _kill(process: subprocess.Popen[Any]) -> None:
    """End a part and all processes that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the parts and write the results; each is written when it is there."""
    asked = arguments(argv)
    missing = missing_gpu()
    if missing is not None:
        print(f"no GPU: {missing}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    result: dict[str, Any] = {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}
    result |= {"cuda": torch.version.cuda, "machine": machine(), "parts": {}}
    with tempfile.TemporaryDirectory(prefix="elboroom-gpu-") as folder:
        for name in asked.parts:
            gone = time.perf_counter() - began
            limit = max(1.0, min(PARTS[name].limit, _SECONDS - gone))
            print(f"{gone:4.0f} s  {name}, up to {limit:.0f} s", flush=True)
            result["parts"][name] = run(PARTS[name], Path(folder), limit)
            result["ok"] = all(part["ok"] for part in result["parts"].values())
            result["seconds"] = time.perf_counter() - began
            write_atomic(asked.out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
            write_atomic(asked.out.with_suffix(".md"), markdown(result))
    print(markdown(result))
    return int(not result["ok"])


if __name__ == "__main__":
    sys.exit(main())

"""Made-up rows and results, with numbers that are easy to divide."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The benchmarks are no part of the package; they are found beside it.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.engine.cases import GROUPS, Case, make_cases
from benchmarks.engine.report import absences
from benchmarks.engine.rounds import row_of
from benchmarks.engine.summary import comparisons, spread, targets

SPEEDS = {
    "elboroom": 3000.0,
    "elboroom-fp32": 2000.0,
    "elboroom-compiled": 2500.0,
    "pythae": 1000.0,
    "plain": 1500.0,
    "plain-bf16": 1500.0,
    "jax": 2500.0,
    "products": 3750.0,
    "products-fp32": 2500.0,
}


def _row(case: Case, program: str, *, device: str = "cpu") -> dict[str, Any]:
    """Two rounds, 10 % apart; the products' copying takes as long as a quarter of the products."""
    pieces: list[dict[str, float]] = [
        {"images": 100, "seconds": factor * 100 / SPEEDS[program], "megabytes": 500.0}
        for factor in (1.0, 1.1)
    ]
    if program.startswith("products"):
        for piece in pieces:
            piece["flops"] = 1e9
            piece["optimizer_seconds"], piece["copy_bytes_per_second"] = piece["seconds"] / 4, 1e10
    return {"device": device, "case": case.name, "program": program} | row_of(case, pieces)


def _result(*, absent: str | None = None) -> dict[str, Any]:
    """A whole result in which one program may be missing."""
    cases = make_cases(GROUPS)
    rows = []
    for case in cases:
        for program in case.programs:
            row = _row(case, program)
            if program == absent:
                row = {key: row[key] for key in ("device", "case", "program")}
                row["absent"] = f"{program} is not installed"
            rows.append(row)
    seconds = {"torch": 2.0, "elboroom, the name alone": 0.02, "elboroom": 2.5, "pythae": 3.0, "jax": 0.7}
    result: dict[str, Any] = {
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "flags": ["avx2"],
            "gpu": None,
            "python": "3.11.7",
            "load_average": [0.1, 0.1, 0.1],
            "date": "2025-01-01T00:00:00+00:00",
        },
        "settings": {"rounds": 2, "threads": 2, "images": ["28×28×1: random pixels"]},
        "versions": dict.fromkeys(SPEEDS, "1.0"),
        "cases": [case.to_json() for case in cases],
        "rows": rows,
        "start": {
            "import_seconds": {name: spread([value]) for name, value in seconds.items()},
            "import_modules": {"torch": 2.0, "elboroom": 0.2, "others": 0.3, "total": 2.5},
            "first_step_command": "elboroom train digits",
            "first_step_seconds": spread([4.0, 4.5]),
            "peak_megabytes": {"import torch": 220.0, "elboroom": 420.0, "pythae": 610.0, "plain": 555.0},
            "memory_over_torch": {"elboroom": 200.0, "pythae": 390.0, "plain": 335.0},
        },
    }
    result["comparisons"] = comparisons(rows)
    result["absent"] = absences(rows)
    result["targets"] = targets(result)
    return result


@pytest.fixture
def made_row() -> Callable[..., dict[str, Any]]:
    """``made_row(case, program, device="cpu")``."""
    return _row


@pytest.fixture
def made_result() -> Callable[..., dict[str, Any]]:
    """``made_result(absent=None)``."""
    return _result

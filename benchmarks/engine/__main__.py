"""``python -m benchmarks.engine``: measure, and write JSON, a Markdown table and a picture."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.engine.cases import GROUPS, make_cases
from benchmarks.engine.images import describe_images
from benchmarks.engine.machine import gpu, machine
from benchmarks.engine.page import BEGIN, END, has_place, write_into
from benchmarks.engine.picture import draw
from benchmarks.engine.programs import PROGRAMS
from benchmarks.engine.report import absences, markdown
from benchmarks.engine.rounds import Workers, environment, measure
from benchmarks.engine.startup import measure_start
from benchmarks.engine.summary import comparisons, targets

_SECONDS, _QUICK_SECONDS = 1.2, 0.3
_ROUNDS, _QUICK_ROUNDS = 5, 2


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument(
        "--cases",
        default=",".join(GROUPS),
        help="groups of cases, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--programs", default=",".join(PROGRAMS), help="programs, separated by commas (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, help=f"number of turns for each program (default: {_ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"length of a turn in seconds (default: {_SECONDS})")
    parser.add_argument("--quick", action="store_true", help="measure a few cases in short turns")
    parser.add_argument(
        "--device",
        choices=("all", "cpu", "cuda"),
        default="all",
        help="device to measure (default: all available)",
    )
    parser.add_argument("--out", type=Path, help="JSON file; .md and .png are written beside it")
    parser.add_argument("--docs", type=Path, help="page whose short table is written anew")
    chosen = parser.parse_args(argv)
    for name, known in (("cases", GROUPS), ("programs", tuple(PROGRAMS))):
        words = [word for word in getattr(chosen, name).split(",") if word]
        unknown = [word for word in words if word not in known]
        if unknown or not words:
            parser.error(f"--{name} {getattr(chosen, name)!r}: choose from {', '.join(known)}")
        setattr(chosen, name, words)
    usual = (_QUICK_ROUNDS, _QUICK_SECONDS) if chosen.quick else (_ROUNDS, _SECONDS)
    chosen.rounds = usual[0] if chosen.rounds is None else chosen.rounds
    chosen.seconds = usual[1] if chosen.seconds is None else chosen.seconds
    if chosen.rounds < 1 or chosen.seconds <= 0:
        parser.error("--rounds must be at least 1 and --seconds above 0")
    if chosen.docs is not None and not has_place(chosen.docs):
        parser.error(f"--docs {str(chosen.docs)!r}: it needs the lines {BEGIN} and {END} around the table")
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Measure the chosen cases; return 1 if elboroom itself failed in any of them."""
    chosen = arguments(argv)
    began = time.perf_counter()
    about = machine()
    devices = ["cpu", *(["cuda"] if about["gpu"] else [])] if chosen.device == "all" else [chosen.device]
    if devices == ["cuda"] and gpu() is None:
        print("--device cuda: torch sees no GPU here; use --device cpu", file=sys.stderr)
        return 2
    cases = make_cases(chosen.cases, quick=chosen.quick)
    result: dict[str, Any] = {"machine": about, "versions": {}, "rows": []}
    result["settings"] = {
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "quick": chosen.quick,
        "threads": None,
        "environment": environment(),
        "images": [f"{'×'.join(map(str, s))}: {describe_images(s)}" for s in {c.net.shape: 0 for c in cases}],
    }
    result["cases"] = [case.to_json() for case in cases]
    with tempfile.TemporaryDirectory(prefix="elboroom-bench-") as folder:
        for device in devices:
            with Workers(device) as workers:
                for case in cases:
                    _say(f"{time.perf_counter() - began:5.0f} s  {device}  {case.name}")
                    result["rows"] += measure(
                        case,
                        workers,
                        rounds=chosen.rounds,
                        seconds=chosen.seconds,
                        folder=Path(folder),
                        programs=chosen.programs,
                        say=_say,
                    )
                result["versions"] |= workers.versions()
                result["settings"]["threads"] = workers.threads()
        if "start" in chosen.cases and "cpu" in devices:
            _say(f"{time.perf_counter() - began:5.0f} s  start")
            result["start"] = measure_start(rounds=min(3, chosen.rounds), folder=Path(folder), say=_say)
    result["comparisons"] = comparisons(result["rows"])
    result["absent"] = absences(result["rows"])
    result["targets"] = targets(result)
    result["minutes"] = round((time.perf_counter() - began) / 60, 1)
    print(markdown(result))
    if chosen.out is not None:
        write(result, chosen.out, devices)
    if chosen.docs is not None:
        write_into(chosen.docs, result)
    return int(any("absent" in row and row["program"] == "elboroom" for row in result["rows"]))


def write(result: dict[str, Any], out: Path, devices: list[str]) -> None:
    """Write the JSON, the table as .md and a .png for each device beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    for device in devices:
        name = out.stem if device == "cpu" else f"{out.stem}-{device}"
        draw(result, out.with_name(f"{name}.png"), device)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

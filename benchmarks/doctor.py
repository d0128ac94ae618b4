"""How often does the doctor find what is wrong, and how often does it find what is not?

Diseases are planted by training, and what it advises is done; recipes are trained as they are. Finished rows
and runs are kept, so that a benchmark which was stopped goes on where it was::

    python -m benchmarks.doctor --out benchmarks/results/doctor.json --runs /tmp/doctor-runs
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from benchmarks.diseases import PLANTED, Clinic, Planted, elbo

import elboroom
from elboroom import load_data
from elboroom.doctor import Diagnosis
from elboroom.io.files import json_text, write_atomic
from elboroom.objectives.recipes import RECIPES, recipe

_KINDS = ("planted", "recipes")
Row = dict[str, Any]


def planted(clinic: Clinic, case: Planted, seed: int) -> Row:
    """Plant a disease, examine the run, take what is advised against it, and examine that run."""
    data, config = case.data(seed), case.config(seed)
    name = f"{case.data.__name__}-{seed}"
    sick, found = clinic.examined(name, data, config)
    row: Row = {
        "named": case.name in _names(found),
        "others": [one for one in _names(found) if one != case.name],
    }
    if not row["named"]:
        return row
    change = next(one.change for one in found.findings if one.disease == case.name)
    cured, after = clinic.examined(name, data, config.updated(**change))
    row |= {"change": dict(change), "cured": case.name not in _names(after), "after": _names(after)}
    if case.helps:
        (worse, error), (better, other) = elbo(sick, data), elbo(cured, data)
        row["elbo"] = {"sick": worse, "cured": better, "error": math.hypot(error, other)}
    return row


def healthy(clinic: Clinic, name: str, seed: int) -> Row:
    """Train a recipe with its defaults on digits, and list what is said of it."""
    run, found = clinic.examined(f"{name}-digits", load_data("digits"), recipe(name).updated(seed=seed))
    rows = run.history
    said, notes = (
        [{"disease": one.disease, "evidence": one.evidence, "change": dict(one.change)} for one in part]
        for part in (found.findings, found.notes)
    )
    return {"findings": said, "notes": notes, "steps": rows[-1]["step"], "rate": rows[-1]["rate"]}


def _names(found: Diagnosis) -> list[str]:
    return [one.disease for one in found.findings]


def table(rows: dict[str, dict[str, Row]]) -> str:
    """Write the counts as Markdown: each planted disease, and each recipe of which something was said.

    Plantings were chosen on seed 0, so that the others alone tell how often a disease is found.
    """
    lines = [
        "| planted | named, seed 0 | named, other seeds | other names | cured |",
        "|---|---|---|---|---|",
    ]
    cases = _by_case(rows["planted"])
    lines += [_line(case, seen) for case, seen in cases.items()]
    lines.append(
        _line("**all**", {f"{case}; {seed}": row for case, of in cases.items() for seed, row in of.items()})
    )
    lines += ["", "| recipe | trainings | findings | notes |", "|---|---|---|---|"]
    silent: list[str] = []
    for name, of in _by_case(rows["recipes"]).items():
        found = [one["disease"] for row in of.values() for one in row["findings"]]
        notes = [one["disease"] for row in of.values() for one in row["notes"]]
        if found or notes:
            lines.append(f"| `{name}` | {len(of)} | {_counted(found)} | {_counted(notes)} |")
        else:
            silent += [name] * len(of)
    lines.append(f"| {len(set(silent))} others | {len(silent)} | | |")
    return "\n".join(lines)


def _by_case(rows: dict[str, Row]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for key, row in rows.items():
        case, seed = key.rsplit("; seed ", 1)
        found.setdefault(case, {})[seed] = row
    return found


def _line(case: str, seen: dict[str, Row]) -> str:
    first = [row["named"] for seed, row in seen.items() if seed.split("; ")[-1] == "0"]
    later = [row["named"] for seed, row in seen.items() if seed.split("; ")[-1] != "0"]
    cured = [row["cured"] for row in seen.values() if row["named"]]
    others = _counted([name for row in seen.values() for name in row["others"]])
    counts = [f"{sum(part)} of {len(part)}" for part in (first, later, cured)]
    return f"| {case} | {counts[0]} | {counts[1]} | {others} | {counts[2]} |"


def _counted(names: list[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).items())


class Record:
    """Rows by kind and key in a JSON file, which is written after each of them."""

    def __init__(self, path: Path, *, afresh: bool) -> None:
        self.path = path
        empty: dict[str, dict[str, Row]] = {kind: {} for kind in _KINDS}
        self.rows = json.loads(path.read_text()) if path.exists() else empty
        self.old = {kind: set(self.rows[kind]) if afresh else set() for kind in _KINDS}

    def add(self, kind: str, key: str, make: Callable[[], Row]) -> None:
        """Make a row, unless there is one."""
        if key in self.rows[kind] and key not in self.old[kind]:
            return
        began = time.process_time()
        row = make()
        row |= {"cpu_seconds": round(time.process_time() - began, 1), "version": elboroom.__version__}
        self.rows[kind][key] = row
        self.old[kind].discard(key)
        text = {kind: dict(sorted(self.rows[kind].items())) for kind in _KINDS}
        write_atomic(self.path, json_text(text, indent=2) + "\n")
        print(kind, key, {name: value for name, value in row.items() if name != "version"}, flush=True)


def main() -> None:
    """Add all rows that are asked for and are not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--runs", type=Path, default=Path("doctor-runs"), help="folder of the trainings, which are kept"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=_KINDS)
    parser.add_argument("--cases", nargs="+", help="diseases or recipes; all by default")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no row after so many")
    parser.add_argument("--afresh", action="store_true", help="examine again where there is a row")
    parser.add_argument("--table", action="store_true", help="print the tables of the rows that are there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        print(table(json.loads(asked.out.read_text())))
        return
    warnings.simplefilter("ignore")
    clinic, record = Clinic(asked.runs), Record(asked.out, afresh=asked.afresh)
    until = time.monotonic() + 60 * asked.minutes
    for kind, key, make in _work(clinic, asked.seeds, asked.cases):
        if asked.only not in (None, kind):
            continue
        if time.monotonic() > until:
            break
        record.add(kind, key, make)


def _work(
    clinic: Clinic, seeds: list[int], cases: list[str] | None
) -> Iterable[tuple[str, str, Callable[[], Row]]]:
    for seed in seeds:
        for name, case in PLANTED.items():
            if cases is None or name in cases:
                yield (
                    "planted",
                    f"{name}; seed {seed}",
                    lambda case=case, seed=seed: planted(clinic, case, seed),
                )
    for seed in seeds:
        for name in RECIPES:
            if cases is None or name in cases:
                yield (
                    "recipes",
                    f"{name}; seed {seed}",
                    lambda name=name, seed=seed: healthy(clinic, name, seed),
                )


if __name__ == "__main__":
    main()

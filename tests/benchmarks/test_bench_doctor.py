"""Counts of the doctor: the published tables are those of the rows, which are kept and added to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.doctor import Record, table

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_docs_are_those_of_the_rows() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "doctor.json").read_text())
    page = (ROOT / "docs" / "doctor.md").read_text()
    assert all(part in page for part in table(rows).split("\n\n"))


def test_rows_are_counted_apart_from_those_of_the_seed_that_they_were_chosen_on() -> None:
    def row(named: bool, *others: str, **more: Any) -> dict[str, Any]:
        return {"named": named, "others": list(others), **more}

    planted = {
        "collapse; seed 0": row(True, "hole", cured=False),
        "collapse; seed 1": row(True, "hole", cured=True),
        "collapse; seed 2": row(False),
    }
    lines = table({"planted": planted, "recipes": {}}).splitlines()
    assert lines[2] == "| collapse | 1 of 1 | 1 of 2 | hole (2) | 1 of 2 |"


def test_finished_rows_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    Record(path, afresh=False).add("recipes", "vae; seed 0", lambda: {"rate": 1.0})
    again = Record(path, afresh=False)
    again.add("recipes", "vae; seed 0", lambda: {"rate": 2.0})
    again.add("recipes", "vae; seed 1", lambda: {"rate": 3.0})
    found = json.loads(path.read_text())["recipes"]
    assert {key: row["rate"] for key, row in found.items()} == {"vae; seed 0": 1.0, "vae; seed 1": 3.0}
    Record(path, afresh=True).add("recipes", "vae; seed 0", lambda: {"rate": 2.0})
    assert json.loads(path.read_text())["recipes"]["vae; seed 0"]["rate"] == 2.0

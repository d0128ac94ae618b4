"""The history of a run: a row of numbers for each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elboroom.errors import UsageError
from elboroom.io.files import parse_json


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Read the history.jsonl of a run, oldest epoch first; without the file, an empty list.

    Raises
    ------
    UsageError
        If a line is damaged or is not the row of an epoch.
    """
    path = folder / "history.jsonl"
    if not path.exists():
        return []
    fix = f"'elboroom resume {folder}' writes it again"
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        row = parse_json(line, f"{path}, line {number},", fix)
        epoch = row.get("epoch") if isinstance(row, dict) else None
        if not isinstance(epoch, int) or not all(map(_is_valid, row.values())):
            raise UsageError(f"{path}, line {number}, is damaged (not the row of an epoch); {fix}")
        rows.append(row)
    return rows


def _is_valid(value: object) -> bool:
    """Whether a row may hold a value: a number, a string, None, a number per layer, or reasons by name."""
    if isinstance(value, list):
        return all(part is None or isinstance(part, int | float) for part in value)
    if isinstance(value, dict):
        return all(isinstance(part, str) for part in value.values())
    return value is None or isinstance(value, int | float | str)

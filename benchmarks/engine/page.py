"""The short table of a result, and its place in a page of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engine.report import table
from benchmarks.engine.summary import OURS, speed_of

BEGIN, END = "<!-- engine: begin -->", "<!-- engine: end -->"
_RIVALS = {
    "pythae": "times Pythae",
    "plain": "times the plain loop",
    "plain-bf16": "times the plain loop in bf16",
    "jax": "times JAX",
}
_PRECISIONS = ("elboroom", "elboroom-fp32")


def has_place(page: Path) -> bool:
    """Whether a page has the two marks, in their order, between which the table goes."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    return -1 < text.find(BEGIN) < text.find(END)


def write_into(page: Path, result: dict[str, Any]) -> None:
    """Replace what is between the marks of a page by the short table."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n{short(result)}{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def short(result: dict[str, Any]) -> str:
    """Format one line for each case on the CPU, but those in which one size grows."""
    machine, rounds = result["machine"], result["settings"]["rounds"]
    versions = [f"{name} {result['versions'][name]}" for name in _RIVALS if result["versions"].get(name)]
    about = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['date'][:10]}, load before "
        f"{machine['load_average'][0]}; {', '.join(versions)}; medians of {rounds} interleaved rounds.\n"
    )
    head = ["case", "elboroom", *_RIVALS.values(), "products' share of the time"]
    lines = [_line(case, result) for case in result["cases"] if case["group"] != "scaling"]
    return f"\n{about}\n{table(head, [line for line in lines if line] + _memory(result))}\n"


def _line(case: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Cells of a case; those of evaluation are for bf16 and fp32."""
    rows = {
        row["program"]: row
        for row in result["rows"]
        if (row["device"], row["case"]) == ("cpu", case["name"]) and "absent" not in row
    }
    trains = case["group"] in ("mlp", "conv")
    ours = [rows[name] for name in (_PRECISIONS[:1] if trains else _PRECISIONS) if name in rows]
    if not ours:
        return []
    name = (
        f"{case['name']}, images/s" if trains else f"{case['name']}, {case['per']:,} images, s, bf16 / fp32"
    )
    values = [f"{speed_of(row):,.0f}" if trains else f"{row['seconds']:.3g}" for row in ours]
    times = [
        " / ".join(f"{speed_of(row) / speed_of(rows[rival]):.2f}" for row in ours) if rival in rows else "–"
        for rival in _RIVALS
    ]
    found = [
        entry for entry in result["comparisons"] if (entry["device"], entry["case"]) == ("cpu", case["name"])
    ]
    share = found[0]["share_of_products"].get(OURS) if found else None
    return [name, " / ".join(values), *times, "–" if share is None else f"{share:.0%}"]


def _memory(result: dict[str, Any]) -> list[list[str]]:
    over = result.get("start", {}).get("memory_over_torch", {})
    if OURS not in over:
        return []
    times = [f"{over[rival] / over[OURS]:.1f} less" if rival in over else "–" for rival in _RIVALS]
    return [["peak memory of MNIST training above `import torch`, MB", f"{over[OURS]:,.0f}", *times, "–"]]

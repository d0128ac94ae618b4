"""The records of what came out: written once, read for the list and the table."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from elboroom import __version__
from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure
from elboroom.io.files import read_json
from elboroom.reproduction.entry import TITLES, Entry

FORMAT = 1
_KEYS = {
    *("format", "name", "row", "paper", "arxiv", "setting", "departures", "shortened", "published", "ours"),
    *("margin", "reached", "seed", "epochs", "seconds", "machine", "version", "command"),
}


def record(
    entry: Entry,
    row: str,
    found: Measure,
    *,
    seed: int,
    epochs: int,
    shortened: bool,
    seconds: Mapping[str, float],
    device: torch.device,
    command: str,
) -> dict[str, Any]:
    """Put together what is kept of a result: setting, both figures, time, machine, version and command."""
    ours = found.as_json()
    return {
        "format": FORMAT,
        "name": entry.name,
        "row": row,
        "paper": entry.paper,
        "arxiv": entry.arxiv or None,
        "setting": entry.setting(row),
        "departures": list(entry.departures),
        "shortened": shortened,
        "published": {"value": entry.row(row).published, "unit": found.unit, "title": TITLES[entry.kind]},
        "ours": ours,
        "margin": entry.margin,
        "reached": entry.reached(row, found.value),
        "seed": seed,
        "epochs": epochs,
        "seconds": dict(seconds),
        "machine": machine(device),
        "version": __version__,
        "command": command,
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine: processor, cores, the threads that were used, and versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Name of the processor, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        found = re.search(
            r"^model name\s*:\s*(.+)$", path.read_text(encoding="utf-8", errors="replace"), re.M
        )
        if found is not None:
            return found[1].strip()
    return platform.processor() or platform.machine()


def read_record(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises
    ------
    UsageError
        If it is damaged or none.
    """
    found = read_json(path, "remove it, and 'elboroom reproduce' measures again")
    if not isinstance(found, dict) or _KEYS - found.keys():
        raise UsageError(f"{path} is not a record of a published result; remove it")
    if found["format"] != FORMAT:
        raise UsageError(f"{path} has format {found['format']!r}; this version reads {FORMAT}")
    return found


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read all records of a folder, by name."""
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def settings(entries: Mapping[str, Entry]) -> str:
    """Write what each entry trains, where its figures stand and what is measured, as a Markdown table."""
    lines = ["| name | setting | figures from | measured by |", "| --- | --- | --- | --- |"]
    for entry in entries.values():
        where = f"[{entry.paper}](https://arxiv.org/abs/{entry.arxiv})" if entry.arxiv else entry.paper
        how = f"{TITLES[entry.kind]}" + (f", {entry.samples:,} samples" if entry.kind == "nll" else "")
        lines.append(f"| `{entry.name}` | {entry.title} | {where} | {how} |")
    return "\n".join(lines)


def table(entries: Mapping[str, Entry], records: Sequence[Mapping[str, Any]]) -> str:
    """Write the published figures and what came out as a Markdown table; rows not run yet say so."""
    lines = [
        "| name | row | published | ours | seeds | epochs | hours | machine |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for entry in entries.values():
        for row in entry.rows:
            own = [one for one in records if (one["name"], one["row"]) == (entry.name, row)]
            lines.append(_line(entry, row, own))
    return "\n".join(lines)


def _line(entry: Entry, row: str, own: Sequence[Mapping[str, Any]]) -> str:
    start = f"| `{entry.name}` | `{row}` | {entry.row(row).published:g} |"
    if not own:
        return f"{start} not run yet | – | – | – | – |"
    ours = ", ".join(map(figure_of, own))
    epochs = ", ".join(dict.fromkeys(f"{one['epochs']:,}" for one in own))
    hours = sum(sum(one["seconds"].values()) for one in own) / 3600
    where = ", ".join(dict.fromkeys(_machine_in_words(one["machine"]) for one in own))
    seeds = ", ".join(str(one["seed"]) for one in own)
    return f"{start} {ours} | {seeds} | {epochs} | {hours:.2f} | {where} |"


def figure_of(one: Mapping[str, Any]) -> str:
    """Write our figure with its error, bold if it reaches the published one.

    Examples
    --------
    >>> ours = {"value": 86.789, "error": 0.004}
    >>> figure_of({"ours": ours, "reached": True, "shortened": False})
    '**86.79 ± 0.004**'
    """
    error = one["ours"]["error"]
    text = f"{one['ours']['value']:.2f}" + ("" if error is None else f" ± {error:.1g}")
    text = f"**{text}**" if one["reached"] else text
    return f"{text} (shortened)" if one["shortened"] else text


def _machine_in_words(machine: Mapping[str, Any]) -> str:
    threads = machine["threads"]
    used = "" if machine["device"] != "cpu" else f", {threads} thread" + ("s" if threads != 1 else "")
    return f"{machine['processor']}{used}"

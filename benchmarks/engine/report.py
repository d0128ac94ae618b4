"""Format a result as Markdown: machine, targets, and a table for each group of cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from benchmarks.engine.programs import PROGRAMS
from benchmarks.engine.summary import OURS, ROOFS

_TITLES = {
    "mlp": "Training MLPs, Bernoulli likelihood, Adam",
    "conv": "Training the convolutional nets",
    "nll": "Importance-sampled log-likelihood, 1,000 samples of each image",
    "embed": "Embedding 60,000 images",
    "scaling": "Training 784-1000-2 at batch 100, as one size grows",
}


def markdown(result: dict[str, Any]) -> str:
    """Format a whole result.

    Parameters
    ----------
    result : dict
        As ``benchmarks.engine.__main__`` writes it.
    """
    groups = {case["name"]: case["group"] for case in result["cases"]}
    parts = ["# Speed, start-up and memory\n", _about(result)]
    if result["absent"]:
        parts.append("\nNot measured:\n\n" + "".join(f"- {line}\n" for line in result["absent"]))
    if result["targets"]:
        parts.append(_targets(result["targets"]))
    pers = {case["name"]: case["per"] for case in result["cases"]}
    for (device, group), rows in itertools.groupby(
        result["rows"], key=lambda row: (row["device"], groups[row["case"]])
    ):
        parts.append(f"\n## {_TITLES[group]} ({device})\n\n" + _measured(list(rows), result, pers))
    if "start" in result:
        parts.append(_start(result["start"]))
    return "".join(parts)


def absences(rows: Iterable[dict[str, Any]]) -> list[str]:
    """List the programs that did not run, with one line for each program and reason.

    Examples
    --------
    >>> row = {"device": "cpu", "program": "jax", "absent": "jax is not installed"}
    >>> absences([row | {"case": "a"}, row | {"case": "b"}])
    ['JAX, cpu: jax is not installed (a, b)']
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        if "absent" in row:
            key = f"{PROGRAMS[row['program']][1]}, {row['device']}: {row['absent']}"
            found.setdefault(key, []).append(row["case"])
    return [f"{key} ({', '.join(cases)})" for key, cases in found.items()]


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Format a Markdown table with text in the first column and numbers in the others.

    Examples
    --------
    >>> print(table(["what", "how much"], [["a", "1"]]), end="")
    | what | how much |
    |---|---:|
    | a | 1 |
    """
    lines = [head, *rows]
    marks = "|---|" + "---:|" * (len(head) - 1)
    written = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([written[0], marks, *written[1:]]) + "\n"


def _about(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    flags = ", ".join(machine["flags"]) or "no flags known"
    gpu = f"; {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"\n{machine['cpu']}, {machine['cores']} cores ({flags}){gpu}; "
        f"Python {machine['python']}; {versions}; torch threads: {settings['threads']}; {machine['date']}; "
        f"load before {machine['load_average'][0]}.\n\n"
        f"Medians of {settings['rounds']} interleaved rounds (scaling: at most 3), in brackets the slowest "
        f"and the fastest. Images: {'; '.join(settings['images'])}.\n"
    )


def _targets(targets: list[dict[str, Any]]) -> str:
    def cells(target: dict[str, Any]) -> list[str]:
        unit, sign = target["unit"], "≤ " if target["at_most"] else "≥ "
        got = "not measured" if target["measured"] is None else f"{target['measured']:.3g}{unit}"
        met = {None: "–", True: "yes", False: "**no**"}[target["met"]]
        return [target["what"], f"{sign}{target['wanted']:g}{unit}", got, met]

    return "\n## Targets\n\n" + table(["what", "wanted", "measured", "met"], map(cells, targets))


def _measured(rows: list[dict[str, Any]], result: dict[str, Any], pers: dict[str, int]) -> str:
    compared = {(entry["device"], entry["case"]): entry for entry in result["comparisons"]}
    roofs = any(row["program"] in ROOFS.values() for row in rows)
    head = ["case and program", "images/s", "seconds", "elboroom is faster", "memory, MB"]
    if roofs:
        head += ["share of products", "share of products and optimiser"]
    lines = []
    for case, group in itertools.groupby(rows, key=lambda row: row["case"]):
        lines.append([f"**{case}**, seconds for {pers[case]:,} images", *[""] * (len(head) - 1)])
        for row in group:
            entry = compared[(row["device"], case)]
            lines.append(_line(row, entry) + (_shares(row, entry) if roofs else []))
    return table(head, lines)


def _line(row: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    program = row["program"]
    label = PROGRAMS[program][1]
    if "absent" in row:
        return [label, "absent, see above", "", "", ""]
    speed = row["images_per_second"]
    if "gigaflops_per_second" in row:
        label += f": {row['gigaflops_per_second']['median']:,.0f} GFLOP/s"
    times = entry["times_as_fast"].get(program)
    return [
        label,
        f"{_number(speed['median'])} ({_number(speed['min'])}–{_number(speed['max'])})",
        f"{row['seconds']:.3g}",
        f"{times:.2f}×" if times is not None and program != OURS else "",
        f"{row['megabytes']:,.0f}" if row["megabytes"] is not None else "",
    ]


def _number(value: float) -> str:
    """Format with about three significant figures and no exponent."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _shares(row: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    shares = (
        entry[kind].get(row["program"]) for kind in ("share_of_products", "share_of_products_and_optimizer")
    )
    return [f"{share:.0%}" if share is not None else "" for share in shares]


def _start(start: dict[str, Any]) -> str:
    def seconds(value: dict[str, Any]) -> list[str]:
        if "absent" in value:
            return [value["absent"], ""]
        return [f"{value['median']:.2f}", f"{value['min']:.2f}"]

    imports = table(
        ["import of", "seconds, median", "best"],
        ([name, *seconds(value)] for name, value in start["import_seconds"].items()),
    )
    modules = ", ".join(f"{name} {value:.2f} s" for name, value in start["import_modules"].items())
    over = {name: f"{mb:,.0f}" for name, mb in start["memory_over_torch"].items()}
    peaks = {
        name: f"{peak:,.0f}" if isinstance(peak, float) else peak or "not known here"
        for name, peak in start["peak_megabytes"].items()
    }
    memory = table(
        ["peak memory", "MB", "MB over import torch"],
        ([name, peak, over.get(name, "")] for name, peak in peaks.items()),
    )
    first = start["first_step_seconds"]
    return (
        f"\n## Start (cpu)\n\n{imports}\n"
        f"Modules that elboroom imports to train, by `-X importtime`: {modules}.\n\n"
        f"From `{start['first_step_command']}` to the end of its first step: {first['median']:.2f} s "
        f"({first['min']:.2f}–{first['max']:.2f}).\n\n{memory}"
    )

"""Draw a result: training speeds, the other tasks, cost against size, start-up and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmarks.engine.cases import curves
from benchmarks.engine.programs import PROGRAMS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

Rows = dict[str, dict[str, dict[str, Any]]]
"""Case → program → row, without rows of programs that did not run."""

COLORS = {
    "elboroom": "#0b6e4f",
    "elboroom-fp32": "#6fbf9b",
    "elboroom-compiled": "#3c9d7a",
    "pythae": "#d1495b",
    "plain": "#edae49",
    "plain-bf16": "#b07d2b",
    "jax": "#30638e",
    "products": "#222222",
    "products-fp32": "#9a9a9a",
}
_AXIS = {
    "data": "images in the data set",
    "width": "width of the hidden layer",
    "latent": "latent dimensions",
}
_BAR = 0.16


def draw(result: dict[str, Any], path: Path, device: str = "cpu") -> None:
    """Draw the results of one device; panels without results are left out."""
    rows: Rows = {}
    for row in result["rows"]:
        if row["device"] == device and "absent" not in row:
            rows.setdefault(row["case"], {})[row["program"]] = row
    panels = _panels(result, rows, device)
    if not panels:
        return
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(5.0 * columns, 3.5 * lines + 0.9), layout="constrained")
        for place, panel in enumerate(panels, 1):
            panel(figure.add_subplot(lines, columns, place))
        machine = result["machine"]
        where = machine["gpu"] if device == "cuda" else f"{machine['cpu']}, {machine['cores']} cores"
        figure.suptitle(f"elboroom beside other programs — {where}", fontsize=13)
        _legend(figure, rows)
        figure.savefig(path, dpi=130)


def _panels(result: dict[str, Any], rows: Rows, device: str) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    cases = [case for case in result["cases"] if case["name"] in rows]
    titles = dict.fromkeys(case["name"].rpartition(" B=")[0] for case in cases if case["group"] == "mlp")
    for title in titles:
        sizes = {c["batch"]: c["name"] for c in cases if c["name"].rpartition(" B=")[0] == title}
        panels.append(lambda axes, t=title, s=sizes: _training(axes, f"training {t}", s, rows))  # type: ignore[misc]
    tasks = [case["name"] for case in cases if case["group"] in ("conv", "nll", "embed")]
    if tasks:
        panels.append(lambda axes: _times(axes, tasks, rows))
    for name, points in curves().items():
        known = [(value, case) for value, case in points if case in rows]
        if len(known) > 1:
            panels.append(lambda axes, n=name, k=known: _curve(axes, n, k, rows))  # type: ignore[misc]
    shares = {
        entry["case"]: entry["share_of_products"]["elboroom"]
        for entry in result["comparisons"]
        if entry["device"] == device and "elboroom" in entry["share_of_products"]
    }
    if shares:
        panels.append(lambda axes: _shares(axes, shares))
    if "start" in result and device == "cpu":
        panels += [lambda axes: _start_up(axes, result["start"]), lambda axes: _memory(axes, result["start"])]
    return panels


def _error(row: dict[str, Any]) -> list[list[float]]:
    speed = row["images_per_second"]
    return [[speed["median"] - speed["min"]], [speed["max"] - speed["median"]]]


def _training(axes: Axes, title: str, sizes: dict[int, str], rows: Rows) -> None:
    """Draw images/s of every program at each batch size, with the roofline as lines above the bars."""
    bars = [p for p in PROGRAMS if not p.startswith("products") and any(p in rows[c] for c in sizes.values())]
    for place, case in enumerate(sizes.values()):
        for number, program in enumerate(bars):
            if program in rows[case]:
                row = rows[case][program]
                x = place + (number - (len(bars) - 1) / 2) * _BAR
                height = row["images_per_second"]["median"]
                axes.bar(x, height, _BAR * 0.92, color=COLORS[program], yerr=_error(row), ecolor="#555555")
        for roof in ("products", "products-fp32"):
            if roof in rows[case]:
                height = rows[case][roof]["images_per_second"]["median"]
                half = len(bars) * _BAR / 2
                axes.plot([place - half, place + half], [height] * 2, color=COLORS[roof], lw=2)
    axes.set_xticks(range(len(sizes)), [f"B = {size}" for size in sizes])
    axes.set(title=title, ylabel="images/s")
    axes.yaxis.set_major_formatter(FuncFormatter(_short))


def _times(axes: Axes, cases: list[str], rows: Rows) -> None:
    """Draw elboroom's speed relative to each other program, for tasks with few cases."""
    labels, number = [], 0
    for case in cases:
        if "elboroom" not in rows[case]:
            continue
        ours = rows[case]["elboroom"]["images_per_second"]["median"]
        for program in ("pythae", "plain", "plain-bf16", "jax"):
            if program in rows[case]:
                times = ours / rows[case][program]["images_per_second"]["median"]
                axes.barh(number, times, 0.8, color=COLORS[program])
                axes.annotate(f" {times:.1f}×", (times, number), va="center")
                labels.append((number, case.removesuffix(" B=64") if program == "pythae" else ""))
                number += 1
        number += 1
    axes.set_yticks([n for n, _ in labels], [text for _, text in labels])
    axes.tick_params(axis="y", length=0)
    axes.axvline(1, color="#555555", lw=1, ls=":")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title="how many times as fast elboroom is", xlabel="its images/s over theirs")


def _curve(axes: Axes, name: str, points: list[tuple[int, str]], rows: Rows) -> None:
    """Draw seconds for 60,000 images against one size, both on logarithmic axes."""
    for program, color in COLORS.items():
        known = [(v, rows[case][program]["seconds"]) for v, case in points if program in rows[case]]
        if known and not program.startswith("products"):
            axes.plot(*zip(*known, strict=True), "o-", color=color, ms=4)
    axes.set(xscale="log", yscale="log", ylabel="seconds for 60,000 images")
    axes.set_title(f"784-1000-2, B = 100: {_AXIS[name]}")
    axes.set_xticks([value for value, _ in points], [_short(value) for value, _ in points])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    low, high = axes.get_ylim()
    labelled = "25" if high > 5 * low else "23456789"
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: f"{y:g}" if f"{y:.0e}"[0] in labelled else ""))
    axes.grid(which="both", axis="y", color="#eeeeee")


def _start_up(axes: Axes, start: dict[str, Any]) -> None:
    bars = {
        f"import {name}": value["median"]
        for name, value in start["import_seconds"].items()
        if "absent" not in value and "alone" not in name
    }
    bars["elboroom's command\nto its first step"] = start["first_step_seconds"]["median"]
    _bars(axes, bars, "starting", "seconds", "{:.2f}")


def _shares(axes: Axes, shares: dict[str, float]) -> None:
    _bars(axes, shares, "matrix products' part of elboroom's time", "time of the products alone", "{:.0%}")
    axes.axvline(1, color="#555555", lw=1, ls=":")


def _memory(axes: Axes, start: dict[str, Any]) -> None:
    bars = {name: mb for name, mb in start["peak_megabytes"].items() if isinstance(mb, float)}
    _bars(axes, bars, "peak memory, training on MNIST", "MB", "{:,.0f}")


def _bars(axes: Axes, bars: dict[str, float], title: str, unit: str, style: str) -> None:
    names = list(bars)
    others = {"import torch": "#9a9a9a"}
    colors = [others.get(n) or COLORS.get(n.removeprefix("import "), COLORS["elboroom"]) for n in names]
    axes.barh(names, list(bars.values()), 0.7, color=colors)
    for number, value in enumerate(bars.values()):
        axes.annotate(" " + style.format(value), (value, number), va="center")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(axis="y", length=0)
    axes.set(title=title, xlabel=unit)


def _legend(figure: Figure, rows: Rows) -> None:
    seen = {program for by_program in rows.values() for program in by_program}
    handles: list[Any] = []
    for program, (_, label) in PROGRAMS.items():
        if program in seen:
            line = program.startswith("products")
            handles.append(mpl.lines.Line2D([], [], color=COLORS[program], lw=2 if line else 7, label=label))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False)


def _short(value: float, _: object = None) -> str:
    """Abbreviate 1000 as 1k and 1000000 as 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"

"""Draw elboroom's packages and their imports, read from the source files::

    python docs/draw_packages.py packages.png

Each package is drawn above everything it imports. Imports that follow from others are left out.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from elboroom.figures.style import FAINT, INK, PALETTE, canvas, panel, to_png

_WORDS = {
    "cli": "the command line",
    "comparison": "recipes side by side",
    "training": "step, loop, checkpoints",
    "figures": "plots, sheets, morphs",
    "evaluation": "numbers with errors",
    "latent": "paths, targets, codes",
    "objectives": "bounds, penalties, recipes",
    "runs": "the run folder",
    "models": "VAE, hierarchies, conditions",
    "networks": "mlp, conv, ladder",
    "probability": "posterior, prior, likelihood",
    "data": "sources, faces, batches",
    "config": "options of a run",
    "io": "atomic files, tensors",
    "distributed": "processes, shared noise",
    "errors": "two kinds of error",
}


def imports(root: Path) -> dict[str, set[str]]:
    """Return the packages below ``root`` that each of them imports."""
    names = {path.name for path in root.iterdir() if (path / "__init__.py").exists()}
    names |= {path.stem for path in root.glob("*.py")} - {"__init__", "__main__"}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for path in root.rglob("*.py"):
        own = path.relative_to(root).parts[0].removesuffix(".py")
        if own not in names:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("elboroom"):
                rest = (node.module or "").split(".")[1:]
                graph[own] |= {rest[0]} if rest else {alias.name for alias in node.names}
        graph[own] &= names - {own}
    return graph


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Return the level of each package: one above the highest level that it imports."""
    found: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((of(below) for below in graph[name]), default=-1)
        return found[name]

    for name in graph:
        of(name)
    return found


def direct(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out imports that follow from a longer path of imports."""

    def reach(name: str) -> set[str]:
        return graph[name] | {far for below in graph[name] for far in reach(below)}

    return {
        name: {b for b in below if not any(b in reach(o) for o in below - {b})}
        for name, below in graph.items()
    }


def draw(root: Path) -> Figure:
    """Draw the packages below ``root``, each on its level."""
    graph = imports(root)
    storey = floors(graph)
    rows = [
        sorted(name for name in graph if storey[name] == level) for level in range(max(storey.values()) + 1)
    ]
    width, height, wide, tall = 1500, 130 * len(rows) + 20, 270, 78
    figure = canvas(width, height)
    axes = panel(figure, 0, 0, width, height)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    middle = {
        name: ((k + 1) * width / (len(row) + 1), 75 + 130 * level)
        for level, row in enumerate(rows)
        for k, name in enumerate(row)
    }
    for name, below in direct(graph).items():
        for other in sorted(below - {"errors"}):  # which every package imports
            (x, y), (u, v) = middle[name], middle[other]
            axes.add_patch(
                FancyArrowPatch(
                    (x, y - tall / 2), (u, v + tall / 2), arrowstyle="-|>", mutation_scale=12, color="#999999"
                )
            )
    for name, (x, y) in middle.items():
        box = FancyBboxPatch((x - wide / 2, y - tall / 2), wide, tall, boxstyle="round,pad=0,rounding_size=8")
        box.set(facecolor="white", edgecolor=PALETTE[0] if storey[name] else FAINT, linewidth=1.2)
        axes.add_patch(box)
        axes.text(x, y + 14, name, ha="center", va="center", fontsize=11, color=INK, weight="bold")
        axes.text(x, y - 18, _WORDS.get(name, ""), ha="center", va="center", fontsize=8, color=INK)
    return figure


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(to_png(draw(Path(__file__).parents[1] / "src" / "elboroom")))

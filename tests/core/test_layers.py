"""Imports go one way only (DESIGN §3)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import elboroom

ROOT = Path(elboroom.__file__).parent

_BASE = {"errors", "config"}
_MODEL = _BASE | {"networks", "probability", "terms", "conditions", "conditional", "model"}
_RUN = _MODEL | {"files", "tensors", "data", "runs", "run"}
_VIEWS = {
    *("evaluation", "canvas", "plates", "walks", "targets", "morphs", "sheets", "conditional_sheets"),
    *("latent", "drawing", "latent_map", "figures", "traversals", "pictures", "gallery", "explorer"),
}
# among themselves: without a circle
_ANYTHING = None

# Each top-level module or package of elboroom, lowest first, and what it may import besides itself.
MAY_IMPORT: dict[str, set[str] | None] = {
    "errors": set(),
    "config": {"errors"},
    "files": {"errors"},
    "tensors": {"errors", "files"},
    "noise": set(),
    "conditions": {"errors"},
    "networks": _BASE | {"noise", "conditions"},
    "probability": _BASE | {"noise", "conditions"},
    "terms": _BASE | {"probability"},
    "conditional": {"errors", "conditions"},
    "model": _MODEL - {"model"},
    "hierarchies": _MODEL | {"noise"},
    "objectives": _MODEL | {"noise"},
    "data": {"errors", "files", "noise"},
    "haskell_weights": _BASE | {"model"},
    "runs": {"errors", "files", "tensors"},
    "run": _BASE | {"model", "data", "files", "tensors", "runs"},
    **dict.fromkeys(_VIEWS, _RUN | _VIEWS),
    "training": _RUN | {"objectives", "evaluation", "gallery", "noise"},
    "comparison": _RUN | {"objectives", "evaluation", "canvas", "training"},
    "estimator": _ANYTHING,
    "commands": _ANYTHING,
    "arguments": {"errors"},
    "data_verbs": _ANYTHING,
    "picture_verbs": _ANYTHING,
    "verbs": _ANYTHING,
    "cli": _ANYTHING,
    "__init__": _ANYTHING,
    "__main__": _ANYTHING,
}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING"


def _imports(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names that are imported anywhere under a node, inside functions too; not for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child):
            for otherwise in child.orelse:
                yield from _imports(ast.Module([otherwise], []), package)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) + 1 - child.level] if child.level else []
            start = ".".join([*base, *([child.module] if child.module else [])])
            yield from (f"{start}.{alias.name}" for alias in child.names)
        else:
            yield from _imports(child, package)


def layers_imported(source: str, package: list[str]) -> set[str]:
    """Top-level names of elboroom that a file's source imports; its ``package`` is for relative imports."""
    found = set()
    for name in _imports(ast.parse(source), package):
        root, *rest = name.split(".")
        if root == "elboroom" and rest != ["__version__"]:  # set before anything else in __init__
            found.add(rest[0] if rest and rest[0] in {*MAY_IMPORT, *LAYERS} else "__init__")
    return found


def _layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


LAYERS = {_layer(path) for path in ROOT.rglob("*.py")}


def _graph() -> dict[str, dict[str, list[str]]]:
    """What each layer imports, and in which files."""
    graph: dict[str, dict[str, list[str]]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        package = ["elboroom", *path.relative_to(ROOT).parts[:-1]]
        imports = graph.setdefault(_layer(path), {})
        for layer in layers_imported(path.read_text(encoding="utf-8"), package) - {_layer(path)}:
            imports.setdefault(layer, []).append(str(path.relative_to(ROOT)))
    return graph


@pytest.mark.parametrize("layer", sorted(_graph()))
def test_a_layer_imports_only_what_lies_below(layer: str) -> None:
    assert layer in MAY_IMPORT, (
        f"elboroom.{layer} has no place yet: add it to MAY_IMPORT in {Path(__file__).name} "
        "with what it may import, and to DESIGN.md's layout"
    )
    allowed = MAY_IMPORT[layer]
    if allowed is not None:
        above = {name: files for name, files in _graph()[layer].items() if name not in allowed}
        assert above == {}, f"elboroom.{layer} may import {sorted(allowed)} and imports {above}"


def test_layers_form_no_circle() -> None:
    graph = {layer: set(imports) for layer, imports in _graph().items()}
    while graph:  # take off what imports nothing that is left
        lowest = [layer for layer, imports in graph.items() if not imports & graph.keys()]
        assert lowest, f"these import each other in a circle: {graph}"
        for layer in lowest:
            del graph[layer]


def test_the_table_itself_has_a_direction() -> None:
    """Only the views may import each other, and nothing may import what stands on top."""
    order = list(MAY_IMPORT)
    top = {layer for layer, allowed in MAY_IMPORT.items() if allowed is _ANYTHING}
    for layer, allowed in MAY_IMPORT.items():
        for name in (allowed or set()) - {layer}:
            assert order.index(name) < order.index(layer) or {name, layer} <= _VIEWS
            assert name not in top


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, torch\nfrom elboroomy import x", set()),
        ("import elboroom.training.engine as e", {"training"}),
        ("from elboroom.training.engine import step", {"training"}),
        ("from elboroom import training, config", {"training", "config"}),
        ("from elboroom import VAE", {"__init__"}),
        ("import elboroom", {"__init__"}),
        ("from elboroom import __version__", set()),
        ("def f():\n    if True:\n        from elboroom.cli import main", {"cli"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from elboroom.cli import main", set()),
        ("if typing.TYPE_CHECKING:\n    import elboroom.cli\nelse:\n    import elboroom.run", {"run"}),
        (
            "try:\n    from elboroom import run\nexcept ImportError:\n    from elboroom import cli",
            {"run", "cli"},
        ),
        ("from .mlp import MLP", {"networks"}),
        ("from . import mlp", {"networks"}),
        ("from ..training.engine import step", {"training"}),
        ("from .. import cli", {"cli"}),
    ],
)
def test_imports_are_found(source: str, expected: set[str]) -> None:
    assert layers_imported(source, ["elboroom", "networks"]) == expected

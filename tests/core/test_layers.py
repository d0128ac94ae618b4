"""Imports go one way only."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import elboroom

ROOT = Path(elboroom.__file__).parent

_ANYTHING = None

# Each package or module at elboroom's root, lowest first, and what it may import besides itself.
MAY_IMPORT: dict[str, set[str] | None] = {
    "errors": set(),
    "config": {"errors"},
    "io": {"errors"},
    "distributed": {"errors"},
    "serving": {"errors"},
    "hub": {"errors", "config", "io"},
    "networks": {"errors", "config", "distributed"},
    "probability": {"errors", "config", "distributed"},
    "models": {"errors", "config", "io", "distributed", "hub", "networks", "probability"},
    "objectives": {"errors", "config", "distributed", "networks", "probability", "models"},
    "data": {"errors", "config", "io", "distributed", "hub"},
    "annotation": {"errors", "io", "serving", "data"},
    "runs": {"errors", "config", "io", "hub", "data", "models"},
    "tracking": {"errors", "config", "io", "runs"},
    "latent": {"errors", "probability", "data", "models"},
    "evaluation": {"errors", "probability", "data", "models", "latent"},
    "tables": {
        "errors",
        "config",
        "distributed",
        "probability",
        "data",
        "models",
        "latent",
        "evaluation",
        "runs",
    },
    "figures": {"errors", "io", "data", "models", "latent", "evaluation", "runs"},
    "exports": {
        *("errors", "config", "io", "networks", "probability", "models", "data", "runs", "latent"),
    },
    "explorer": {
        *("errors", "io", "networks", "probability", "models", "data", "runs", "latent", "evaluation"),
        "serving",
    },
    "training": {
        *("errors", "config", "io", "distributed", "networks", "probability", "models", "objectives"),
        *("data", "runs", "tracking", "evaluation", "figures"),
    },
    "scoring": {
        *("errors", "config", "io", "distributed", "probability", "models", "data", "runs", "latent"),
        "evaluation",
    },
    "doctor": {
        *("errors", "config", "io", "probability", "models", "objectives", "data", "runs", "evaluation"),
        "figures",
        "latent",
        "training",
    },
    "comparison": {
        *("errors", "config", "io", "models", "objectives", "data", "runs", "evaluation", "figures"),
        *("latent", "training"),
    },
    "reproduction": {
        *("errors", "config", "io", "models", "data", "runs", "evaluation", "latent", "training"),
    },
    "sklearn": {
        *("errors", "config", "io", "distributed", "probability", "models", "data", "latent", "scoring"),
        *("objectives", "runs", "tables", "training"),
    },
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
        elif not isinstance(child, ast.expr):  # which holds no statement
            yield from _imports(child, package)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def layers_imported(source: str | ast.Module, package: list[str]) -> set[str]:
    """Top-level names of elboroom that a file's source imports; its ``package`` is for relative imports."""
    found = set()
    for name in _imports(ast.parse(source) if isinstance(source, str) else source, package):
        root, *rest = name.split(".")
        if root == "elboroom" and rest != ["__version__"]:  # set before anything else in __init__
            found.add(rest[0] if rest and rest[0] in {*MAY_IMPORT, *LAYERS} else "__init__")
    return found


def _layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


LAYERS = {_layer(path) for path in ROOT.rglob("*.py")}


@functools.cache
def _graph() -> dict[str, dict[str, list[str]]]:
    """What each layer imports, and in which files."""
    graph: dict[str, dict[str, list[str]]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        package = ["elboroom", *path.relative_to(ROOT).parts[:-1]]
        imports = graph.setdefault(_layer(path), {})
        for layer in layers_imported(_tree(path), package) - {_layer(path)}:
            imports.setdefault(layer, []).append(str(path.relative_to(ROOT)))
    return graph


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_a_layer_imports_only_what_lies_below(layer: str) -> None:
    assert layer in MAY_IMPORT, (
        f"elboroom.{layer} has no place yet: add it to MAY_IMPORT in {Path(__file__).name} "
        "with what it may import, and to docs/architecture.md"
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
    """What stands later may import what stands earlier, and nothing imports what stands on top."""
    order = list(MAY_IMPORT)
    top = {layer for layer, allowed in MAY_IMPORT.items() if allowed is _ANYTHING}
    for layer, allowed in MAY_IMPORT.items():
        for name in allowed or set():
            assert order.index(name) < order.index(layer)
            assert name not in top


def test_nothing_new_stands_loose_at_the_root() -> None:
    """A new module belongs into one of the packages; a new package belongs into the table."""
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "errors.py"}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*MAY_IMPORT} - {"errors", "__init__", "__main__"}


def _modules() -> dict[str, set[str]]:
    """Which files of elboroom each of its files imports, by dotted names below the package."""

    def dotted(path: Path) -> str:
        parts = path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    paths = {dotted(path): path for path in ROOT.rglob("*.py")}
    graph = {}
    for name, path in paths.items():
        package = ["elboroom", *path.relative_to(ROOT).parts[:-1]]
        found = set()
        for imported in _imports(_tree(path), package):
            parts = imported.split(".")[1:] if imported.split(".")[0] == "elboroom" else []
            known = [".".join(parts[:k]) for k in range(len(parts), 0, -1)]
            found |= {next((one for one in known if one in paths), "")} - {"", name}
        graph[name] = found
    return graph


def test_no_two_files_import_each_other() -> None:
    """Not even by a detour, and not inside functions; a package's ``__init__`` stands above its files."""
    graph = _modules()
    graph.pop("", None)  # the root is read by nobody but users
    while graph:
        lowest = [name for name, imports in graph.items() if not imports & graph.keys()]
        assert lowest, f"these import each other in a circle: {graph}"
        for name in lowest:
            del graph[name]


def test_nothing_is_imported_by_a_computed_name() -> None:
    """A module imported by a string would be missing from the tests above; other packages may be."""
    for path in sorted(ROOT.rglob("*.py")):
        if path == ROOT / "__init__.py":  # its table is what users import lazily
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                name = ast.unparse(node.args[0]).strip("'\"")
                assert not name.startswith("elboroom"), path
                assert name.isidentifier() or isinstance(node.args[0], ast.Constant), path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, torch\nfrom elboroomy import x", set()),
        ("import elboroom.training.step.engine as e", {"training"}),
        ("from elboroom.training.step.engine import step", {"training"}),
        ("from elboroom import training, config", {"training", "config"}),
        ("from elboroom import VAE", {"__init__"}),
        ("import elboroom", {"__init__"}),
        ("from elboroom import __version__", set()),
        ("def f():\n    if True:\n        from elboroom.cli import main", {"cli"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from elboroom.cli import main", set()),
        ("if typing.TYPE_CHECKING:\n    import elboroom.cli\nelse:\n    import elboroom.runs", {"runs"}),
        (
            "try:\n    from elboroom import runs\nexcept ImportError:\n    from elboroom import cli",
            {"runs", "cli"},
        ),
        ("from .mlp import MLP", {"networks"}),
        ("from . import mlp", {"networks"}),
        ("from ..training.engine import step", {"training"}),
        ("from .. import cli", {"cli"}),
    ],
)
def test_imports_are_found(source: str, expected: set[str]) -> None:
    assert layers_imported(source, ["elboroom", "networks"]) == expected

"""Everything public says what it is, in every module of the package, those of tomorrow included."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import elboroom

MODULES = sorted(
    {"elboroom"}
    | {
        module.name
        for module in pkgutil.walk_packages(elboroom.__path__, "elboroom.")
        if not any(part.startswith("_") for part in module.name.split("."))  # __main__ would run
    }
)


def public(names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in names.items() if not name.startswith("_"))


def undocumented_in(cls: type) -> Iterator[str]:
    """The class and the methods written in it; a dataclass's generated signature is no docstring."""
    doc = vars(cls).get("__doc__") or ""
    if not doc.strip() or doc.startswith(f"{cls.__name__}("):
        yield cls.__qualname__
    for name, member in public(vars(cls)):
        if isinstance(member, property):
            documented = member.fget
        elif isinstance(member, functools.cached_property):
            documented = member.func
        else:
            documented = inspect.unwrap(getattr(member, "__func__", member))
        if (
            inspect.isfunction(documented)
            and documented.__module__ == cls.__module__
            and not documented.__doc__
        ):
            yield f"{cls.__qualname__}.{name}"


def undocumented(module: ModuleType) -> Iterator[str]:
    if not (module.__doc__ or "").strip():
        yield module.__name__
    for name, value in public(vars(module)):
        if getattr(value, "__module__", None) != module.__name__:
            continue  # imported from elsewhere, or data
        if inspect.isclass(value):
            yield from undocumented_in(value)
        elif inspect.isfunction(inspect.unwrap(value)) and not value.__doc__:
            yield name


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    assert list(undocumented(importlib.import_module(name))) == []


def test_the_search_finds_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("elboroom.example")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where dataclasses looks
    source = """
import dataclasses, functools, typing
def function(): ...
def documented(): "Say so."
def _private(): ...
@functools.cache
def cached(): ...
@dataclasses.dataclass
class Data:
    field: int
class Pair(typing.NamedTuple):
    "Two."
    field: int
class Class:
    "A class."
    def method(self): ...
    @property
    def prop(self): ...
    @classmethod
    def build(cls): ...
    @functools.cached_property
    def lazy(self): ...
    def documented(self): "Say so."
"""
    exec(source, vars(module))
    expected = ["elboroom.example", "function", "cached", "Data"]
    assert list(undocumented(module)) == expected + [
        f"Class.{m}" for m in ("method", "prop", "build", "lazy")
    ]

"""``recipes``: which papers there are by name, and what each of them sets."""

from __future__ import annotations

from typing import Any

from elboroom.config import Config
from elboroom.errors import UsageError, nearest
from elboroom.io.files import json_text
from elboroom.objectives.recipes import RECIPES


def show_all() -> None:
    """Print one line for each recipe: name, what it does, where it is from."""
    width = max(map(len, RECIPES))
    longest = max(len(one.summary) for one in RECIPES.values())
    for name, one in RECIPES.items():
        print(f"{name:<{width}}  {one.summary:<{longest}}  arXiv:{', '.join(one.arxiv)}")
    print("\n'elboroom recipes RECIPE' shows what one sets; 'elboroom train DATA --recipe RECIPE' trains it.")


def show(name: str) -> None:
    """Print what a recipe sets, as a preset would write it.

    Raises
    ------
    UsageError
        If there is no such recipe.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; {nearest(name, RECIPES)}")
    one = RECIPES[name]
    print(f"# {name}: {one.summary} (arXiv:{', '.join(one.arxiv)})")
    for section in Config.model_fields:
        fields = type(getattr(Config(), section)).model_fields
        chosen = {field: value for field, value in one.fields.items() if field in fields}
        if chosen:
            print(f"[{section}]")
            print("\n".join(f"{field} = {_toml(value)}" for field, value in chosen.items()))


def _toml(value: Any) -> str:
    """Write a value as TOML does: tables in braces, the rest as JSON."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json_text(value)

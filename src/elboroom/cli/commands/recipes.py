"""``elboroom recipes``: the papers that can be trained by name, and what each recipe sets."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Annotated, Any

from elboroom.cli.options import Positional, Verb
from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.errors import UsageError, nearest

_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Recipes(Verb):
    """List the recipes: papers that can be trained by name."""

    name: Annotated[
        Positional[str | None],
        Option(metavar="RECIPE", help="Recipe to describe. Default: list all of them."),
    ] = None

    def __call__(self) -> None:
        """Print one recipe, or the list."""
        show_all() if self.name is None else show(self.name)


def show_all() -> None:
    """Print the name, summary and papers of each recipe."""
    from elboroom.objectives.recipes import RECIPES

    column = max(map(len, RECIPES)) + 2
    for name, one in RECIPES.items():
        text = f"{one.summary} [arXiv:{', '.join(one.arxiv)}]"
        print(
            textwrap.fill(
                text,
                _WIDTH,
                initial_indent=name.ljust(column),
                subsequent_indent=" " * column,
                break_on_hyphens=False,
            )
        )
    print("\n'elboroom recipes RECIPE' shows what a recipe sets;")
    print("'elboroom train DATA --recipe RECIPE' trains with it.")


def show(name: str) -> None:
    """Print what a recipe sets, as TOML.

    Raises
    ------
    UsageError
        If there is no such recipe.
    """
    from elboroom.objectives.recipes import RECIPES

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
    """Write a value as TOML: tables in braces, the rest as JSON."""
    from elboroom.io.files import json_text

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json_text(value)

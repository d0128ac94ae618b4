"""Variants of recipes, with fields after the name: ``beta-vae:beta=2:latent-dim=5``."""

from __future__ import annotations

import json
import re
from typing import Any

from elboroom.config import DataConfig
from elboroom.errors import UsageError, nearest
from elboroom.objectives.recipes import RECIPES

_VALUE = re.compile(r"[\w.+\- ]+")


def split_variant(name: str) -> tuple[str, dict[str, Any]]:
    """Split a recipe's name from its fields; numbers separated by spaces are a list.

    Raises
    ------
    UsageError
        If there is no such recipe or field, or it belongs to what all runs of a comparison have in common.

    Examples
    --------
    >>> split_variant("beta-vae:beta=2:hidden=64 32")
    ('beta-vae', {'beta': 2, 'hidden': (64, 32)})
    """
    recipe, *pairs = name.split(":")
    if recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r}; {nearest(recipe, [*RECIPES, 'all'])}")
    fields: dict[str, Any] = {}
    for pair in pairs:
        field, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not _VALUE.fullmatch(text):
            raise UsageError(
                f"{name!r}: a colon must be followed by FIELD=VALUE, as in {recipe}:latent-dim=5"
            )
        field = field.replace("-", "_")
        if field in DataConfig.model_fields or field == "seed":
            raise UsageError(
                f"{name!r}: {field} must be the same for all recipes; set it for the whole comparison"
            )
        if field in fields:
            raise UsageError(f"{name!r}: {field} is given twice; give it once")
        fields[field] = _value(text)
    return recipe, fields


def own_fields(name: str) -> set[str]:
    """Return the fields that a recipe or variant sets; none for a recipe that no longer exists."""
    try:
        recipe, fields = split_variant(name)
    except UsageError:
        return set()
    return {*RECIPES[recipe].fields, *fields}


def sweep_of(name: str) -> tuple[str, float | None]:
    """Split a variant into what a sweep over beta has in common, and its own beta if it states one.

    A recipe that no longer exists is a sweep of its own.

    Examples
    --------
    >>> sweep_of("beta-vae:beta=2:hidden=64 32")
    ('beta-vae:hidden=64 32', 2.0)
    >>> sweep_of("beta-vae")  # as the recipe says
    ('beta-vae', 4.0)
    """
    try:
        recipe, fields = split_variant(name)
    except UsageError:
        return name, None
    beta = fields.get("beta", RECIPES[recipe].fields.get("beta", 1.0))
    common = [part for part in name.split(":") if part.partition("=")[0].strip() != "beta"]
    return ":".join(common), float(beta) if isinstance(beta, int | float) else None


def folder_name(name: str) -> str:
    """Name the folder of the runs of a recipe or variant.

    Examples
    --------
    >>> folder_name("beta-vae:beta=2")
    'beta-vae,beta=2'
    """
    return name.replace(":", ",").replace(" ", "+")


def _value(text: str) -> Any:
    if " " in text:
        return tuple(_value(part) for part in text.split())
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

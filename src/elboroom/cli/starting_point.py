"""The configuration that a command line starts from: preset, recipe, configuration file and earlier model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elboroom.config import Config, read_preset, read_toml


def starting_point(
    argv: Sequence[str], recipe_name: str | None = None, fields: Mapping[str, Any] | None = None
) -> Config:
    """Read --preset, --recipe, --config and --start-from, which give the defaults of all other options.

    Parameters
    ----------
    argv : sequence of str
        The command line.
    recipe_name : str, optional
        A recipe in place of --recipe.
    fields : mapping, optional
        Its own options.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset")
    early.add_argument("--recipe")
    early.add_argument("--config", type=Path)
    early.add_argument("--start-from")
    try:
        found, _ = early.parse_known_args(argv)
    except argparse.ArgumentError:
        return Config()  # the full parser reports the missing value
    name = recipe_name or found.recipe
    if found.start_from is None:
        return _laid_over(Config(), found, name, fields)
    from elboroom.cli.inputs.start_model import sections_of

    beside, networks = sections_of(found.start_from, says_beta=_says_beta(argv, found, name))
    return _laid_over(Config().merged(beside), found, name, fields).merged({"model": networks})


def _laid_over(
    settings: Config, found: argparse.Namespace, name: str | None, fields: Mapping[str, Any] | None
) -> Config:
    """Lay a preset, a recipe and a configuration file over other settings, or what there is of them."""
    if found.preset is not None:
        settings = read_preset(found.preset)
    if name is not None:
        from elboroom.objectives.recipes import recipe

        settings = recipe(name, settings, **fields or {})
    return read_toml(found.config, settings) if found.config is not None else settings


def _says_beta(argv: Sequence[str], found: argparse.Namespace, name: str | None) -> bool:
    """Whether an option, a recipe, a preset or a file gives the weight of the rate."""
    from elboroom.objectives.recipes import RECIPES

    if any(word.partition("=")[0] == "--beta" for word in argv) or found.preset is not None:
        return True
    if name in RECIPES and "beta" in RECIPES[name].fields:
        return True
    return found.config is not None and read_toml(found.config, Config()).objective != Config().objective

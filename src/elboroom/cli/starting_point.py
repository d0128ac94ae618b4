"""The configuration that a command line starts from: preset, recipe and configuration file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elboroom.config import Config, read_preset, read_toml


def starting_point(
    argv: Sequence[str], recipe_name: str | None = None, fields: Mapping[str, Any] | None = None
) -> Config:
    """Read --preset, --recipe and --config, which give the defaults of all other options.

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
    try:
        found, _ = early.parse_known_args(argv)
    except argparse.ArgumentError:
        return Config()  # the full parser reports the missing value
    settings = read_preset(found.preset) if found.preset is not None else Config()
    name = recipe_name or found.recipe
    if name is not None:
        from elboroom.objectives.recipes import recipe

        settings = recipe(name, settings, **fields or {})
    return read_toml(found.config, settings) if found.config is not None else settings

"""The file of a run folder that holds the mean and standard deviation of the model's codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elboroom.errors import UsageError
from elboroom.io.files import json_text, read_json, write_atomic
from elboroom.io.tensors import fingerprint
from elboroom.models.vae import VAE

FILE = "latent_statistics.json"


def write_statistics(run: Path, vae: VAE, found: Mapping[str, Any]) -> None:
    """Write statistics of a model's codes to its run folder, with a fingerprint of its weights."""
    kept = {**found, "model": fingerprint(vae.state_dict())}
    write_atomic(run / FILE, json_text(kept, indent=2) + "\n")


def read_statistics(run: Path) -> dict[str, Any] | None:
    """Read the statistics that a run folder keeps; None if it has none.

    Raises
    ------
    UsageError
        If they are damaged.
    """
    path, fix = run / FILE, "remove it, or write it again with fit-prior"
    if not path.exists():
        return None
    found = read_json(path, fix)
    lists = [found.get(name) for name in ("mean", "std")] if isinstance(found, dict) else []
    numbers = [value for each in lists if isinstance(each, list) for value in each]
    if (
        len(lists) != 2
        or not numbers
        or not all(isinstance(each, list) and 2 * len(each) == len(numbers) for each in lists)
        or not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers)
        or found.get("of") not in ("channels", "dimensions")
    ):
        raise UsageError(f"{path} does not hold statistics of codes; {fix}")
    return dict(found)

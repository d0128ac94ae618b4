"""Measure how closely exported models agree with PyTorch, for every recipe × network.

Each model is trained for a few steps on digits, exported, and run on 1, 2 and 7 examples by onnxruntime and
as a PyTorch program. Recipes that differ in their objective only have the same model, exported once::

    python benchmarks/exports.py --out benchmarks/results/exports.json     # 10 minutes on two cores
    python benchmarks/exports.py --recipes vae fsq --networks mlp

What elboroom or a format refuses is listed with its reason. The exit code is 1 if an export fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom.config import Config
from elboroom.config.networks import NETWORKS
from elboroom.data import Dataset, load_data
from elboroom.errors import ElboroomError, UsageError
from elboroom.exports import TARGETS, export
from elboroom.io.files import write_atomic
from elboroom.models.vae import VAE
from elboroom.objectives.recipes import RECIPES, recipe
from elboroom.training import fit

STEPS = 5
# As by default but for ladders, of which every layer takes seconds to trace.
SIZES: dict[str, dict[str, Any]] = {"ladder": {"conv_width": 8, "conv_levels": 2, "ladder_layers": (1, 1)}}


def digits() -> Dataset:
    """Digits in 8 bits, for likelihoods of pixel levels: 0 to 240 in steps of 15."""
    data = load_data("digits")
    x = np.asarray(data.x) * 15
    return Dataset("digits in 8 bits", x.astype(np.uint8), data.split, data.labels, scale=255)


def configured(name: str, network: str) -> Config | str:
    """The configuration of a cell, or why there is none."""
    fixed = RECIPES[name].fields.get("network", network)
    if fixed != network:
        return f"the recipe is its network, {fixed}"
    options = {"batches_per_epoch": STEPS, "epochs": 1, "validation": 0.0, "precision": "fp32"}
    try:
        return recipe(name, network=network, **SIZES.get(network, {}), **options)
    except UsageError as error:
        return str(error)


def measure(config: Config, data: Dataset, targets: Sequence[str]) -> dict[str, Any]:
    """Largest difference of each network in each format, or why the export fails."""
    torch.manual_seed(0)
    vae = VAE.build(config.model, shape=data.shape, scale=data.scale)
    fit(vae, data, config=config, quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            about = export(vae, Path(folder) / "export", targets)
        except ElboroomError as error:
            return {"failed": str(error)}
    return {target: facts["checked"]["largest_difference"] for target, facts in about["formats"].items()}


def cells(
    recipes: Sequence[str], networks: Sequence[str], targets: Sequence[str], *, every: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure each recipe × network; recipes with the same model share a measurement unless ``every``."""
    data = digits()
    for network in networks:
        measured: dict[str, tuple[str, dict[str, Any]]] = {}
        for name in recipes:
            config = configured(name, network)
            if isinstance(config, str):
                yield f"{name} {network}", {"refused": config}
                continue
            model = config.model.model_dump_json()
            if every or model not in measured:
                measured[model] = name, measure(config, data, targets)
            first, found = measured[model]
            yield f"{name} {network}", found if first == name else {**found, "as": first}


def table(result: dict[str, Any]) -> str:
    """Write the result in Markdown: the largest difference of encoder and decoder, and the refusals below."""
    heads = [f"{network}, {target}" for network in result["networks"] for target in result["formats"]]
    lines = [f"| recipe | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    reasons: dict[str, list[str]] = {}
    for name in result["recipes"]:
        cells = []
        for network in result["networks"]:
            found = result["cells"][f"{name} {network}"]
            why = found.get("refused") or found.get("failed")
            if why is not None:
                reasons.setdefault(why, []).append(f"{name} × {network}")
                cells += ["failed" if "failed" in found else "–"] * len(result["formats"])
            else:
                cells += [f"{max(found[target].values()):.1g}" for target in result["formats"]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    listed = [f"- {', '.join(cells)}: {why}" for why, cells in reasons.items()]
    shared = sum("as" in found for found in result["cells"].values())
    note = f"{shared} cells have the number of an earlier recipe with the same model; only training differs."
    return "\n".join([*lines, "", note, "", "Refused, with the reason that elboroom gives:", "", *listed, ""])


def main() -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--to", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--every", action="store_true", help="export recipes with the same model too")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    result: dict[str, Any] = {
        "versions": {name: version(name) for name in ("elboroom", "torch", "onnxruntime", "onnxscript")},
        **{"recipes": chosen.recipes, "networks": chosen.networks, "formats": chosen.to, "cells": {}},
    }
    for key, found in cells(chosen.recipes, chosen.networks, chosen.to, every=chosen.every):
        result["cells"][key] = found
        print(key, json.dumps(found), file=sys.stderr, flush=True)
    text = table(result)
    print(text)
    if chosen.out is not None:
        write_atomic(chosen.out, json.dumps(result, indent=1) + "\n")
        write_atomic(chosen.out.with_suffix(".md"), text)
    return int(any("failed" in found for found in result["cells"].values()))


if __name__ == "__main__":
    sys.exit(main())

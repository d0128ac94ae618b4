"""``python -m benchmarks.gpu.recipes``: does each recipe train the same as a CUDA graph, how much faster?

Each recipe is trained twice from the same seed, step by step and as a graph, and the columns of the two
histories are compared. Then the steps of both are timed. The result is written after each recipe, so that it
is there if time runs out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import reason_of
from elboroom.io.files import write_atomic
from elboroom.objectives import RECIPES, recipe
from elboroom.training.loop import Training
from elboroom.training.prepare import build

BATCH, EPOCHS, IMAGES = 100, 3, 1_000
# Relative difference of an epoch's means between the two ways.
TOLERANCE = 1e-5
# Rows that are a recipe with other options.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae, four batches added up": ("vae", {"batch_size": BATCH // 4, "accumulate": 4}),
    "vae, 1,002 scheduled steps": (
        "vae",
        {"batches_per_epoch": 334, "lr_schedule": "CosineAnnealingLR", "ema": 0.99, "clip": 100.0},
    ),
}
_COLUMNS = ("loss", "distortion", "rate")
_WARM_UP = 6


def images(n: int, side: int) -> Dataset:
    """Grey images with some structure: a bright square in a random place."""
    random = np.random.default_rng(0)
    x = random.integers(0, 60, (n, side, side, 1), dtype=np.uint8)
    for image, (top, left) in zip(x, random.integers(0, side // 2, (n, 2)), strict=True):
        image[top : top + side // 2, left : left + side // 2] += 150
    return Dataset("squares", x, np.zeros(n, np.uint8), scale=255.0)


def configuration(name: str, device: str, width: int, **options: Any) -> Config:
    """Return the recipe, or the variant of one, with hidden layers of a width."""
    name, own = VARIANTS.get(name, (name, {}))
    fields = RECIPES[name].fields
    base: dict[str, Any] = {"batch_size": BATCH, "validation": 0.0, "figures_every": 0, "device": device}
    base |= {"precision": "fp32"}
    base |= {} if "network" in fields else {"hidden": (width, width)}
    return recipe(name, Config(), **{**base, **options, **own})


def curve(data: Dataset, config: Config) -> tuple[list[dict[str, Any]], str | None, int]:
    """Train; return the history, why no graph was used, and how many graphs were."""
    training = Training(build(config, data), data, config, quiet=True)
    capture = training.engine.capture
    history = training.run()
    return history, None if capture is None else capture.reason, 0 if capture is None else capture.graphs


def difference(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> float:
    """Return the largest relative difference of the columns of two histories.

    Examples
    --------
    >>> row = {"loss": 100.0, "distortion": 90.0, "rate": 10.0}
    >>> difference([row], [row | {"loss": 101.0}])
    0.01
    """
    pairs = [(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in _COLUMNS]
    # The rate may be near 0 while the loss is not.
    scale = max(abs(a["loss"]) for a in one)
    return max(abs(a - b) / max(abs(a), 1e-2 * scale) for a, b in pairs)


def step_time(data: Dataset, config: Config, seconds: float) -> tuple[float, float]:
    """Microseconds of a step, and the seconds that recording took."""
    engine = Training(build(config, data), data, config, quiet=True).engine
    rows = torch.arange(min(BATCH, len(data)), device=engine.device)
    for _ in range(_WARM_UP):
        engine.step(rows)
    _wait(engine.device)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(5):
            engine.step(rows)
        _wait(engine.device)
        steps += 5
    took = 1e6 * (time.perf_counter() - start) / steps
    return took, 0.0 if engine.capture is None else engine.capture.seconds


def check(name: str, data: Dataset, device: str, *, width: int, steps: int, seconds: float) -> dict[str, Any]:
    """Compare the two ways of one recipe over three epochs of some steps."""
    options = {"epochs": EPOCHS, "batches_per_epoch": steps}
    eager, graph = (configuration(name, device, width, capture=way, **options) for way in ("off", "auto"))
    one, _, _ = curve(data, eager)
    other, reason, graphs = curve(data, graph)
    found: dict[str, Any] = {"difference": difference(one, other), "reason": reason, "graphs": graphs}
    found["allowed"] = TOLERANCE
    if found["difference"] > TOLERANCE:  # some kernels add in any order: then the same training differs too
        found["difference_of_itself"] = difference(one, curve(data, eager)[0])
        found["allowed"] = max(TOLERANCE, 10 * found["difference_of_itself"])
    found["eager"], _ = step_time(data, eager, seconds)
    found["captured"], found["recording_seconds"] = step_time(data, graph, seconds)
    recorded = graphs > 0 or device == "cpu"
    found["ok"] = bool(found["difference"] <= found["allowed"] and recorded)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> int:
    """Check all recipes; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.recipes", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=[*RECIPES, *VARIANTS])
    parser.add_argument("--width", type=int, default=400, help="of hidden layers")
    parser.add_argument("--side", type=int, default=28, help="of the images")
    parser.add_argument("--steps", type=int, default=20, help="of each of the three epochs compared")
    parser.add_argument("--seconds", type=float, default=0.2, help="for timing each way of each recipe")
    asked = parser.parse_args()
    data, rows = images(IMAGES, asked.side), {}
    options = {"width": asked.width, "steps": asked.steps, "seconds": asked.seconds}
    for name in asked.names:
        began = time.perf_counter()
        try:
            rows[name] = check(name, data, asked.device, **options)
        except Exception as error:
            rows[name] = {"ok": False, "error": f"{type(error).__name__}: {reason_of(error)}"}
        rows[name]["seconds"] = time.perf_counter() - began
        print(name, json.dumps(rows[name]), flush=True)
        wanted = len(asked.names)
        result = {"ok": len(rows) == wanted and all(row["ok"] for row in rows.values()), "wanted": wanted}
        write_atomic(asked.out, json.dumps({**result, "rows": rows}, indent=1) + "\n")
    return int(not result["ok"])


if __name__ == "__main__":
    raise SystemExit(main())

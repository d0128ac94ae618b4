"""How much memory do recomputed activations save, and what do they cost in time?

``python benchmarks/activations.py --out FILE.json`` trains a few steps of a ladder and of a convolutional
model with and without ``checkpoint_activations``, in turns. Memory is the peak of the tensors that are alive
in a step, beyond those before it; time is the median step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from elboroom.config import Config
from elboroom.data import load_data
from elboroom.io.files import write_atomic
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.step.engine import Engine

CASES: dict[str, dict[str, Any]] = {
    "six-layer ladder, 32×32×3, batch 32": {"shape": (32, 32, 3), "network": "ladder", "batch_size": 32},
    "six-layer ladder, 64×64×3, batch 16": {"shape": (64, 64, 3), "network": "ladder", "batch_size": 16},
    "conv, 128×128×3, batch 16": {"shape": (128, 128, 3), "network": "conv", "batch_size": 16},
    "conv, 128×128×3, batch 64": {"shape": (128, 128, 3), "network": "conv", "batch_size": 64},
}


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that were made while it is active and are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count its results."""
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else [found]:
            if isinstance(each, Tensor):
                storage = each.untyped_storage()
                self.storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.storages = {key: pair for key, pair in self.storages.items() if not pair[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return found


def engine_of(case: dict[str, Any], device: str, recompute: bool) -> Engine:
    """Return an engine for random images."""
    options = {key: value for key, value in case.items() if key != "shape"}
    data = load_data(np.random.default_rng(0).integers(0, 256, (128, *case["shape"]), dtype=np.uint8))
    config = Config().updated(device=device, checkpoint_activations=recompute, **options)
    return Training(build(config, data), data, config, quiet=True).engine


def measure(case: dict[str, Any], rounds: int, device: str = "cpu") -> dict[str, Any]:
    """Peak megabytes and milliseconds a step, without and with recomputation."""
    engines = {name: engine_of(case, device, name == "recomputed") for name in ("kept", "recomputed")}
    rows = torch.arange(case["batch_size"], device=engines["kept"].device)
    found: dict[str, Any] = {"megabytes": {}, "milliseconds": {}, "precision": engines["kept"].precision}
    for name, engine in engines.items():
        engine.step(rows)
        if engine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            engine.step(rows)
            peak = torch.cuda.max_memory_allocated() - before
        else:
            with Live() as live:
                engine.step(rows)
            peak = live.peak
        found["megabytes"][name] = peak / 1e6
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.step(rows)
            if engine.device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(1e3 * (time.perf_counter() - start))
    found["milliseconds"] = {name: statistics.median(values) for name, values in times.items()}
    for what in ("megabytes", "milliseconds"):
        found[f"times_{what}"] = found[what]["recomputed"] / found[what]["kept"]
    return found


def main() -> None:
    """Measure all cases and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    for name, case in CASES.items():
        found[name] = measure(case, asked.rounds, asked.device)
        print(name, json.dumps(found[name]), flush=True)
    write_atomic(asked.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Measure what training several seeds at once costs beside training one, and beside one after the other.

Steps of one model, of all models in turn and of all models batched are interleaved in one process::

    python benchmarks/seeds.py --out benchmarks/results/seeds.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.io.files import write_atomic
from elboroom.objectives.recipes import recipe
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.step.engine import Engine
from elboroom.training.together.group import Group
from elboroom.training.together.member import Member

STEPS = 40
CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "64-32-2, batch 32": ("vae", (8, 8, 1), {"hidden": [32], "batch_size": 32}),
    "64-64-2, batch 100": ("vae", (8, 8, 1), {"hidden": [64]}),
    "64-64-64-2, batch 100, iwae of 5": ("iwae", (8, 8, 1), {"hidden": [64, 64], "num_samples": 5}),
    "64-64-2, batch 100, flow prior": ("flow-prior", (8, 8, 1), {"hidden": [64]}),
    "784-64-2, batch 100": ("vae", (28, 28, 1), {"hidden": [64]}),
    "784-128-2, batch 100": ("vae", (28, 28, 1), {"hidden": [128]}),
    "784-400-2, batch 100": ("vae", (28, 28, 1), {"hidden": [400]}),
}


def trainings(name: str, data: Dataset, options: dict[str, Any], n: int, kind: type[Engine]) -> list[Any]:
    """Engines of ``n`` seeds."""
    engines = []
    for seed in range(n):
        config = recipe(name, Config().updated(latent_dim=2, seed=seed), **options)
        engines.append(Training(build(config, data), data, config, quiet=True, engine=kind).engine)
    return engines


def measure(
    name: str, shape: tuple[int, ...], options: dict[str, Any], n: int, rounds: int
) -> dict[str, Any]:
    """Milliseconds a step, medians over rounds."""
    data = load_data(np.random.default_rng(0).random((1_000, *shape), dtype=np.float32))
    alone = trainings(name, data, options, n, Engine)
    members, compiled = (trainings(name, data, options, n, Member) for _ in range(2))
    size = options.get("batch_size", Config().training.batch_size)
    rows = [torch.randperm(len(data))[:size] for _ in range(n)]
    began = time.perf_counter()
    groups = [Group(members, [size]), Group(compiled, [size])]
    traced = time.perf_counter()
    failed = groups[1].compile(size)
    compiling = time.perf_counter() - traced
    for group in groups:
        for member in group.members:
            member.join(group.draws, lambda: None)

    def batched(group: Group) -> None:
        for _ in range(STEPS):
            for member, own in zip(group.members, rows, strict=True):
                member.step(own)
        group.advance(group.members)

    def by_itself(engines: list[Engine]) -> None:
        for _ in range(STEPS):
            for engine, own in zip(engines, rows, strict=False):
                engine.step(own)

    ways: dict[str, Callable[[], None]] = {
        "one": lambda: by_itself(alone[:1]),
        "in turn": lambda: by_itself(alone),
        "batched": lambda: batched(groups[0]),
        "compiled": lambda: batched(groups[1]),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(rounds + 1):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            if round_:  # the first is to warm up
                times[way].append(1e3 * (time.perf_counter() - start) / STEPS)
    found: dict[str, Any] = {way: statistics.median(values) for way, values in times.items()}
    return {
        "weights": len(members[0].update.flat.values[0]),
        "precision": alone[0].precision,
        "milliseconds": found,
        "times_one": {way: found[way] / found["one"] for way in ways},
        "seconds_of_tracing": (traced - began) / 2,
        "seconds_of_compiling": compiling,
        "compiling_failed": failed,
    }


def main() -> None:
    """Measure all cases and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found: dict[str, Any] = {"seeds": asked.seeds, "threads": asked.threads, "torch": torch.__version__}
    for case, (name, shape, options) in CASES.items():
        found[case] = measure(name, shape, options, asked.seeds, asked.rounds)
        times = found[case]["times_one"]
        print(case, {way: round(value, 2) for way, value in times.items()}, flush=True)
    write_atomic(asked.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

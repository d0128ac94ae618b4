"""How many operations does PyTorch dispatch in one training step?

``python benchmarks/operations.py --out FILE.json`` trains one epoch of 20 and one of 40 batches, in turn, and
divides the difference by 20: what happens once in an epoch cancels out. ``--before SRC`` also counts those of
another version, whose ``src`` folder this is. Operations are counted below autograd, as a
``TorchDispatchMode`` sees them; ``computing`` leaves out views, and ``detach``, which autograd calls for each
tensor that it saves, but only while someone counts. On a GPU each operation that computes is at least one
kernel. Compiled and captured steps are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import elboroom
from elboroom.io.files import write_atomic

BATCH = 100
COMPUTING = "computing"
VIEWS = ("aten::detach", "aten::lift_fresh", "aten::_unsafe_view", "aten::alias")
# Multiples of 10, as some things are measured in every tenth step.
FEW, MANY = 20, 40
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any], dict[str, Any]]] = {
    "784-1000-2, bf16": ((28, 28, 1), {"hidden": [1000], "latent_dim": 2}, {"precision": "bf16"}),
    "784-1000-2, fp32": ((28, 28, 1), {"hidden": [1000], "latent_dim": 2}, {"precision": "fp32"}),
    "784-400-400-20, bf16": ((28, 28, 1), {"hidden": [400, 400], "latent_dim": 20}, {"precision": "bf16"}),
    "784-1000-2, fp32, clipped, averaged": (
        (28, 28, 1),
        {"hidden": [1000], "latent_dim": 2},
        {"precision": "fp32", "clip": 100.0, "ema": 0.99},
    ),
    "784-400-20, fp32, IWAE with 5 samples": (
        (28, 28, 1),
        {"hidden": [400], "latent_dim": 20},
        {"precision": "fp32", "bound": "iwae", "num_samples": 5},
    ),
    "conv 16×16×3, width 8, fp32": (
        (16, 16, 3),
        {"network": "conv", "conv_width": 8, "conv_levels": 2, "latent_dim": 8},
        {"precision": "fp32"},
    ),
}


class Operations(TorchDispatchMode):
    """Counts the operations that are dispatched while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation and run it."""
        self.counts[func._schema.name] += 1
        self.counts[COMPUTING] += not (func.is_view or func._schema.name in VIEWS)
        return func(*args, **(kwargs or {}))


def in_an_epoch(case: str, batches: int) -> Counter[str]:
    """Train a new model for one epoch of so many batches and count."""
    shape, net, options = CASES[case]
    x = np.random.default_rng(0).integers(0, 256, (BATCH * batches, *shape), dtype=np.uint8)
    data = elboroom.Dataset("random", x, np.zeros(len(x), np.uint8), scale=255.0, published_split=True)
    torch.manual_seed(0)
    vae = elboroom.VAE.build(shape=shape, **net)
    further = {"compile": "off"} if hasattr(elboroom.Config().training, "compile") else {}
    with Operations() as counting:
        elboroom.fit(
            vae,
            data,
            epochs=1,
            batch_size=BATCH,
            validation=0.0,
            device="cpu",
            quiet=True,
            **options,
            **further,
        )
    return counting.counts


def count() -> dict[str, dict[str, Any]]:
    """Return the operations of one step of each case, and the most frequent of them."""
    return {case: count_in(case) for case in CASES}


def count_in(case: str) -> dict[str, Any]:
    """Return the operations of one step of a case."""
    # By a usual clock a checkpoint may be due within an epoch, whose operations are not those of a step.
    clock = time.perf_counter
    with patch("time.perf_counter", lambda: clock() / 1000):
        few, many = in_an_epoch(case, FEW), in_an_epoch(case, MANY)
    each = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
    computing = each.pop(COMPUTING)
    most = sorted(each.items(), key=lambda pair: -pair[1])[:12]
    return {
        "operations": round(sum(each.values()), 2),
        "computing": round(computing, 2),
        "most": {name: round(number, 2) for name, number in most},
    }


def count_with(source: Path) -> dict[str, dict[str, Any]]:
    """Count in another process, with the version in this folder."""
    environment = {**os.environ, "PYTHONPATH": str(source.resolve())}
    line = [sys.executable, str(Path(__file__).resolve())]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Count, and print or write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--before", type=Path, metavar="SRC")
    options = parser.parse_args()
    result: dict[str, Any] = count()
    if options.before is not None:
        before = count_with(options.before)
        result = {
            "torch": torch.__version__,
            "batch": BATCH,
            "before": before,
            "after": result,
            "ratio": {
                case: {
                    kind: round(result[case][kind] / before[case][kind], 3)
                    for kind in ("operations", "computing")
                }
                for case in CASES
            },
        }
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if options.out is None:
        print(text)
    else:
        write_atomic(options.out, text)


if __name__ == "__main__":
    main()

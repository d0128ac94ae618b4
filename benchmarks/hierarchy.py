"""Six stochastic layers beside one, given the same time on static MNIST: −ELBO and 100-sample NLL.

::

    OMP_NUM_THREADS=1 python benchmarks/hierarchy.py --out benchmarks/results/hierarchy.json

Each takes about an hour and a half on one core. Runs that are there are gone on with, or just measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import elboroom
from elboroom.cli import main as elboroom_main
from elboroom.data.batches import Batches
from elboroom.files import write_atomic
from elboroom.run import Run

# Of nearly as many weights: 0.60 and 0.67 million.
NETS = {
    "ladder": "--network ladder --conv-width 24 --free-bits 3 --epochs 40 --lr-schedule-options T_max=40",
    "conv": "--network conv --conv-width 24 --conv-blocks 2 --latent-dim 32 --epochs 100 "
    "--lr-schedule-options T_max=100",
}
COMMON = (
    "--batch-size 100 --optimizer Adamax --lr 2e-3 --lr-schedule CosineAnnealingLR --beta-schedule linear "
    "--beta-ramp 5 --clip 200 --ema 0.999 --precision fp32 --figures-every 0 --quiet"
)
SAMPLES = 100


def train(name: str, folder: Path) -> None:
    """Train one, or go on with it, to its last epoch."""
    if not folder.exists():
        words = ["train", "binarized-mnist", *NETS[name].split(), *COMMON.split()]
        code = elboroom_main([*words, "--out", str(folder)])
    elif len(Run(folder).history) < Run(folder).config.training.epochs:
        code = elboroom_main(["resume", str(folder), "--quiet"])
    else:
        return
    if code:
        raise SystemExit(code)


def measure(folder: Path, limit: int | None) -> dict[str, Any]:
    """Test numbers of a trained run, and the way it went."""
    run = Run(folder)
    vae, data = run.model(), elboroom.load_data("binarized-mnist")
    batches = Batches(data, torch.device("cpu"))
    found = elboroom.evaluate(vae, batches, data.indices("test")[:limit], num_samples=SAMPLES)
    history = run.history
    return {
        "parameters": sum(p.numel() for p in vae.parameters()),
        "epochs": len(history),
        "hours": sum(row["seconds"] for row in history) / 3600,
        **{name: found[name] for name in ("elbo", "rate", "distortion", "nll", "nll_stderr")},
        "rate_of_layers": found.get("rate_of_layers"),
        "validation_elbo": [row["val_elbo"] for row in history],
        "seconds": [row["seconds"] for row in history],
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=Path, default=Path("runs/hierarchy"))
    options.add_argument("--only", choices=[*NETS], nargs="+", default=[*NETS])
    options.add_argument("--limit", type=int, help="Test examples to measure, if not all.")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    found = {}
    for name in chosen.only:
        train(name, chosen.runs / name)
        found[name] = row = measure(chosen.runs / name, chosen.limit)
        print(
            f"{name:8s} {row['parameters']:9,d} weights  {row['epochs']:3d} epochs  {row['hours']:.2f} h  "
            f"−ELBO {-row['elbo']:.2f}  NLL {row['nll']:.2f} ± {row['nll_stderr']:.2f}",
            flush=True,
        )
    if chosen.out is not None:
        write_atomic(chosen.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Compare six stochastic layers with one layer that trains longer, on static MNIST: −ELBO and 100-sample NLL.

::

    OMP_NUM_THREADS=1 python benchmarks/hierarchy.py --out benchmarks/results/hierarchy.json

The six layers take about 75 minutes on one core, the single layer about 105. Existing runs are resumed,
or only measured if they are complete.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import elboroom
from elboroom.cli.main import main as elboroom_main
from elboroom.data.batches import Batches
from elboroom.figures.style import PALETTE, canvas, panel, tidy, to_png
from elboroom.io.files import write_atomic
from elboroom.runs.run import Run

# Similar numbers of weights: 0.60 and 0.67 million.
NETS = {
    "ladder": "--network ladder --conv-width 24 --free-bits 3 --epochs 40 --lr-schedule-options T_max=40",
    "conv": "--network conv --conv-width 24 --conv-blocks 2 --latent-dim 32 --epochs 100 "
    "--lr-schedule-options T_max=100",
}
COMMON = (
    "--batch-size 100 --optimizer Adamax --lr 2e-3 --lr-schedule CosineAnnealingLR --beta-schedule linear "
    "--beta-ramp 5 --clip 200 --ema 0.999 --precision fp32 --figures-every 0 --quiet"
)
SOURCE = "binarized-mnist"
SAMPLES = 100
LABELS = {"ladder": "ladder of six layers", "conv": "one layer"}


def train(name: str, folder: Path) -> None:
    """Train one model to its last epoch, or resume it."""
    if not folder.exists():
        words = ["train", SOURCE, *NETS[name].split(), *COMMON.split()]
        code = elboroom_main([*words, "--out", str(folder)])
    elif len(Run(folder).history) < Run(folder).config.training.epochs:
        code = elboroom_main(["resume", str(folder), "--quiet"])
    else:
        return
    if code:
        raise SystemExit(code)


def measure(folder: Path, limit: int | None) -> dict[str, Any]:
    """Return test results and training history of a run."""
    run = Run(folder)
    vae, data = run.model(), elboroom.load_data(SOURCE)
    batches = Batches(data, torch.device("cpu"))
    found = elboroom.evaluate(vae, batches, data.indices("test")[:limit], num_samples=SAMPLES)
    history = run.history
    return {
        "parameters": sum(p.numel() for p in vae.parameters()),
        "epochs": len(history),
        # From the median epoch, as other work may slow some epochs down.
        "hours": statistics.median(row["seconds"] for row in history) * len(history) / 3600,
        **{name: found[name] for name in ("elbo", "rate", "distortion", "nll", "nll_stderr")},
        "rate_of_layers": found.get("rate_of_layers"),
        "validation_elbo": [row["val_elbo"] for row in history],
        "seconds": [row["seconds"] for row in history],
    }


def draw(found: dict[str, dict[str, Any]]) -> Figure:
    """Draw validation −ELBO against time, and the rate of each layer."""
    figure = canvas(1500, 560)
    curves, rates = panel(figure, 80, 50, 780, 420), panel(figure, 960, 50, 500, 420)
    for (name, row), color in zip(found.items(), PALETTE, strict=False):
        losses = [-elbo for elbo in row["validation_elbo"]]
        hours = np.arange(1, len(losses) + 1) * row["hours"] / len(losses)
        curves.plot(hours, losses, color=color, label=LABELS[name])
        bars = row["rate_of_layers"] or [row["rate"]]
        at = np.arange(1, len(bars) + 1) if len(bars) > 1 else [0]
        rates.bar(at, bars, color=color, width=0.7)
    last = [-row["validation_elbo"][-1] for row in found.values()]
    curves.set_ylim(min(last) - 1, max(last) + 12)
    tidy(curves, "Validation −ELBO, nats", "hours on one core")
    curves.legend(frameon=False, fontsize=9)
    layers = max(len(row["rate_of_layers"] or []) for row in found.values())
    rates.set_xticks(range(layers + 1), ["one layer", *map(str, range(1, layers + 1))])
    tidy(rates, "Rate of each layer on the test split, nats", "layer (1 = top)")
    return figure


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=Path, default=Path("runs/hierarchy"))
    options.add_argument("--only", choices=[*NETS], nargs="+", default=[*NETS])
    options.add_argument("--limit", type=int, help="number of test examples to measure (default: all)")
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
        write_atomic(chosen.out.with_suffix(".png"), to_png(draw(found)))


if __name__ == "__main__":
    main()

"""Train a tiny model for millions of steps to see whether memory stays flat and what checkpoints cost.

::

    python benchmarks/soak.py --steps 5000000 --out benchmarks/results/soak.json

One core takes some millions of such steps in two hours. The resident memory is read after each epoch of
1,000 steps, and its slope is fitted without the first fifth, in which caches fill. The history grows by
design: with its copies for the checkpoint, by 3 to 5 kB per epoch or 3 to 5 MB per million steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import elboroom
from elboroom.config import Config
from elboroom.data import load_data
from elboroom.training.loop import Training

_STEPS_PER_EPOCH = 1000


def soak(steps: int, folder: Path) -> dict[str, Any]:
    """Train in a run folder, with validation and checkpoints."""
    x = np.random.default_rng(0).integers(0, 256, (500, 6, 6), dtype=np.uint8)
    vae = elboroom.VAE.build(shape=(6, 6, 1), latent_dim=2, hidden=(16,))
    config = Config().updated(
        epochs=max(steps // _STEPS_PER_EPOCH, 10), batches_per_epoch=_STEPS_PER_EPOCH, batch_size=8,
        validation=0.1, ema=0.999, binarize="stochastic", device="cpu",
    )  # fmt: skip
    training = Training(vae, load_data(x), config, quiet=True)
    training.create(folder)
    process, samples = psutil.Process(), []
    started = time.perf_counter()

    def sample(_vae: elboroom.VAE, row: dict[str, Any]) -> None:
        seconds = time.perf_counter() - started
        samples.append((row["step"], process.memory_info().rss / 1e6, training.checkpoints.spent / seconds))

    training.run(sample)
    step, megabytes, share = np.array(samples).T
    settled = step > step[-1] / 5
    slope = np.polyfit(step[settled] / 1e6, megabytes[settled], 1)[0]
    kept = np.linspace(0, len(step) - 1, min(len(step), 200)).astype(int)
    return {
        "steps": int(step[-1]),
        "seconds": round(time.perf_counter() - started, 1),
        "megabytes_after_warm_up": round(float(megabytes[settled][0]), 2),
        "megabytes_at_end": round(float(megabytes[-1]), 2),
        "megabytes_per_million_steps": round(float(slope), 3),
        "history_rows": len(step),
        "checkpoint_share_of_time": round(float(share[-1]), 5),
        "samples": [[int(step[i]), round(float(megabytes[i]), 2)] for i in kept],
    }


def main() -> None:
    """Print and write the results."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--steps", type=int, default=5_000_000)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = soak(chosen.steps, Path(folder) / "run")
    print(json.dumps({name: value for name, value in found.items() if name != "samples"}, indent=2))
    if chosen.out is not None:
        found |= {"torch": torch.__version__, "elboroom": elboroom.__version__}
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Compare the first epochs of ``haskell-mnist`` with the numbers that the Haskell program prints.

Trains on the first 10,000 MNIST images, as the Haskell program did, and prints for each epoch of 100 batches
of 32 the mean squared error per pixel (pixels divided by 256) and the KL term in its units (β included)::

    python benchmarks/haskell_parity.py --out benchmarks/results/haskell_parity.json
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

import elboroom
from elboroom.config import read_preset

HASKELL = {
    0.0: {"mse": [0.0660, 0.0552, 0.0534, 0.0520, 0.0518], "kl": [0.0] * 5},
    1e-4: {"mse": [0.0684, 0.0593, 0.0581, 0.0579, 0.0573], "kl": [0.0040, 0.0043, 0.0046, 0.0049, 0.0049]},
}
"""β in the Haskell program's convention → its output after epochs 1 to 5, at 13 s an epoch."""


def first_images(count: int) -> elboroom.Dataset:
    """Return the first training images of MNIST, with pixels scaled by 1/256."""
    mnist = elboroom.load_data("mnist")
    x = mnist.x[mnist.indices("train")[:count]]
    return elboroom.Dataset(name="mnist", x=x, split=np.zeros(count, np.uint8), scale=256.0)


def train(data: elboroom.Dataset, haskell_beta: float, seed: int) -> dict[str, Any]:
    """Train five epochs and return the losses in the Haskell program's units."""
    pixels = math.prod(data.shape)
    config = read_preset("haskell-mnist").updated(epochs=5, seed=seed, beta=haskell_beta)
    torch.manual_seed(seed)
    vae = elboroom.VAE.build(config.model, shape=data.shape, scale=data.scale)
    history = elboroom.fit(vae, data, config=config, quiet=True)
    # With variance ½ the distortion is the summed squared error and (D/2) log π.
    mse = [row["distortion"] / pixels - 0.5 * math.log(math.pi) for row in history]
    kl = [row["beta"] * row["rate"] / pixels for row in history]
    seconds = float(np.mean([row["seconds"] for row in history]))
    return {"beta": haskell_beta, "seed": seed, "mse": mse, "kl": kl, "seconds_per_epoch": seconds}


def main() -> None:
    """Print the numbers of both programs side by side."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    data = first_images(10_000)
    rows = []
    for beta, printed in HASKELL.items():
        for name, values in printed.items():
            print(f"β={beta:g} {name:<4} Haskell    ", *(f"{value:.4f}" for value in values))
        for seed in range(chosen.seeds):
            row = train(data, beta, seed)
            rows.append(row)
            for name in ("mse", "kl"):
                print(f"β={beta:g} {name:<4} ours seed {seed}", *(f"{value:.4f}" for value in row[name]))
            print(f"       {row['seconds_per_epoch']:.2f} s an epoch", flush=True)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

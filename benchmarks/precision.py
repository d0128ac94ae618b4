"""Compare the test ELBO of ``precision = "auto"`` and fp32 on MNIST, over several seeds with the same noise.

::

    python benchmarks/precision.py --out benchmarks/results/precision.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch

import elboroom
from elboroom.data.batches import Batches
from elboroom.io.files import write_atomic


def train(data: elboroom.Dataset, precision: str, seed: int, epochs: int) -> float:
    """Return the test ELBO, measured in fp32, after training 784-1000-2 in this precision."""
    torch.manual_seed(seed)
    vae = elboroom.VAE.build(shape=data.shape, latent_dim=2, hidden=[1000])
    elboroom.fit(
        vae, data, epochs=epochs, batch_size=100, lr=1e-3, seed=seed, quiet=True, precision=precision
    )
    batches = Batches(data, torch.device("cpu"))
    return float(elboroom.evaluate(vae, batches, data.indices("test"), num_samples=0, seed=seed)["elbo"])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--data", default="mnist")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    data = elboroom.load_data(chosen.data)
    rows: list[dict[str, Any]] = []
    for seed in range(chosen.seeds):
        for precision in ("auto", "fp32"):
            elbo = train(data, precision, seed, chosen.epochs)
            rows.append({"precision": precision, "seed": seed, "test_elbo": elbo})
            print(f"seed {seed}  {precision:5s} test ELBO {elbo:.3f}", flush=True)
    means = {
        p: statistics.mean(r["test_elbo"] for r in rows if r["precision"] == p) for p in ("auto", "fp32")
    }
    found = {
        "epochs": chosen.epochs,
        "rows": rows,
        "means": means,
        "difference": means["auto"] - means["fp32"],
    }
    print(f"mean auto {means['auto']:.3f}, fp32 {means['fp32']:.3f}: {found['difference']:+.3f} nats")
    if chosen.out is not None:
        write_atomic(chosen.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

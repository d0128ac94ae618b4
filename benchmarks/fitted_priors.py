"""Measure the priors that are fitted after training: held-out log-density, pictures drawn from them, seconds.

An autoencoder and a quantised model of the first 5,000 training examples of MNIST, each a kind of prior after
another::

    python benchmarks/fitted_priors.py --out benchmarks/results/fitted_priors.json

The Fréchet distance is that of draws to 1,000 test examples, on the small network that elboroom trains.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import elboroom
from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.data.batches import Batches
from elboroom.evaluation.fitting import fit_prior, sampled_codes, score_prior
from elboroom.evaluation.picture_features import FeatureNet, frechet, train_feature_net
from elboroom.io.files import json_text, write_atomic
from elboroom.objectives.recipes import recipe

MODELS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "ae": ("ae", {"latent_dim": 8}, ("gmm", "flow", "knn", "vae")),
    "fsq": ("fsq", {"code_grid": (8,), "fsq_levels": (5, 5)}, ("autoregressive",)),
}


def pictures(vae: Any, n: int, low: float, high: float) -> Any:
    """Decoded draws from a model's prior, 0 to 1, (n, 28, 28, 1)."""
    torch.manual_seed(0)
    drawn = np.asarray(vae.sample(n))
    return ((drawn - low) / (high - low)).clip(0, 1).astype(np.float32)


def measure(name: str, epochs: int, test: int, net: FeatureNet, data: Any) -> list[dict[str, Any]]:
    """Train one model and fit every kind of prior to it."""
    base, options, kinds = MODELS[name]
    config = recipe(base, Config().updated(epochs=epochs), hidden=[256], **options)
    torch.manual_seed(0)
    vae = elboroom.VAE.build(config.model, shape=data.shape, scale=data.scale)
    elboroom.fit(vae, data, config=config, quiet=True)
    batches = Batches(data, next(vae.parameters()).device)
    train, rows = np.asarray(data.indices("train")), np.asarray(data.indices("test"))[:test]
    codes, unseen = (sampled_codes(vae, batches, some) for some in (train, rows))
    low, high = vae.value_range
    images = ((data.values(rows) - low) / (high - low)).astype(np.float32)

    def distance(drawing: Any) -> float:
        return frechet(net, images, pictures(drawing, len(rows), low, high)).value

    found = [{"model": name, "kind": "model's own", "frechet": distance(vae), "seconds": 0.0}]
    for kind in kinds:
        began, used = time.perf_counter(), time.process_time()
        fitted = fit_prior(codes, kind=kind, quantizer=getattr(vae.prior, "quantizer", None))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        scores = {part: one.as_json() for part, one in score_prior(vae, fitted, unseen).items()}
        fitted.density.to(next(vae.parameters()))
        row = {"model": name, "kind": kind, "prior": fitted.describe(), "scores": scores}
        view = vae.with_prior(fitted.density)
        found.append({**row, "frechet": distance(view), "seconds": seconds, "cpu_seconds": cpu})
        print(table(found), flush=True)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the results."""
    lines = [
        "| model | prior | held-out nats | that of N(0, I), or uniform | Fréchet distance | CPU seconds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        scores = row.get("scores", {})
        plain = scores.get("standard_normal", scores.get("uniform"))
        nats = [f"{one['value']:.2f}" if one else "" for one in (scores.get("fitted"), plain)]
        cpu = f"{row['cpu_seconds']:.0f}" if "cpu_seconds" in row else ""
        lines.append(
            f"| {row['model']} | {row['kind']} | {nats[0]} | {nats[1]} | {row['frechet']:.1f} | {cpu} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    whole = load_data("mnist")
    train, test = (np.asarray(whole.indices(part)) for part in ("train", "test"))
    rows = np.concatenate([train[: args.examples], test[: args.test]])
    assert whole.labels is not None
    labels, split = np.asarray(whole.labels)[rows], np.repeat([0, 1], [args.examples, args.test])
    images = np.asarray(whole.x)[rows]
    data = Dataset("mnist-5k", images, labels=labels, split=split.astype(np.uint8), scale=255)
    seen = images[: args.examples].reshape(-1, 28, 28, 1) / np.float32(255)
    net = train_feature_net(seen, labels[: args.examples], seed=0)
    results: list[dict[str, Any]] = []
    for name in MODELS:
        results += measure(name, args.epochs, args.test, net, data)
        kept = {"features": net.name, "options": vars(args) | {"out": str(args.out)}, "rows": results}
        write_atomic(args.out, json_text(kept, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()

"""Measure the priors that are fitted after training: held-out log-density, pictures drawn from them, seconds.

An autoencoder and quantised models of the first 5,000 training examples of MNIST (or of the digits of
scikit-learn), each a kind of prior after another::

    python benchmarks/fitted_priors.py --out benchmarks/results/fitted_priors.json

The Fréchet distance is that of draws to 1,000 test examples, on the small network that elboroom trains.
Beside it stand that of reconstructions, and of quantised models that of draws whose indices are each as
frequent as in training, but independent of one another.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import elboroom
from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.data.batches import Batches
from elboroom.evaluation.fitting import fit_prior, sampled_codes, score_prior
from elboroom.evaluation.picture_features import FeatureNet, frechet, train_feature_net
from elboroom.figures.grids import tile, to_uint8
from elboroom.io.files import json_text, write_atomic
from elboroom.objectives.recipes import recipe

MODELS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "ae": ("ae", {"latent_dim": 8}, ("gmm", "flow", "knn", "vae")),
    "vq-vae": ("vq-vae", {"code_grid": (8,), "codebook_size": 128}, ("autoregressive",)),
    "residual-vq": (
        "residual-vq",
        {"code_grid": (8,), "codebook_size": 32, "codebook_depth": 2},
        ("autoregressive",),
    ),
    "fsq": ("fsq", {"code_grid": (8,), "fsq_levels": (5, 5)}, ("autoregressive",)),
}


class IndependentCodes(torch.nn.Module):
    """Each index drawn from those of the training examples at its position, whatever the others are."""

    space = "codes"

    def __init__(self, quantizer: Any, seen: torch.Tensor):
        super().__init__()
        self.quantizer, self.seen, self.latent_dim = (quantizer,), seen, quantizer.latent_dim

    def sample(self, n: int) -> torch.Tensor:
        """Codes (n, d)."""
        chosen = torch.randint(len(self.seen), (n, self.seen.shape[1]))
        codes: torch.Tensor = self.quantizer[0].codes_of(self.seen.gather(0, chosen))
        return codes


def pictures(vae: Any, n: int, low: float, high: float) -> Any:
    """Decoded draws from a model's prior, 0 to 1, (n, height, width, 1)."""
    torch.manual_seed(0)
    return scaled(vae.sample(n), low, high)


def scaled(images: Any, low: float, high: float) -> Any:
    """Images from 0 to 1; each pixel of those that are too small for the feature network becomes four."""
    numbers = ((np.asarray(images) - low) / (high - low)).clip(0, 1).astype(np.float32)
    return numbers if numbers.shape[1] >= 12 else numbers.repeat(2, 1).repeat(2, 2)


def measure(
    name: str, epochs: int, test: int, net: FeatureNet, data: Any, sheets: Path | None
) -> list[dict[str, Any]]:
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
    images = scaled(data.values(rows), low, high)

    def distance(drawing: Any, kind: str) -> float:
        drawn = pictures(drawing, len(rows), low, high)
        if sheets is not None:
            sheet = Image.fromarray(to_uint8(tile(drawn[:96], columns=16))[..., 0])
            sheet.resize((3 * sheet.width, 3 * sheet.height), Image.Resampling.NEAREST).save(
                sheets / f"{name}-{kind}.png"
            )
        return frechet(net, images, drawn).value

    found = [{"model": name, "kind": "model's own", "frechet": distance(vae, "own"), "seconds": 0.0}]
    rebuilt = scaled(vae.reconstruct(data.x[rows]), low, high)
    found.append({"model": name, "kind": "reconstructions", "frechet": frechet(net, images, rebuilt).value})
    if base != "ae":
        apart = vae.with_prior(IndependentCodes(vae.posterior, codes))
        found.append({"model": name, "kind": "independent", "frechet": distance(apart, "independent")})
    for kind in kinds:
        began, used = time.perf_counter(), time.process_time()
        fitted = fit_prior(codes, kind=kind, quantizer=getattr(vae.prior, "quantizer", None))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        seen = codes if kind == "autoregressive" else None
        scores = {part: one.as_json() for part, one in score_prior(vae, fitted, unseen, seen=seen).items()}
        fitted.density.to(next(vae.parameters()))
        row = {"model": name, "kind": kind, "prior": fitted.describe(), "scores": scores}
        view = vae.with_prior(fitted.density)
        found.append({**row, "frechet": distance(view, kind), "seconds": seconds, "cpu_seconds": cpu})
        print(table(found), flush=True)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the results."""
    lines = [
        "| model | prior | held-out nats | of N(0, I), or uniform | of independent positions "
        "| Fréchet distance | CPU seconds |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        scores = row.get("scores", {})
        plain = scores.get("standard_normal", scores.get("uniform"))
        of = (scores.get("fitted"), plain, scores.get("independent"))
        nats = " | ".join(_nats(one) if one else "" for one in of)
        cpu = f"{row['cpu_seconds']:.0f}" if "cpu_seconds" in row else ""
        lines.append(f"| {row['model']} | {row['kind']} | {nats} | {row['frechet']:.1f} | {cpu} |")
    return "\n".join(lines)


def _nats(one: dict[str, Any]) -> str:
    return f"{one['value']:.2f}" + ("" if one["error"] is None else f" ± {one['error']:.2f}")


def data_of(name: str, examples: int, test: int) -> Dataset:
    """The first training and test examples of a set."""
    whole = load_data(name)
    parts = [np.asarray(whole.indices(part)) for part in ("train", "test")]
    rows = np.concatenate([parts[0][:examples], parts[1][:test]])
    assert whole.labels is not None
    split = np.repeat([0, 1], [min(examples, len(parts[0])), min(test, len(parts[1]))]).astype(np.uint8)
    return Dataset(name, np.asarray(whole.x)[rows], split, np.asarray(whole.labels)[rows], scale=whole.scale)


def main() -> None:
    """Measure all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--data", choices=["mnist", "digits"], default="mnist")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--sheets", type=Path, help="folder for sheets of draws")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    data = data_of(args.data, args.examples, args.test)
    assert data.labels is not None
    train = data.indices("train")
    seen = np.asarray(data.x)[train].reshape(len(train), *data.shape) / np.float32(data.scale)
    net = train_feature_net(scaled(seen, 0, 1), np.asarray(data.labels)[train], seed=0)
    results: list[dict[str, Any]] = []
    for name in args.models:
        results += measure(name, args.epochs, args.test, net, data, args.sheets)
        options = {key: value for key, value in vars(args).items() if key not in ("out", "sheets")}
        kept = {"features": net.name, "options": options, "rows": results}
        write_atomic(args.out, json_text(kept, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()

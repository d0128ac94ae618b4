r"""What the penalty ``equivariance`` does to codes that are turned and halved, and to reconstructions.

::

    OMP_NUM_THREADS=1 python benchmarks/equivariance.py --data dogpeople.npz --seeds 0 1 2 \
        --out benchmarks/results/equivariance.json

    OMP_NUM_THREADS=1 python benchmarks/equivariance.py --data dogpeople.npz --seeds 0 1 2 --size 64 \
        --channels 16 --limit 2248 --batch-size 8 --epochs 4 --lr 2e-3 --weights 0.3 \
        --out benchmarks/results/equivariance_64.json

Grey faces, halved to 32×32 or 64×64 pixels; the same network, steps and seeds with each weight. On faces
that are held out: PSNR of reconstructions, and the mean squared error of pictures decoded from codes that
were turned by 90° or halved by averages, against the pictures that were turned or halved. Existing results
are kept. A training takes about a minute on one idle core.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import elboroom
from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.io.files import json_text, write_atomic
from elboroom.networks.spatial import decode_grid
from elboroom.objectives import recipe
from elboroom.training.prepare import build

WEIGHTS = (0.0, 1.0)
DETAIL = {"gradient_difference": 1.0}


def faces(source: str, size: int, limit: int) -> Dataset:
    """The set with its pictures halved until they have ``size`` pixels a side, and fewer to train on."""
    data = load_data(source)
    rows = np.sort(np.concatenate([data.indices("train")[:limit], data.indices("test")]))
    x = torch.from_numpy(np.asarray(data.x[rows])).float().permute(0, 3, 1, 2)
    while x.shape[-1] > size:
        x = F.avg_pool2d(x, 2)
    small = x.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return Dataset(f"{Path(source).stem}-{size}", small, data.split[rows], scale=255)


def config_of(weight: float, seed: int, setting: dict[str, Any]) -> Config:
    """The recipe tokenizer without its critic, and with the penalty unless its weight is 0."""
    penalties = DETAIL | ({"equivariance": weight} if weight else {})
    options = {"conv_width": 16, "validation": 0.0, "precision": "fp32", "critic_start": 0.0}
    return recipe("tokenizer", Config(), **options, **setting, seed=seed, penalties=penalties)


@torch.no_grad()
def measured(vae: elboroom.VAE, data: Dataset) -> dict[str, float]:
    """PSNR in decibels and mean squared errors, over the test examples."""
    vae.eval()
    x = torch.from_numpy(np.asarray(data.x[data.indices("test")])).float() / 255
    found: dict[str, list[float]] = {
        "reconstruction": [],
        "turned": [],
        "halved": [],
        "turned and halved": [],
    }
    for part in x.split(200):
        codes = vae.encode(part.numpy()).mean.reshape(-1, *vae.latent_shape)
        pictures = part.permute(0, 3, 1, 2)
        half = F.avg_pool2d(codes, 2), F.avg_pool2d(pictures, 2)
        pairs = {"reconstruction": (codes, pictures), "halved": half}
        for name, (code, picture) in dict(pairs).items():
            turned = "turned and halved" if name == "halved" else "turned"
            pairs[turned] = torch.rot90(code, 1, (-2, -1)), torch.rot90(picture, 1, (-2, -1))
        for name, (code, picture) in pairs.items():
            drawn = vae.likelihood(decode_grid(vae.decoder, code)).mean.permute(0, 3, 1, 2)
            found[name] += (drawn - picture).square().mean((1, 2, 3)).tolist()
    errors = {name: float(np.mean(values)) for name, values in found.items()}
    psnr = float(np.mean([-10 * math.log10(value) for value in found["reconstruction"]]))
    return {"psnr": psnr, **{f"mse {name}": value for name, value in errors.items()}}


def compared(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times smaller errors are than with weight 0, and decibels lost, for each weight and seed."""
    without = {run["seed"]: run for run in runs if not run["weight"]}
    return [
        {
            "weight": run["weight"],
            "seed": run["seed"],
            "decibels lost": without[run["seed"]]["psnr"] - run["psnr"],
            **{
                f"{name} smaller by": without[run["seed"]][f"mse {name}"] / run[f"mse {name}"]
                for name in ("turned", "halved", "turned and halved")
            },
        }
        for run in runs
        if run["weight"]
    ]


def main() -> None:
    """Train with each weight and seed, measure, and write the file anew after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="dogpeople.npz")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--limit", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--levels", type=int, default=2, help="halvings from picture to code")
    parser.add_argument("--channels", type=int, default=4, help="of the code")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", default=list(WEIGHTS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data = faces(options.data, options.size, options.limit)
    setting = {
        **{"conv_levels": options.levels, "latent_channels": options.channels, "epochs": options.epochs},
        **{"batch_size": options.batch_size, "lr": options.lr},
    }
    runs: list[dict[str, Any]] = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
    known = {(run["weight"], run["seed"]) for run in runs}
    for seed in options.seeds:
        for weight in sorted({0.0, *options.weights}):  # that without the penalty first
            if (weight, seed) in known:
                continue
            config = config_of(weight, seed, setting)
            vae = build(config, data)
            elboroom.fit(vae, data, config=config, quiet=True)
            runs.append({"weight": weight, "seed": seed, **measured(vae, data)})
            print(runs[-1], flush=True)
            record = {
                "data": {"name": data.name, **{part: len(data.indices(part)) for part in ("train", "test")}},
                "setting": setting,
                "torch": torch.__version__,
                "machine": platform.machine(),
                "runs": runs,
                "against weight 0": compared(runs),
            }
            write_atomic(options.out, json_text(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

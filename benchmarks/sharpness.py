r"""Measure what a critic of patches and a penalty on texture do to reconstructions of held-out pictures.

The same spatial networks, noise and steps, with and without them, over several seeds, on a set of colour
pictures with a test split::

    python benchmarks/sharpness.py $ELBOROOM_DATA/dogpeople_rgb.npz --limit 2248 \
        --out benchmarks/results/sharpness.json --sheet sharpness.png

All start with the same weights and see the same batches. The penalties' weights rise over the whole
training; the critic learns from the first quarter on and counts in the second half. Each finished model is
kept in `--out`, and a second call continues after the last. The codes are of 32×32×3; `--levels 2 --channels
16` makes them 16×16×16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import elboroom
from elboroom.config import Config
from elboroom.evaluation.picture_features import FeatureNet, frechet, train_feature_net
from elboroom.evaluation.pictures import compare_pictures
from elboroom.figures.grids import ImageGrid, stack
from elboroom.figures.style import to_png
from elboroom.io.files import write_atomic

NETWORKS: dict[str, Any] = {
    **{"network": "spatial", "conv_width": 16},
    **{"activation": "silu", "likelihood": "gaussian", "likelihood_scale": 0.1, "learn_scale": "shared"},
}
STEPS: dict[str, Any] = {
    **{"batch_size": 8, "lr": 2e-3, "lr_schedule": "CosineAnnealingLR", "ema": 0.99, "flip": True},
    **{"optimizer": "AdamW", "clip": 2000.0, "beta": 0.01},
}
CRITIC: dict[str, Any] = {
    **{"critic_start": 0.5, "critic_warmup": 0.25},
    **{"critic_width": 16, "critic_layers": 2, "critic_lr": 2e-3},
}
TEXTURE = {"texture": 8.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "likelihood": {},
    "likelihood and texture": {"penalties": TEXTURE},
    "likelihood and critic": {"penalties": {"patch_critic": 0.15}, **CRITIC},
    "likelihood, critic and texture": {"penalties": {"patch_critic": 0.15, **TEXTURE}, **CRITIC},
}
MEASURED = ("mse", "psnr", "ssim", "high_frequency_share", "high_frequency_correlation", "frechet")


def train(data: elboroom.Dataset, options: dict[str, Any], seed: int, epochs: int) -> tuple[Any, float]:
    """Train one model; return it with the processor time in seconds."""
    ramp = {"penalty_ramp": float(epochs)} if "penalties" in options else {}
    config = Config().updated(**options, **STEPS, **ramp, epochs=epochs, seed=seed)
    torch.manual_seed(seed)
    vae = elboroom.VAE.build(config.model, shape=data.shape, scale=data.scale)
    began = time.process_time()
    elboroom.fit(vae, data, config=config, quiet=True)
    return vae, time.process_time() - began


def measure(images: Any, rebuilt: Any, net: FeatureNet) -> dict[str, float]:
    """Compare held-out pictures with their reconstructions."""
    found = compare_pictures(images, rebuilt)
    numbers = {name: measured.value for name, measured in found.items()}
    numbers["high_frequency_correlation"] = found["high_frequency_share"].details["correlation"]
    return {**numbers, "frechet": frechet(net, images, rebuilt).value}


def table(rows: list[dict[str, Any]], name: str) -> str:
    """Lay out means and their standard errors over seeds, a row for each variant."""
    lines = [
        f"Features: `{name}`.\n",
        "| loss | MSE | PSNR, dB | SSIM | high-frequency share | its correlation | Fréchet distance |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    digits = dict(zip(MEASURED, (5, 2, 3, 3, 3, 3), strict=True))
    for variant in VARIANTS:
        chosen = [row for row in rows if row["variant"] == variant]
        if not chosen:
            continue
        cells = []
        for measured in MEASURED:
            values = [row[measured] for row in chosen]
            error = f" ± {_error(values):.{digits[measured]}f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.{digits[measured]}f}{error}")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", help="pictures with a test split, of which at least ten are held out")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--levels", type=int, default=1, help="halvings from pictures to codes")
    options.add_argument("--channels", type=int, default=3, help="of codes")
    options.add_argument("--only", nargs="+", choices=[*VARIANTS], default=[*VARIANTS], help="rows to make")
    options.add_argument("--limit", type=int, help="training pictures to use at most")
    options.add_argument("--out", type=Path)
    options.add_argument(
        "--sheet", type=Path, help="picture of held-out examples and reconstructions, to look at"
    )
    chosen = options.parse_args()
    data = elboroom.load_data(chosen.data)
    held_out, training = data.indices("test"), data.indices("train")
    if chosen.limit is not None:
        kept = np.concatenate([training[: chosen.limit], held_out])
        labels = None if data.labels is None else data.labels[kept]
        split = np.arange(len(kept)) >= len(kept) - len(held_out)
        data = elboroom.Dataset(data.name, data.x[kept], split, labels, data.label_names, scale=data.scale)
        held_out, training = data.indices("test"), data.indices("train")
    images = np.asarray(data.x[held_out], np.float32) / (data.scale or 1)
    labels = None if data.labels is None else data.labels[training]
    net = train_feature_net(np.asarray(data.x[training], np.float32) / (data.scale or 1), labels)
    networks = {**NETWORKS, "conv_levels": chosen.levels, "latent_channels": chosen.channels}
    found: dict[str, Any] = {
        "data": data.name,
        "features": net.name,
        "epochs": chosen.epochs,
        "training_pictures": len(training),
        "held_out_pictures": len(held_out),
        "networks": networks,
        "steps": STEPS,
    }
    rows = finished(chosen.out, found)
    strips = {"held out": images[:12]}
    for seed in range(chosen.seeds):
        for variant in chosen.only:
            extra = VARIANTS[variant]
            if any((row["variant"], row["seed"]) == (variant, seed) for row in rows):
                continue
            vae, seconds = train(data, networks | extra, seed, chosen.epochs)
            rebuilt = vae.reconstruct(data.x[held_out]).clamp(0, 1).cpu().numpy()
            row = {
                "variant": variant,
                "options": extra,
                "seed": seed,
                **measure(images, rebuilt, net),
                "cpu_seconds": seconds,
            }
            rows.append(row)
            strips[f"{variant}, seed {seed}"] = rebuilt[:12]
            print(json.dumps(row), flush=True)
            if chosen.out is not None:
                write_atomic(chosen.out, json.dumps({**found, "rows": rows}, indent=1) + "\n")
                write_atomic(chosen.out.with_suffix(".md"), table(rows, net.name))
            if chosen.sheet is not None:
                figure = stack(ImageGrid(np.concatenate([*strips.values()]), 12, row_labels=[*strips]))
                write_atomic(chosen.sheet, to_png(figure))
    print(table(rows, net.name))


def finished(out: Path | None, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that an interrupted call with the same settings has kept."""
    if out is None or not out.exists():
        return []
    kept = json.loads(out.read_text())
    rows: list[dict[str, Any]] = kept.pop("rows")
    rows = [row for row in rows if row["options"] == VARIANTS.get(row["variant"])]
    return rows if kept == json.loads(json.dumps(wanted)) else []


if __name__ == "__main__":
    main()

"""Images per second of a tokenizer's training step, beside a plain loop over diffusers' own AutoencoderKL.

Both train the same networks from the same weights with AdamW in float32 on the same images: mean squared
error of pixels from -1 to 1 plus 1e-6 · KL, as in diffusers' example for AutoencoderKL without its perceptual
loss and its critic. They take turns, and medians over rounds are compared::

    pip install 'elboroom[diffusers]'
    python benchmarks/tokenizer.py --out benchmarks/results/tokenizer.json     # 2 minutes on two cores
    python benchmarks/tokenizer.py --size 128 --batch-size 4 --device cuda

Before that, their reconstructions are compared, so that both are the same model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom import VAE, Config
from elboroom.data import load_data
from elboroom.exports import export
from elboroom.io.files import write_atomic
from elboroom.training.loop import Training

CHANNELS, GROUPS, LEARNING_RATE, KL = (32, 64, 64), 16, 1e-4, 1e-6


def configured(size: int, batch_size: int, device: str) -> Config:
    """The configuration of elboroom's training."""
    return Config().updated(
        shape=(size, size, 3),
        network="autoencoder-kl",
        block_channels=CHANNELS,
        norm_groups=GROUPS,
        conv_blocks=2,
        attention=True,
        likelihood="gaussian",
        likelihood_scale=0.125**0.5,
        beta=KL,
        beta_unit="mean",
        optimizer="AdamW",
        optimizer_options={"weight_decay": 1e-2},
        lr=LEARNING_RATE,
        batch_size=batch_size,
        epochs=1,
        validation=0.0,
        precision="fp32",
        device=device,
    )


def ours(vae: VAE, images: np.ndarray, config: Config) -> Callable[[int], None]:
    """A function that trains for some steps with elboroom's engine."""
    training = Training(vae, load_data(images), config, quiet=True)
    engine, size = training.engine, config.training.batch_size

    def steps(count: int) -> None:
        vae.train()
        engine.follow_model()
        order = np.split(np.resize(np.arange(len(images)), count * size), count)
        for rows in engine.batches.stream(order):
            engine.step(rows)

    return steps


def theirs(model: Any, images: np.ndarray, config: Config, device: torch.device) -> Callable[[int], None]:
    """A function that trains for some steps with a plain loop, as in diffusers' example."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    size = config.training.batch_size

    def steps(count: int) -> None:
        for number in range(count):
            first = number * size % len(x)
            target = x[first : first + size].float() / 127.5 - 1
            posterior = model.encode(target).latent_dist
            decoded = model.decode(posterior.sample()).sample
            loss = torch.nn.functional.mse_loss(decoded, target) + KL * posterior.kl().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return steps


def same_start(vae: VAE, model: Any, images: np.ndarray) -> float:
    """The largest difference between reconstructions from the posterior's mean, pixels from -1 to 1."""
    x = torch.from_numpy(images[:2]).float() / 255
    with torch.no_grad():
        one = 2 * vae.generate(vae.infer(x).mean).mean - 1
        other = model.decode(model.encode(2 * x.permute(0, 3, 1, 2) - 1).latent_dist.mean).sample
    return float((one - other.permute(0, 2, 3, 1)).abs().max())


def measure(size: int, batch_size: int, steps: int, rounds: int, device: str) -> dict[str, Any]:
    """Time both, in turns."""
    from diffusers import AutoencoderKL

    config = configured(size, batch_size, device)
    torch.manual_seed(0)
    vae = VAE.build(config.model).eval()
    images = np.random.default_rng(0).integers(0, 256, (8 * batch_size, size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        export(vae, Path(folder) / "kl", "diffusers")
        model = AutoencoderKL.from_pretrained(Path(folder) / "kl")
    gap = same_start(vae, model, images)
    where = torch.device(device)
    programs = {"elboroom": ours(vae, images, config), "diffusers": theirs(model, images, config, where)}
    speeds: dict[str, list[float]] = {name: [] for name in programs}
    for run in programs.values():
        run(2)
    for number in range(rounds):
        for name in sorted(programs, reverse=bool(number % 2)):
            begin = time.perf_counter()
            programs[name](steps)
            if where.type == "cuda":
                torch.cuda.synchronize()
            speeds[name].append(batch_size * steps / (time.perf_counter() - begin))
    ratios = [a / b for a, b in zip(speeds["elboroom"], speeds["diffusers"], strict=True)]
    return {
        **{"size": size, "batch_size": batch_size, "steps": steps, "rounds": rounds, "device": device},
        "parameters": sum(p.numel() for p in model.parameters()),
        "largest_difference_at_start": gap,
        "images_per_second": {name: statistics.median(found) for name, found in speeds.items()},
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "diffusers")},
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write."""
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    reader.add_argument("--size", type=int, default=64, help="side of the images")
    reader.add_argument("--batch-size", type=int, default=8)
    reader.add_argument("--steps", type=int, default=4, help="in each round")
    reader.add_argument("--rounds", type=int, default=7)
    reader.add_argument("--device", default="cpu")
    reader.add_argument("--out", type=Path)
    given = reader.parse_args(argv)
    found = measure(given.size, given.batch_size, given.steps, given.rounds, given.device)
    text = json.dumps(found, indent=2)
    print(text)
    if given.out is not None:
        write_atomic(given.out, text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m benchmarks.gpu.evaluation``: are NLL and codes on a GPU right and quick, also in little memory?

The numbers are compared with those of the CPU for the same noise, and with those of other chunk sizes. Times
stand beside a plain loop over the same model, one chunk of fixed size after the other.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from elboroom.distributed.noise import noise_from
from elboroom.io.files import write_atomic
from elboroom.models import chunks, inference
from elboroom.models.vae import VAE

MODELS: dict[str, dict[str, Any]] = {
    "784-1000-2": {"hidden": [1000], "latent_dim": 2},
    "784-400-400-20": {"hidden": [400, 400], "latent_dim": 20},
    "conv 28×28": {"network": "conv", "latent_dim": 8},
}
# float32 sums of 784 terms in another order, in nats of some 500.
_CLOSE = 2e-4


def model(name: str, device: torch.device) -> VAE:
    """Return a model that no training has made alike."""
    torch.manual_seed(0)
    return VAE.build(shape=(28, 28, 1), **MODELS[name]).to(device)


def images(n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random bytes."""
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28, 1), dtype=np.uint8)


@contextmanager
def same_noise() -> Iterator[None]:
    """Draw the same codes on every device: from a generator of the CPU, as many at once as on a GPU."""
    generator = torch.Generator().manual_seed(5)

    def draw(distribution: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        make = torch.randn if distribution == "normal" else torch.rand
        return make(shape, generator=generator).to(like)

    with noise_from(draw), mock.patch.object(inference, "_DECODED_NUMBERS", chunks.MOST_NUMBERS):
        yield


def compare(name: str, device: torch.device, n: int, num_samples: int) -> dict[str, Any]:
    """Largest differences in nats and in codes between devices, chunk sizes and amounts of memory."""
    x, vae, on_cpu = images(n), model(name, device), model(name, torch.device("cpu"))
    with same_noise():
        expected, codes = on_cpu.nll(x, num_samples).value, on_cpu.embed(x)
    found = {"codes": float((vae.embed(x).cpu() - codes).abs().max() / codes.abs().max())}
    nbytes = num_samples * 784 * 32
    for what, room in (
        ("as it is", None),
        ("room for two images", 8 * nbytes),
        ("room for few draws", nbytes),
    ):
        limited = mock.patch.object(chunks, "free_memory", lambda _device, room=room: room)
        with same_noise(), limited if room else mock.MagicMock():
            value = vae.nll(x, num_samples).value.cpu()
        found[what] = float((value - expected).abs().max() / expected.abs().max())
    return {"differences": found, "ok": all(value <= _CLOSE for value in found.values())}


def out_of_memory(device: torch.device, n: int = 200, num_samples: int = 1000) -> dict[str, Any]:
    """Run out of memory in the middle: PyTorch is allowed less than it believes to have."""
    vae, x = model("784-1000-2", device), images(n)
    with same_noise():
        expected = vae.nll(x, num_samples).value
    torch.cuda.empty_cache()
    piece = 4 * min(chunks.MOST_NUMBERS, n * num_samples * 784)
    whole = torch.cuda.get_device_properties(device).total_memory
    allowed = torch.cuda.memory_allocated(device) + 1.5 * piece
    before = torch.cuda.memory_stats(device).get("num_ooms", 0)
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / whole), device)
    try:
        with same_noise():
            value = vae.nll(x, num_samples).value
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    found = float((value - expected).abs().max() / expected.abs().max())
    times = torch.cuda.memory_stats(device).get("num_ooms", 0) - before
    return {
        "differences": {"out of memory on the way": found},
        "times": times,
        "ok": found <= _CLOSE and times > 0,
    }


def plain_nll(vae: VAE, x: np.ndarray[Any, Any], num_samples: int) -> Tensor:
    """Estimate −log p(x) in a plain loop: ten draws of all images at a time."""
    with torch.no_grad():
        examples = torch.from_numpy(x).to(next(vae.parameters()).device) / 255
        q: Any = vae.infer(examples)
        weights = []
        for _ in range(0, num_samples, 10):
            z, log_q = q.rsample_and_log_prob(10)
            weights.append(vae.generate(z).log_prob(examples) + vae.prior.log_prob(z) - log_q)
        return math.log(num_samples) - torch.logsumexp(torch.cat(weights), 0)


def plain_codes(vae: VAE, x: np.ndarray[Any, Any]) -> Tensor:
    """Encode in a plain loop, 1,000 images at a time."""
    device = next(vae.parameters()).device
    with torch.no_grad():
        pieces = [torch.from_numpy(x[i : i + 1000]).to(device) / 255 for i in range(0, len(x), 1000)]
        return torch.cat([vae.infer(piece).mean for piece in pieces])


def times(device: torch.device, n: int, num_samples: int, many: int, rounds: int) -> dict[str, Any]:
    """Milliseconds, medians over rounds in which the ways take turns."""
    vae, some, all_images = model("784-1000-2", device), images(n), images(many)
    ways: dict[str, Callable[[], Tensor]] = {
        "nll": lambda: vae.nll(some, num_samples).value,
        "nll bf16": lambda: vae.nll(some, num_samples, precision="bf16").value,
        "nll, plain loop": lambda: plain_nll(vae, some, num_samples),
        "embed": lambda: vae.embed(all_images),
        "embed bf16": lambda: vae.embed(all_images, precision="bf16"),
        "embed, plain loop": lambda: plain_codes(vae, all_images),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(rounds + 1):
        for way, run in ways.items():
            start = time.perf_counter()
            run().sum().item()  # which waits for the device
            if round_:  # the first is to warm up
                found[way].append(1e3 * (time.perf_counter() - start))
    return {way: statistics.median(values) for way, values in found.items()}


def main() -> int:
    """Check and measure; return 1 if numbers differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.evaluation", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000, help="whose NLL is timed")
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--embedded", type=int, default=60_000, help="images that are encoded")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    device, few = torch.device(asked.device), max(2, asked.num_samples // 10)
    rows = {name: compare(name, device, max(2, asked.images // 50), few) for name in MODELS}
    if device.type == "cuda":
        rows["little memory"] = out_of_memory(device)
    measured = times(device, asked.images, asked.num_samples, asked.embedded, asked.rounds)
    result = {"ok": all(row["ok"] for row in rows.values()), "rows": rows, "milliseconds": measured}
    result["of"] = {"images": asked.images, "num_samples": asked.num_samples, "embedded": asked.embedded}
    print(json.dumps(result), flush=True)
    write_atomic(asked.out, json.dumps(result, indent=1) + "\n")
    return int(not result["ok"])


if __name__ == "__main__":
    raise SystemExit(main())

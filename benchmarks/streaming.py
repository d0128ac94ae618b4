"""Compare streamed with resident data: speed of training, and memory as the data grow.

Speed: a convolutional model at 64×64×3 is trained by the same engine, a few steps on resident data, then a
few on data streamed from a file, and so on, with the order of the two swapped in every round::

    python benchmarks/streaming.py rate --out benchmarks/results/streaming.json

Memory: for each size, a process trains some hundred steps on data streamed from a sparse ``.npy`` file, which
reads as zeros and takes no disk space, while its memory is sampled. The model is small, so that much data is
read::

    python benchmarks/streaming.py memory --gigabytes 1 5 20 --out benchmarks/results/streaming.json

Both write into one file, and each keeps the other's results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

import elboroom
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.data.stream import chunked_permutation
from elboroom.training import loop
from elboroom.training.order import epoch_order
from elboroom.training.validation import measure

SHAPE = (64, 64, 3)
ROW_BYTES = 64 * 64 * 3


def machine() -> dict[str, object]:
    """Return processor, cores and versions."""
    cpu = platform.processor() or platform.machine()
    try:
        facts = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(": ")[2] for line in facts if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "cpu": cpu,
        "cores": psutil.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def make_training(data: Dataset, config: Config, *, resident: bool) -> loop.Training:
    """Set up the training that `elboroom.fit` would run, with resident or streamed data."""
    loop.Batches = partial(Batches, resident=resident)  # type: ignore[misc]
    torch.manual_seed(0)
    vae = elboroom.VAE.build(config.model, shape=data.shape, scale=data.scale)
    return loop.Training(vae, data, config, quiet=True)


def take_steps(training: loop.Training, order: Sequence[np.ndarray]) -> float:
    """Train on batches of row numbers and return examples per second."""
    training.engine.vae.train()
    started = time.perf_counter()
    for batch in training.engine.batches.stream(order):
        training.engine.step(batch)
    training.engine.means()  # waits for the device
    return sum(map(len, order)) / (time.perf_counter() - started)


def measure_rate(options: argparse.Namespace) -> dict[str, object]:
    """Return the median examples per second of both, and the median of their ratio in each round."""
    config = Config().updated(
        network="conv", conv_width=options.width, latent_dim=16, batch_size=options.batch, validation=0.0
    )
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        path = Path(folder, "x.npy")
        np.save(path, np.random.default_rng(0).integers(0, 256, (options.rows, *SHAPE), dtype=np.uint8))
        data = elboroom.load_data(path)
        both = {
            name: make_training(data, config, resident=name == "resident")
            for name in ("resident", "streamed")
        }
        indices = both["streamed"].train_indices
        rates: dict[str, list[float]] = {"resident": [], "streamed": [], "streamed_chunked": []}
        names = list(rates)
        for number in range(-1, options.rounds):  # the first warms up
            order = epoch_order(indices, config.training, number + 1)[: options.steps]
            chunked = chunked_permutation(indices, 32, 512, np.random.default_rng(number + 1))
            chunked_order = [
                chunked[i * options.batch : (i + 1) * options.batch] for i in range(options.steps)
            ]
            for name in names if number % 2 else reversed(names):
                kind, _, shuffle = name.partition("_")
                rate = take_steps(both[kind], chunked_order if shuffle else order)
                if number >= 0:
                    rates[name].append(rate)
                    print(f"round {number} {name:17} {rate:8.1f} examples/s", flush=True)
    result: dict[str, object] = {"model": f"conv, width {options.width}, 64×64×3, batch {options.batch}"}
    result |= {"rows": options.rows, "steps_per_round": options.steps, "rounds": options.rounds}
    for name, found in rates.items():
        result[f"{name}_examples_per_second"] = round(statistics.median(found), 1)
        if name != "resident":
            shares = [a / b for a, b in zip(found, rates["resident"], strict=True)]
            result[f"{name}_share_of_resident"] = round(statistics.median(shares), 4)
            result[f"{name}_share_range"] = [round(min(shares), 4), round(max(shares), 4)]
    return result


def write_sparse(path: Path, gigabytes: float) -> None:
    """Write a sparse .npy file of images; the first one is grey, so that the scale is known."""
    rows = int(gigabytes * 1e9) // ROW_BYTES
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.write(bytes([128]) * ROW_BYTES)
        file.truncate(start + rows * ROW_BYTES)
        os.fsync(file.fileno())


def measure_one(options: argparse.Namespace) -> None:
    """Train from one sparse file and print the memory used, as a line of JSON."""
    process, samples, done = psutil.Process(), [], threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            samples.append(process.memory_info().rss)

    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        path = Path(folder, "x.npy")
        write_sparse(path, options.gigabytes[0])
        on_disk = path.stat().st_blocks * 512
        before = process.memory_info().rss
        threading.Thread(target=sample, daemon=True).start()
        data = elboroom.load_data(path)
        config = Config().updated(hidden=(64,), latent_dim=16, batch_size=options.batch)
        training = make_training(data, config, resident=False)
        data.fingerprint()
        order = epoch_order(training.train_indices, training.config.training, 0)[: options.steps]
        take_steps(training, order)
        measure(training.engine, training.validation_indices[:5000], 0)
        done.set()
    read = (sum(map(len, order)) + min(5000, len(training.validation_indices))) * ROW_BYTES
    megabytes = {"before": before, "peak": max(samples), "on_disk": on_disk, "read": read}
    row = {"gigabytes": options.gigabytes[0], "rows": len(data), "steps": len(order)}
    row |= {f"{name}_mb": round(value / 1e6, 1) for name, value in megabytes.items()}
    # Memory for this many rows whatever their size: split, shuffled order, batches.
    row["row_numbers_mb"] = round(len(data) * (1 + 3 * 8) / 1e6, 1)
    print(json.dumps(row))


def measure_memory(options: argparse.Namespace) -> list[dict[str, object]]:
    """Run `measure_one` for each size in a separate process."""
    rows = []
    for size in options.gigabytes:
        command = [sys.executable, __file__, "one", "--gigabytes", str(size), "--steps", str(options.steps)]
        command += [
            "--batch",
            str(options.batch),
            *(["--scratch", options.scratch] if options.scratch else []),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            sys.exit(ran.stderr)
        rows.append(json.loads(ran.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure speed or memory and add the result to the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("rate", "memory", "one"))
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1.0, 5.0, 20.0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=16, help="number of channels at the finest level")
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument(
        "--steps", type=int, default=None, help="number of steps in each round, or for each size"
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--scratch", help="folder for the data (default: a temporary one)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.steps = options.steps or (20 if options.what == "rate" else 300)
    options.batch = options.batch or (64 if options.what == "rate" else 256)
    if options.what == "one":
        measure_one(options)
        return
    result = measure_rate(options) if options.what == "rate" else measure_memory(options)
    print(json.dumps(result, indent=2))
    if options.out is not None:
        held = json.loads(options.out.read_text()) if options.out.exists() else {}
        held[options.what] = {"machine": machine(), "result": result}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

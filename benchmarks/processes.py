"""Measure the speed of one, two and three processes on one machine, and the cost of summing gradients.

Each process has one thread and so uses one core::

    python benchmarks/processes.py --out benchmarks/results/processes.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom.io.files import write_atomic

CASES = {
    "mlp 784-1000-2": ((28, 28, 1), ["--hidden", "1000"]),
    "conv 64×64×3": ((64, 64, 3), ["--network", "conv", "--latent-dim", "32", "--conv-width", "16"]),
}


def speed(data: Path, options: list[str], batch: int, processes: int, epochs: int) -> float:
    """Return images per second, the median over all epochs but the first."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "elboroom", "train", str(data), "--out", str(run), *options]
        command += ["--batch-size", str(batch), "--epochs", str(epochs), "--validation", "0", "--quiet"]
        command += ["--figures-every", "0", "--devices", str(processes), "--precision", "fp32"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return statistics.median(row["images_per_second"] for row in rows[1:])


def all_reduce(numbers: int, processes: int) -> float:
    """Return the median time in seconds, of 20, to sum ``numbers`` float32 numbers over the processes."""
    program = (
        "import time, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        f"x = torch.zeros({numbers})\n"
        "times = []\n"
        "for _ in range(25):\n"
        "    start = time.perf_counter(); dist.all_reduce(x); times.append(time.perf_counter() - start)\n"
        "if dist.get_rank() == 0: print(sorted(times[5:])[10])\n"
        "dist.destroy_process_group()\n"
    )
    shared = os.environ | {
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29533",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=shared | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate()[0] for process in running]
    return float(outputs[0].strip())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path)
    options.add_argument("--images", type=int, default=6000)
    chosen = options.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "torch": torch.__version__, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, (shape, more) in CASES.items():
            count = chosen.images if len(more) == 2 else chosen.images // 6
            data = Path(folder) / "images.npy"
            np.save(data, np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8))
            for batch in (100, 400) if len(more) == 2 else (64,):
                for processes in (1, 2, 3):
                    rate = speed(data, more, batch, processes, 4)
                    found["rows"].append(
                        {"case": name, "batch": batch, "processes": processes, "images_per_second": rate}
                    )
                    print(f"{name:16s} batch {batch:4d}  {processes} processes  {rate:10,.0f} images/s")
    for processes in (2, 3):
        for numbers in (1 << 16, 1_576_786, 1 << 23):
            seconds = all_reduce(numbers, processes)
            found["rows"].append({"all_reduce": numbers, "processes": processes, "seconds": seconds})
            print(f"sum of {numbers:9,d} numbers over {processes} processes: {1e3 * seconds:.2f} ms")
    if chosen.out is not None:
        write_atomic(chosen.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

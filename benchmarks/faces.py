"""Measure time and memory of preparing photos with known landmarks.

Writes JPEG photos about 500 pixels wide, each with a drawn face, and prepares them::

    python benchmarks/faces.py --photos 10000 --workers 2 --out benchmarks/results/faces.json
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from elboroom.data.faces.landmarks import COLUMNS
from elboroom.data.faces.prepare import prepare_faces

BASES = 8


def write_photos(folder: Path, count: int) -> None:
    """Write photos with sides of 400 to 600 pixels, each a new crop of a noisy picture of a face."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    bases = []
    for _ in range(BASES):
        coarse = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        base = Image.fromarray(coarse).resize((700, 700), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(base)
        draw.ellipse((220, 180, 480, 520), fill=(220, 180, 150))
        for x in (290, 410):
            draw.ellipse((x - 18, 300 - 12, x + 18, 300 + 12), fill=(30, 20, 20))
        draw.ellipse((300, 425, 400, 455), fill=(160, 60, 60))
        noise = rng.normal(0, 6, (700, 700, 3))
        bases.append(Image.fromarray((np.asarray(base) + noise).clip(0, 255).astype(np.uint8)))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", *COLUMNS[:4], *COLUMNS[6:]))
        for index in range(count):
            left, upper = rng.integers(0, 130, 2).tolist()
            right, lower = rng.integers(530, 700, 2).tolist()
            photo = bases[index % BASES].crop((left, upper, right, lower))
            photo.save(folder / f"{index:06d}.jpg", quality=88)
            places = [(290, 300), (410, 300), (350, 440)]
            table.writerow((f"{index:06d}.jpg", *(v for x, y in places for v in (x - left, y - upper))))


def resident() -> float:
    """Return the resident memory of this process in megabytes."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


class Peak(threading.Thread):
    """Track peak memory during a task; the operating system's peak would count what came before it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes, self._over = resident(), threading.Event()

    def run(self) -> None:
        """Sample every 20 ms until stopped."""
        while not self._over.wait(0.02):
            self.megabytes = max(self.megabytes, resident())

    def stop(self) -> float:
        """Stop sampling and return the peak in megabytes."""
        self._over.set()
        self.join()
        return self.megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place, "people")
        write_photos(photos, options.photos)
        megabytes = sum(path.stat().st_size for path in photos.iterdir()) / 2**20
        before, peak = resident(), Peak()
        peak.start()
        cpu = time.process_time()
        first = prepare_faces(
            [photos],
            Path(place, "faces"),
            size=options.size,
            channels=options.channels,
            workers=options.workers,
        )
        cpu = time.process_time() - cpu
        again = prepare_faces(
            [photos],
            Path(place, "faces"),
            size=options.size,
            channels=options.channels,
            workers=options.workers,
        )
        result = {
            "photos": options.photos,
            "megabytes_of_photos": round(megabytes, 1),
            "workers": options.workers,
            "kept": first.kept,
            "seconds": round(first.seconds, 2),
            "photos_per_second": round(options.photos / first.seconds, 1),
            "cpu_seconds": round(cpu, 2),
            "seconds_second_run": round(again.seconds, 3),
            "reused": again.reused,
            "megabytes_before": round(before, 1),
            "megabytes_peak": round(peak.stop(), 1),
            "megabytes_high_water": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
    print(json.dumps(result, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

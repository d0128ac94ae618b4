"""What one process of a test's conditional training does: RANK=… python job.py FOLDER KIND ..."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from elboroom import fit

if __package__:
    from .known import build, images
else:  # run as a script
    sys.path.insert(0, str(Path(__file__).parent))
    from known import build, images  # type: ignore[import-not-found,no-redef]

OPTIONS: dict[str, Any] = {"batch_size": 7, "validation": 0.2, "lr": 1e-2, "quiet": True}


def train(kind: str, out: Path, epochs: int = 3, **options: Any) -> list[dict[str, Any]]:
    """Train the small conditional model; 38 examples make batches of 7 and one of 3."""
    torch.set_num_threads(1)
    options = OPTIONS | options if not options.get("resume") else {"quiet": True, **options}
    history: list[dict[str, Any]] = fit(
        build(condition=kind), images(), out=out, epochs=epochs, flip=True, binarize="stochastic", **options
    )
    return history


if __name__ == "__main__":
    for name in sys.argv[2:]:
        train(name, Path(sys.argv[1]) / name)

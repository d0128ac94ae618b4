"""What each process of the two does: trains some combinations and writes down what came of it.

``torchrun --nproc-per-node 2 -m battery.job FOLDER COMBINATION ...`` from the folder of the tests.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import torch
from safetensors.torch import save_file

from .combinations import ALL, Combination, build, train


def run(folder: Path, combinations: list[Combination]) -> None:
    """Train each for two epochs; history and weights go to a folder of the process's number."""
    torch.set_num_threads(1)
    own = folder / os.environ.get("RANK", "0")
    own.mkdir(parents=True)
    for one in combinations:
        vae = build(one)
        try:
            history = train(one, vae)
        except Exception:  # the same in both, which then go on with the next
            (own / f"{one}.error").write_text(traceback.format_exc())
            continue
        (own / f"{one}.json").write_text(json.dumps(history))
        weights = {name: value.contiguous() for name, value in vae.state_dict().items()}
        save_file(weights, own / f"{one}.safetensors")


if __name__ == "__main__":
    names = {str(one): one for one in ALL}
    run(Path(sys.argv[1]), [names[name] for name in sys.argv[2:]])

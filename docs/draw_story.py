"""Draw the figures of ``story.md``, and write the numbers in it to ``pictures/story.json``.

Trains small models on MNIST and on ``dogpeople.npz``, both from the folder that ``ELBOROOM_DATA`` names, for
a few minutes on one core. No photo of a face is drawn, as the photos of the set may not be published::

    python docs/draw_story.py            # or, for some of the studies: python docs/draw_story.py maps friends
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from story_studies import STUDIES

from elboroom.figures import style
from elboroom.io.files import write_atomic

PICTURES = Path(__file__).parent / "pictures"


def rounded(value: Any) -> Any:
    """Numbers with four digits, also in lists and dicts."""
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float | np.floating) else value


numbers = PICTURES / "story.json"
record = json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else {}
for study in sys.argv[1:] or STUDIES:
    started = time.process_time()
    figures, found = STUDIES[study]()
    for name, figure in figures.items():
        write_atomic(PICTURES / f"story-{name}.png", style.to_png(figure))
    if found:
        record[study] = rounded(found)
    print(f"{study}: {time.process_time() - started:.0f} s of one core", flush=True)
write_atomic(numbers, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())

"""What ``elboroom diagnose`` says of photos with a known fault, for ``story.md``."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from story_charts import draw_bars, labelled, panels
from story_models import FACES, Floats, faces, moved, trained

from elboroom.evaluation.photo_diagnosis import KnownPhotos, PhotoDiagnosis

_SHOWN = ("error", "brightness", "contrast", "fine detail", "gain by moving", "code distance")


def why() -> tuple[dict[str, Figure], dict[str, Any]]:
    """Diagnose 40 held-out people as they are, and with each fault."""
    data = faces()
    assert data.labels is not None
    vae, _ = trained(data, 1500, model={"latent_dim": 32, **FACES})
    known = KnownPhotos(vae, data)
    people = data.indices("test")[data.labels[data.indices("test")] == 0]
    plain = data.x[np.random.default_rng(0).permutation(people)[:40]]
    x, noise = plain / np.float32(255), np.random.default_rng(1).standard_normal(plain.shape)
    faulty: dict[str, Floats] = {
        "as they are": x,
        "darkened to 40 %": 0.4 * x,
        "moved": moved(plain, 0, 4, 0) / np.float32(255),
        "noise": np.clip(x + 0.08 * noise, 0, 1),
    }
    found = {
        name: _medians([known.diagnose(photo.astype(np.float32)) for photo in photos])
        for name, photos in faulty.items()
    }
    return {"why": faults_figure(found)}, found


def _medians(each: list[PhotoDiagnosis]) -> dict[str, Any]:
    tried = sorted({change for one in each for change in one.changes})
    gains = {key: [one.changes[key].gain for one in each if key in one.changes] for key in tried}
    return {
        "error": np.median([one.error for one in each]),
        "percentile": {key: np.median([one.qualities[key].percentile for one in each]) for key in _SHOWN},
        "gain": {key: np.median(values) for key, values in gains.items()},
    }


def faults_figure(found: dict[str, Any]) -> Figure:
    """Median percentiles for each fault; between the 5th and the 95th the background is grey."""
    figure, (axes,) = panels("40 held-out people with a known fault, among the training photos", 1, 1000)
    labelled(axes, "", "", "median percentile", ylim=(0, 150), yticks=(0, 25, 50, 75, 100))
    axes.axhspan(5, 95, color="#dddddd", alpha=0.4, linewidth=0)
    bars = {name: [one["percentile"][key] for key in _SHOWN] for name, one in found.items()}
    draw_bars(axes, bars, _SHOWN)
    axes.legend(frameon=False, fontsize=8, ncols=len(bars), loc="upper left")
    return figure

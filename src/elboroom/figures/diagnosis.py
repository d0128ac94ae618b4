"""A photo, its reconstruction, and both after each change that was tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from elboroom.evaluation.photo_diagnosis import PhotoDiagnosis
from elboroom.figures.by_class import wrapped
from elboroom.figures.grids import ImageGrid, stack

_TITLE = "Photos and what is rebuilt of them, as they are and changed; gain: share of the error taken away"


def diagnosis_sheet(found: Sequence[PhotoDiagnosis], names: Sequence[str]) -> Figure:
    """Draw two rows for each photo: what was given to the model, and what it made of it.

    Parameters
    ----------
    found : sequence of PhotoDiagnosis
        Of one model.
    names : sequence of str
        One per photo.
    """
    grids = []
    for one, name in zip(found, names, strict=True):
        given = [one.picture, *(change.picture for change in one.changes.values())]
        made = [one.rebuilt, *(change.rebuilt for change in one.changes.values())]
        gains = [f"{change.gain:+.0%}".replace("-", "−") for change in one.changes.values()]
        captions = [f"{key}\n{gain}" for key, gain in zip(one.changes, gains, strict=True)]
        images = np.stack([*given, *made]).astype(np.float32)
        labels = [wrapped(name), f"rebuilt\nerror {one.error:.3f}"]
        grids.append(ImageGrid(images, len(given), row_labels=labels, captions=["as it is", *captions]))
    return stack(*grids, title=_TITLE)

"""OpenCV's Haar cascades: faces by two cascades, the better confirmed the more eyes are where eyes belong."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.dataset import Array
from elboroom.data.faces.found import LOOKED_AT, SAME, Attempt, FoundFace, largest_first, overlap
from elboroom.data.faces.geometry import PARTS
from elboroom.data.faces.landmarks import Landmarks
from elboroom.errors import UsageError

# Within the box of the face cascade, eyes lie here: medians over 148 upright portraits, spread 0.02.
# What the eye cascade finds far from there is a nostril, an eyebrow or a button.
_EYES_IN_BOX = np.array([[0.300, 0.383], [0.692, 0.383]])
_EYE_STRAYS = 0.12
_FACES = ("frontalface_alt2", "frontalface_default")
_EYES = ("eye_tree_eyeglasses", "eye")
# Overlapping hits that make a face in which two eyes are seen, or one, or none, as in a blurred or coarsely
# compressed photo. Fewer hits add hardly any people, and dogs.
_HITS = {2: 8, 1: 12, 0: 30}
_LARGE, _SMALL = 1 / 8, 1 / 40  # least side of a face, as share of the picture's shorter side
_EYES_SEEN_FROM = 120  # side of a face in pixels


class Haar:
    """Find faces with OpenCV's frontal cascades; one without visible eyes must be all the more certain.

    Parameters
    ----------
    cv2 : module
        OpenCV, before 5.0.

    Raises
    ------
    UsageError
        If this OpenCV has no cascades.
    """

    name = "haar"

    def __init__(self, cv2: Any) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise UsageError(
                f"OpenCV {cv2.__version__} no longer has the cascades of the detector 'haar'; install an "
                'earlier one with pip install "elboroom[faces]", or use the detector yunet'
            )
        self._cv2 = cv2
        self._own = threading.local()  # a cascade keeps state while it searches

    def attempts(self, longest: int) -> list[Attempt]:
        """Search for large faces at several scales, as one may lose a face that another finds; then small."""
        first, last = min(LOOKED_AT, longest), min(2 * LOOKED_AT, longest)
        return [
            Attempt(first, _LARGE),
            Attempt(round(0.75 * first), _LARGE),
            Attempt(round(1.5 * first), _LARGE, strict=True),
            Attempt(last, _SMALL, strict=True),
        ]

    def __call__(self, pixels: Array, attempt: Attempt) -> list[FoundFace]:
        """Find faces; see `elboroom.data.faces.detect.Detector`."""
        grey = self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2GRAY)
        margin = max(grey.shape) // 5  # a face that fills the photo is found only with some space around
        grey = self._cv2.copyMakeBorder(grey, *[margin] * 4, self._cv2.BORDER_REPLICATE)
        found: list[FoundFace] = []
        for box, hits in self._boxes(grey, attempt.least):
            seen, places = self._eyes(grey, box)
            if hits < _HITS[seen] or (attempt.strict and seen < 2):
                continue
            points = dict(zip(PARTS, map(tuple, (places - margin).tolist()), strict=False))
            x, y, width, height = (box - (margin, margin, 0, 0)).tolist()
            face = FoundFace((x, y, width, height), Landmarks(points, self.name))
            if all(overlap(face.box, other.box) < SAME for other in found):
                found.append(face)
        return largest_first(found)

    def _cascade(self, name: str) -> Any:
        if not hasattr(self._own, name):
            file = Path(self._cv2.data.haarcascades) / f"haarcascade_{name}.xml"
            setattr(self._own, name, self._cv2.CascadeClassifier(str(file)))
        return getattr(self._own, name)

    def _boxes(self, grey: Array, share: float) -> list[tuple[Array, int]]:
        """Boxes ``(x, y, w, h)`` that either cascade takes for faces, and their hits."""
        least = max(24, int(share * min(grey.shape)))
        boxes: list[tuple[Array, int]] = []
        for name in _FACES:
            found, hits = self._cascade(name).detectMultiScale2(
                grey, 1.1, min(_HITS.values()), minSize=(least, least)
            )
            for box, count in zip(np.asarray(found, dtype=np.float64).reshape(-1, 4), hits, strict=True):
                boxes.append((box, int(count)))
        return boxes

    def _eyes(self, grey: Array, box: Array) -> tuple[int, Array]:
        """How many eyes are seen, and left and right eye, ``(2, 2)``; one not seen is where it usually is."""
        expected = box[:2] + _EYES_IN_BOX * box[2:]
        x, y, w, h = box.astype(int)
        top = y + int(0.15 * h)
        band = grey[top : y + int(0.6 * h), x : x + w]
        larger = max(1.0, _EYES_SEEN_FROM / w)  # in a small face, eyes are smaller than what the cascades see
        if larger > 1:
            band = self._cv2.resize(band, None, fx=larger, fy=larger, interpolation=self._cv2.INTER_CUBIC)
        least = max(8, int(larger * w) // 8)
        eyes, known = expected.copy(), np.zeros(2, dtype=bool)
        for name in _EYES:
            found = self._cascade(name).detectMultiScale(band, 1.05, 3, minSize=(least, least))
            if not len(found):
                continue
            centres = (np.asarray(found)[:, :2] + np.asarray(found)[:, 2:] / 2) / larger + (x, top)
            off = np.linalg.norm(centres - expected[:, None], axis=2)  # (2 eyes, found)
            fresh = ~known & (off.min(axis=1) < _EYE_STRAYS * w)
            eyes[fresh] = centres[off.argmin(axis=1)][fresh]
            known |= fresh
            if known.all():
                break
        return int(known.sum()), eyes

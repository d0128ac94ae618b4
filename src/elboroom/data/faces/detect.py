"""Finding people's faces with OpenCV, which the extra ``elboroom[faces]`` brings.

Two of its detectors are used. The Haar cascades come inside OpenCV's package and find the face and its eyes.
YuNet (doi:10.1007/s11633-023-1423-y, MIT licence) is a small network that also finds nose and mouth and bears
turned heads; its model, 230 kB, is fetched by its hash or given by its path. Both know people only: dogs need
landmarks.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from elboroom.data.cache import cache_dir
from elboroom.data.dataset import Array
from elboroom.data.download import RemoteFile, RemoteSet, data_folder, obtain
from elboroom.data.faces.found import LOOKED_AT, SAME, Attempt, FoundFace, largest_first, overlap
from elboroom.data.faces.geometry import PARTS, Point
from elboroom.data.faces.haar import Haar
from elboroom.data.faces.landmarks import Landmarks
from elboroom.errors import FailureError, UsageError
from elboroom.io.files import write_atomic

# Degrees counter-clockwise, the commonest first, and what Pillow calls them.
_TURNS = {90: "ROTATE_90", 270: "ROTATE_270", 180: "ROTATE_180"}
_TURNED_SIDE = 480  # longest side of a turned photo that is searched
INSTALL = 'pip install "elboroom[faces]"'

YUNET = RemoteSet(
    "yunet",
    (
        RemoteFile(
            "face_detection_yunet_2023mar.onnx",
            "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
    ),
    (
        "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/",
        "https://huggingface.co/opencv/opencv_zoo/resolve/main/models/face_detection_yunet/",
    ),
    ("yunet", "models", ""),
)

_LEAST_SCORE, _CERTAIN_SCORE = 0.7, 0.9


class Detector(Protocol):
    """Finds the faces in a picture."""

    name: str

    def attempts(self, longest: int) -> list[Attempt]:
        """Return the searches to make, until one finds a face, in a picture of this longest side."""

    def __call__(self, pixels: Array, attempt: Attempt) -> list[FoundFace]:
        """Return the faces in an RGB picture ``(h, w, 3)`` uint8, in its pixels, the largest first.

        May be called from any thread.
        """


def make_detector(name: str) -> Detector | None:
    """Make a detector by its name.

    Parameters
    ----------
    name : str
        "none"; "haar"; "yunet", whose model is fetched when it is first needed; the path of a model in
        YuNet's layout, ending in .onnx; or "auto": YuNet if its model is already here, else Haar, and none
        without OpenCV.

    Raises
    ------
    UsageError
        If there is no such detector or model, or OpenCV is missing.
    FailureError
        If the model cannot be fetched.
    """
    if name == "none" or (name == "auto" and not is_installed()):
        return None
    is_path = name.lower().endswith(".onnx")
    if name not in ("auto", "haar", "yunet") and not is_path:
        raise UsageError(f"no detector {name!r}; choose auto, haar, yunet, none, or give a model.onnx")
    if not is_installed():
        raise UsageError(f"the detector {name!r} needs OpenCV: {INSTALL}")
    if is_path:
        return _YuNet(Path(name).expanduser())
    model = _local_model()
    if name == "yunet" or (name == "auto" and model is not None):
        return _YuNet(model or _fetched_model())
    return Haar(_opencv())


def is_installed() -> bool:
    """Whether OpenCV can be imported."""
    return importlib.util.find_spec("cv2") is not None


def _opencv() -> Any:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)  # photos are worked on side by side already
    return cv2


class _YuNet:
    """A face network of five landmarks that OpenCV runs."""

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise UsageError(f"no detector model {model}; give the path of a YuNet .onnx file")
        self.name = "yunet"
        self.model = model
        self._model = model
        self._cv2 = _opencv()
        self._own = threading.local()
        self._network()

    def attempts(self, longest: int) -> list[Attempt]:
        """Search small at first, and large photos large: they may show small faces. See `Detector`."""
        sides = dict.fromkeys((min(LOOKED_AT, longest), min(2 * LOOKED_AT, longest)))
        return [Attempt(side, 0.0) for side in sides]

    def __call__(self, pixels: Array, attempt: Attempt) -> list[FoundFace]:
        """Find faces; see `Detector`."""
        network = self._network()
        network.setInputSize((pixels.shape[1], pixels.shape[0]))
        _, found = network.detect(np.ascontiguousarray(pixels[..., ::-1]))
        least = _CERTAIN_SCORE if attempt.strict else _LEAST_SCORE
        rows = np.zeros((0, 15)) if found is None else np.asarray(found, dtype=np.float64)
        return largest_first(self._face(row) for row in rows if row[14] >= least)

    def _face(self, row: Array) -> FoundFace:
        # Box (4), then x and y of right eye, left eye, nose, right and left corner of the mouth, which are
        # the person's own and so the other way round in the picture; then the score.
        x, y, width, height = row[:4].tolist()
        left, right, nose, *mouth = row[4:14].reshape(5, 2)
        places = np.stack([left, right, nose, np.mean(mouth, axis=0)])
        points = dict(zip(PARTS, map(tuple, places.tolist()), strict=True))
        return FoundFace((x, y, width, height), Landmarks(points, self.name))

    def _network(self) -> Any:
        if not hasattr(self._own, "network"):
            try:
                self._own.network = self._cv2.FaceDetectorYN.create(
                    str(self._model), "", (320, 320), _LEAST_SCORE
                )
            except self._cv2.error as error:
                reason = str(error).strip().splitlines()[0]
                raise UsageError(f"{self._model}: OpenCV cannot use this model ({reason})") from error
        return self._own.network


def _cached_model() -> Path:
    return cache_dir() / YUNET.name / YUNET.files[0].name


def _local_model() -> Path | None:
    """The model's file, if it was fetched before or lies in ``ELBOROOM_DATA``."""
    base = data_folder()
    places = [_cached_model()]
    if base is not None:
        places += [base / folder / YUNET.files[0].name for folder in YUNET.folders]
    return next((path for path in places if path.is_file()), None)


def _fetched_model() -> Path:
    try:
        contents, _ = obtain(YUNET, None)
    except FailureError as error:
        raise FailureError(
            f"cannot fetch the detector YuNet ({YUNET.mirrors[0]}{YUNET.files[0].name}): no network, or the "
            "address is gone; give its file as --detector FILE.onnx, or use --detector haar"
        ) from error
    path = _cached_model()
    write_atomic(path, contents[YUNET.files[0].name])
    return path


@dataclass(frozen=True)
class Seen:
    """What a search found: faces in the pixels of the picture as given, the largest first.

    Attributes
    ----------
    faces : tuple of FoundFace
        Empty if none was found.
    turn : {0, 90, 180, 270}
        Degrees that the picture had to be turned, counter-clockwise, for the faces to stand upright.
    """

    faces: tuple[FoundFace, ...]
    turn: int = 0


Search = Callable[[Any], Seen]


def search(detector: Detector, *, every: bool = False) -> Search:
    """Make a function that finds the faces in an upright Pillow image, in that image's pixels.

    The picture is searched as the detector proposes, and then, if it shows no face, turned by 90, 270 and
    180 degrees: photos lose the mark that says how the camera was held. Faces in turned ones must be certain.

    Parameters
    ----------
    detector : Detector
        What finds faces.
    every : bool
        Whether to look for small faces too where a large one was found; it stays the first.
    """

    def find(image: Any) -> Seen:
        from PIL import Image

        attempts = detector.attempts(max(image.size))
        found: list[FoundFace] = []
        for attempt in attempts:
            if not found:
                found = _search(detector, image, attempt)
            elif every and attempt is attempts[-1]:
                found = _joined(found, _search(detector, image, attempt))
        if found:
            return Seen(tuple(found))
        certain = Attempt(min(_TURNED_SIDE, attempts[0].side), attempts[0].least, strict=True)
        for turn, name in _TURNS.items():
            found = _search(detector, image.transpose(Image.Transpose[name]), certain)
            if found:
                back = partial(_turned_back, turn=turn, size=image.size)
                return Seen(tuple(face.moved(back) for face in found), turn)
        return Seen(())

    return find


def _joined(found: list[FoundFace], more: list[FoundFace]) -> list[FoundFace]:
    """Add the faces that were not found before, unless they are larger: the largest stays the largest."""
    new = [face for face in more if all(overlap(face.box, other.box) < SAME for other in found)]
    return largest_first([*found, *(face for face in new if face.area < found[0].area)])


def _search(detector: Detector, image: Any, attempt: Attempt) -> list[FoundFace]:
    factor = attempt.side / max(image.size)
    size = tuple(max(1, round(length * factor)) for length in image.size)
    scaled = image.convert("RGB")
    if size != scaled.size:
        scaled = scaled.resize(size, reducing_gap=2.0)
    across, down = image.width / size[0], image.height / size[1]
    found = detector(np.asarray(scaled), attempt)
    return [face.moved(lambda x, y: (x * across, y * down)) for face in found]


def _turned_back(x: float, y: float, *, turn: int, size: tuple[int, int]) -> Point:
    """Place in a picture of ``size = (width, height)`` of a place in the turned one."""
    width, height = size
    return {90: (width - y, x), 180: (width - x, height - y), 270: (y, height - x)}[turn]

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
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from elboroom.data.cache import cache_dir
from elboroom.data.dataset import Array
from elboroom.data.download import RemoteFile, RemoteSet, data_folder, obtain
from elboroom.data.face_geometry import PARTS, Point
from elboroom.data.landmarks import Landmarks
from elboroom.errors import FailureError, UsageError
from elboroom.files import write_atomic

INSTALL = 'pip install "elboroom[faces]"'
LOOKED_AT = 640  # longest side of the picture that is searched, in pixels

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

# Within the box of the face cascade, eyes lie here: medians over 148 upright portraits, spread 0.02.
# What the eye cascade finds far from there is a nostril, an eyebrow or a button.
_EYES_IN_BOX = np.array([[0.300, 0.383], [0.692, 0.383]])
_EYE_STRAYS = 0.12
_LEAST_SCORE = 0.7


class Detector(Protocol):
    """Finds the largest face in a picture."""

    name: str

    def __call__(self, pixels: Array) -> Landmarks | None:
        """Return the landmarks in pixels of an RGB picture ``(h, w, 3)`` uint8, or None; from any thread."""


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
    return _Haar()


def is_installed() -> bool:
    """Whether OpenCV can be imported."""
    return importlib.util.find_spec("cv2") is not None


def _opencv() -> Any:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)  # photos are worked on side by side already
    return cv2


class _Haar:
    """The face cascade, then the eye cascades where eyes are expected; a face without any is none."""

    name = "haar"

    def __init__(self) -> None:
        cv2 = _opencv()
        if not hasattr(cv2, "CascadeClassifier"):
            raise UsageError(
                f"OpenCV {cv2.__version__} no longer has the cascades of the detector 'haar'; {INSTALL}"
            )
        self._cv2 = cv2
        self._own = threading.local()  # a cascade keeps state while it searches

    def __call__(self, pixels: Array) -> Landmarks | None:
        """Find the largest face; see `Detector`."""
        grey = self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2GRAY)
        margin = max(grey.shape) // 5  # a face that fills the photo is found only with some space around
        grey = self._cv2.copyMakeBorder(grey, *[margin] * 4, self._cv2.BORDER_REPLICATE)
        box = self._face(grey)
        if box is None:
            return None
        eyes = self._eyes(grey, box)
        if eyes is None:
            return None
        return Landmarks(dict(zip(PARTS, _pairs(eyes - margin), strict=False)), self.name)

    def _cascade(self, name: str) -> Any:
        if not hasattr(self._own, name):
            file = Path(self._cv2.data.haarcascades) / f"haarcascade_{name}.xml"
            setattr(self._own, name, self._cv2.CascadeClassifier(str(file)))
        return getattr(self._own, name)

    def _face(self, grey: Array) -> Array | None:
        least = max(24, min(grey.shape) // 8)
        for name in ("frontalface_alt2", "frontalface_default"):
            found = self._cascade(name).detectMultiScale(grey, 1.1, 5, minSize=(least, least))
            if len(found):
                return np.asarray(max(found, key=lambda box: box[2]), dtype=np.float64)
        return None

    def _eyes(self, grey: Array, box: Array) -> Array | None:
        """Left and right eye, ``(2, 2)``, of which one may be taken to be where it usually is."""
        expected = box[:2] + _EYES_IN_BOX * box[2:]
        x, y, w, h = box.astype(int)
        top = y + int(0.15 * h)
        band = grey[top : y + int(0.6 * h), x : x + w]
        eyes, known = expected.copy(), np.zeros(2, dtype=bool)
        for name in ("eye_tree_eyeglasses", "eye"):
            found = self._cascade(name).detectMultiScale(band, 1.05, 3, minSize=(max(8, w // 8),) * 2)
            if not len(found):
                continue
            centres = np.asarray(found)[:, :2] + np.asarray(found)[:, 2:] / 2 + (x, top)
            off = np.linalg.norm(centres - expected[:, None], axis=2)  # (2 eyes, found)
            fresh = ~known & (off.min(axis=1) < _EYE_STRAYS * w)
            eyes[fresh] = centres[off.argmin(axis=1)][fresh]
            known |= fresh
            if known.all():
                break
        return eyes if known.any() else None


class _YuNet:
    """A face network of five landmarks that OpenCV runs."""

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise UsageError(f"no detector model {model}; give the path of a YuNet .onnx file")
        self.name = "yunet"
        self._model = model
        self._cv2 = _opencv()
        self._own = threading.local()
        self._network()

    def __call__(self, pixels: Array) -> Landmarks | None:
        """Find the largest face; see `Detector`."""
        network = self._network()
        network.setInputSize((pixels.shape[1], pixels.shape[0]))
        _, found = network.detect(np.ascontiguousarray(pixels[..., ::-1]))
        if found is None or not len(found):
            return None
        # Box (4), then x and y of right eye, left eye, nose, right and left corner of the mouth, which are
        # the person's own and so the other way round in the picture; then the score.
        largest = max(np.asarray(found, dtype=np.float64), key=lambda face: face[2] * face[3])
        left, right, nose, *mouth = largest[4:14].reshape(5, 2)
        places = _pairs(np.stack([left, right, nose, np.mean(mouth, axis=0)]))
        return Landmarks(
            dict(zip(("left_eye", "right_eye", "nose", "mouth"), places, strict=True)), self.name
        )

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


def _pairs(points: Array) -> list[Point]:
    return [(float(x), float(y)) for x, y in points]


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


Search = Callable[[Any], Landmarks | None]


def search(detector: Detector) -> Search:
    """Make a function that finds the landmarks of an upright Pillow image, in that image's pixels."""

    def find(image: Any) -> Landmarks | None:
        factor = max(1.0, max(image.size) / LOOKED_AT)
        small = image.convert("RGB")
        if factor > 1:
            small = small.resize(tuple(max(1, round(side / factor)) for side in image.size), reducing_gap=2.0)
        found = detector(np.asarray(small))
        return None if found is None else found.scaled(image.width / small.width, image.height / small.height)

    return find

"""Detectors: with a stand-in for OpenCV everywhere, with OpenCV and photos where there are any."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from elboroom.data.faces import detect
from elboroom.data.faces.detect import make_detector, search
from elboroom.data.faces.found import Attempt
from elboroom.data.faces.landmarks import Landmarks
from elboroom.data.faces.prepare import prepare_faces
from elboroom.data.preparation import PhotoSteps
from elboroom.errors import FailureError, UsageError

from .conftest import ORIGINAL_DATA
from .drawn import dotted, read_csv, turned

needs_opencv = pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="OpenCV is not installed")


@pytest.fixture
def no_opencv(monkeypatch):
    monkeypatch.setattr(detect, "is_installed", lambda: False)
    for user in ("plan", "prepared_photo"):
        monkeypatch.setattr(f"elboroom.data.faces.{user}.is_installed", lambda: False)


class Network:
    """A stand-in for OpenCV's FaceDetectorYN that sees two faces, the second one larger."""

    large = (100, 20, 60, 80, 110, 40, 140, 42, 126, 60, 112, 80, 138, 84, 0.9)
    small = (10, 10, 20, 20, *range(10), 0.99)
    seen: tuple[int, int] = (0, 0)

    @staticmethod
    def create(model, *_):
        assert Path(model).is_file()
        return Network()

    def setInputSize(self, size):  # noqa: N802
        self.size = Network.seen = size

    def detect(self, pixels):
        assert pixels.shape[1::-1] == self.size  # every thread has a network of its own
        if pixels.max() == 0:
            return 0, None
        return 1, np.array([self.small, self.large], np.float32)


@pytest.fixture
def model(tmp_path, monkeypatch):
    fake = SimpleNamespace(FaceDetectorYN=Network, setNumThreads=print, error=RuntimeError, __version__="5.0")
    monkeypatch.setitem(sys.modules, "cv2", fake)
    monkeypatch.setattr(detect, "is_installed", lambda: True)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x")
    return path


def test_without_opencv(no_opencv, tmp_path):
    assert make_detector("none") is None
    assert make_detector("auto") is None
    for name in ("haar", "yunet", "own.onnx"):
        with pytest.raises(UsageError, match=r'needs OpenCV: pip install "elboroom\[faces\]"'):
            make_detector(name)
    folder = tmp_path / "people"
    folder.mkdir()
    dotted(turned(0, 1, (100, 100))).save(folder / "a.png")
    made = prepare_faces([folder], tmp_path / "out")
    assert made.sources == {"people": {"crop": 1}}
    assert 'because OpenCV is not installed (pip install "elboroom[faces]")' in made.notes[0]
    with pytest.raises(
        UsageError, match=r"cannot be detected in the photos of people, as OpenCV is not inst"
    ):
        prepare_faces([folder], tmp_path / "other", align="detect")


def test_unknown_names_and_missing_models(model):
    with pytest.raises(UsageError, match="no detector 'harr'; choose auto, haar, yunet, none"):
        make_detector("harr")
    with pytest.raises(UsageError, match="no detector model"):
        make_detector("gone.onnx")
    with pytest.raises(UsageError, match=r"OpenCV 5\.0 no longer has the cascades"):
        make_detector("haar")


def test_yunet_takes_the_largest_face_and_names_its_sides_as_seen(model):
    large, small = make_detector(str(model))(np.ones((200, 300, 3), np.uint8), Attempt(300, 0.1))
    assert large.landmarks == Landmarks(
        {"left_eye": (110, 40), "right_eye": (140, 42), "nose": (126, 60), "mouth": (125, 82)}, "yunet"
    )
    assert (large.box, small.box) == ((100, 20, 60, 80), (10, 10, 20, 20))
    assert make_detector(str(model))(np.zeros((20, 30, 3), np.uint8), Attempt(30, 0.1)) == []


def test_large_photos_are_searched_small(model):
    image = Image.new("L", (2560, 1280), 9)
    found = search(make_detector(str(model)))(image)
    assert Network.seen == (640, 320)
    assert found.faces[0].landmarks.points["nose"] == pytest.approx((126 * 4, 60 * 4))
    assert found.turn == 0


def test_yunet_that_cannot_be_fetched_says_what_to_do(model, monkeypatch):
    def offline(*_):
        raise FailureError("no network")

    monkeypatch.setattr(detect, "obtain", offline)
    with pytest.raises(FailureError, match=r"--detector FILE\.onnx, or use --detector haar"):
        make_detector("yunet")


def test_a_fetched_yunet_is_kept(model, monkeypatch):
    calls = []
    name = detect.YUNET.files[0].name
    monkeypatch.setattr(detect, "obtain", lambda *_: calls.append(1) or ({name: b"net"}, "a host"))
    assert [make_detector("yunet").name for _ in range(2)] == ["yunet", "yunet"]
    assert len(calls) == 1


def test_a_model_in_the_data_folder_is_used(model, tmp_path, monkeypatch):
    (tmp_path / "yunet").mkdir()
    (tmp_path / "yunet" / detect.YUNET.files[0].name).write_bytes(b"x")
    monkeypatch.setenv("ELBOROOM_DATA", str(tmp_path))
    assert make_detector("auto").name == "yunet"
    assert make_detector("yunet").name == "yunet"


def test_detected_faces_are_aligned_and_the_rest_is_noted(model, tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    Image.new("RGB", (300, 200), (50, 60, 70)).save(folder / "a.png")
    for index in range(2):
        Image.new("RGB", (300 + index, 200)).save(folder / f"black{index}.png")
    made = prepare_faces([folder], tmp_path / "out", detector=str(model), align="detect")
    assert made.kept == {"people": 1}
    assert made.reasons == [("shows no face that the detector yunet can find", 2)]
    assert "people: a face was found in only 1 of 3 photos" in made.notes[0]
    assert made.by_label["people"] == PhotoSteps("detect", (64, 64), 1, "person", str(model))
    row = read_csv(tmp_path / "out" / "manifest.csv")[0]
    assert (row["landmarks"], row["mouth_x"]) == ("yunet", "125.00")


@needs_opencv
def test_haar_finds_no_face_where_there_is_none():
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    assert search(make_detector("haar"))(Image.fromarray(noise)).faces == ()


@needs_opencv
def test_haar_on_real_people(tmp_path):
    photos = Path(ORIGINAL_DATA or "", "photos", "people")
    if not photos.is_dir():
        pytest.skip("ELBOROOM_DATA has no photos/people")
    some = tmp_path / "people"
    some.mkdir()
    for path in sorted(photos.iterdir())[:30]:
        (some / path.name).symlink_to(path)
    made = prepare_faces([some], tmp_path / "out", detector="haar", align="detect")
    assert made.kept["people"] >= 27  # 144 of all 150 where this was written
    rows = read_csv(tmp_path / "out" / "manifest.csv")
    # These photos are 200 pixels wide and aligned already, so eyes are where the template has them.
    eyes = np.array([[float(row["left_eye_x"]), float(row["left_eye_y"])] for row in rows]) / 200
    np.testing.assert_allclose(np.median(eyes, axis=0), (0.291, 0.286), atol=0.02)

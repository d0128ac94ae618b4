"""One photo prepared as those of a folder were."""

import numpy as np
import pytest
from PIL import Image

from elboroom.data import images
from elboroom.data.faces import detect, prepared_photo
from elboroom.data.faces.detect import Attempt
from elboroom.data.faces.found import FoundFace, largest_first
from elboroom.data.faces.geometry import placed
from elboroom.data.faces.landmarks import Landmarks
from elboroom.data.faces.prepare import load_prepared, prepare_faces
from elboroom.data.faces.prepared_photo import prepare_photo
from elboroom.data.preparation import PhotoSteps
from elboroom.errors import UsageError

from .drawn import dots, dotted, turned, write_landmarks

WAY = PhotoSteps("detect", (64, 64), 3, "person", "dots")


class Dots:
    """A detector that sees upright groups of coloured dots, a quarter of the picture at a time."""

    name = "dots"

    def attempts(self, longest):
        return [Attempt(longest, 0.0)]

    def __call__(self, pixels, attempt):  # noqa: ARG002
        found = []
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        for down in (0, 1):
            for right in (0, 1):
                corner = np.array([right * width, down * height])
                part = pixels[corner[1] : corner[1] + height, corner[0] : corner[0] + width]
                places = dots(part)
                if len(places) < 4:
                    continue
                points = {name: tuple(np.array(place) + corner) for name, place in places.items()}
                left, right_eye = points["left_eye"], points["right_eye"]
                if right_eye[0] - left[0] < abs(right_eye[1] - left[1]) or points["mouth"][1] < left[1]:
                    continue  # lies on its side, or stands on its head
                side = 2 * (right_eye[0] - left[0])
                found.append(FoundFace((*left, side, side), Landmarks(points, self.name)))
        return largest_first(found)


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr(prepared_photo, "_finder", lambda _: ("dots", detect.search(Dots())))


def check_places(crop, template="person"):
    wanted, found = placed(template, (64, 64)), dots(crop)
    assert found.keys() == wanted.keys()
    for part, place in wanted.items():
        assert found[part] == pytest.approx(place, abs=0.5), part


def group(tmp_path, *faces):
    """A photo with dotted faces in the middles of some of its quarters."""
    image = Image.new("RGB", (800, 800), (90, 90, 90))
    for (across, down), angle, scale in faces:
        image.paste(
            dotted(turned(angle, scale, (200, 200)), (400, 400), 4 * scale), (across * 400, down * 400)
        )
    image.save(tmp_path / "group.png")
    return tmp_path / "group.png"


def test_one_face(tmp_path):
    made = prepare_photo(group(tmp_path, ((1, 0), 10, 2.0)), WAY)
    assert (made.how, made.found, len(made.faces)) == ("face found by dots", True, 1)
    check_places(made.pixels)


def test_the_largest_of_a_group_is_taken_and_the_others_are_offered(tmp_path):
    path = group(tmp_path, ((0, 0), 0, 1.0), ((1, 1), 5, 2.5), ((1, 0), -5, 1.5))
    made = prepare_photo(path, WAY)
    assert made.how == "face found by dots; the largest of 3 faces"
    areas = [width * height for _, _, width, height in made.faces]
    assert areas == sorted(areas, reverse=True)
    check_places(made.pixels)
    other = prepare_photo(path, WAY, face=2)
    assert other.how == "face found by dots; number 3 by size of 3 faces"
    check_places(other.pixels)
    assert other.faces == made.faces
    with pytest.raises(
        UsageError, match=r"group\.png: face 3 was asked for and 3 faces were found; 0 is the"
    ):
        prepare_photo(path, WAY, face=3)


@pytest.mark.parametrize(
    ("turn", "how"), [(90, "90° to the left"), (270, "90° to the right"), (180, "upside down")]
)
def test_a_turned_photo_is_turned_back(tmp_path, turn, how):
    path = group(tmp_path, ((1, 0), 10, 2.0))
    upright = prepare_photo(path, WAY)
    # The camera turned it the other way.
    Image.open(path).rotate(-turn, expand=True).save(tmp_path / "turned.png")
    made = prepare_photo(tmp_path / "turned.png", WAY)
    assert made.how == f"face found by dots; the photo was turned {how}"
    check_places(made.pixels)
    assert np.abs(made.pixels.astype(int) - upright.pixels).mean() < 1


def test_no_face(tmp_path):
    path = tmp_path / "grey.png"
    pixels = np.random.default_rng(0).integers(0, 90, (300, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    made = prepare_photo(path, WAY)
    assert (made.how, made.found, made.faces) == (
        "no face found by dots: cropped to the middle square",
        False,
        (),
    )
    assert (made.pixels == images.decode(path, (64, 64, 3))).all()
    with pytest.raises(UsageError, match="face 1 was asked for and no face was found"):
        prepare_photo(path, WAY, face=1)


def test_ways_without_a_search(tmp_path):
    path = group(tmp_path, ((1, 0), 10, 2.0))
    middle = images.decode(path, (64, 48, 1))
    for align, how in (("crop", "cropped to the middle"), ("none", "taken as a face crop")):
        made = prepare_photo(path, PhotoSteps(align, (64, 48), 1))
        assert (made.how, made.found) == (how, False)
        assert (made.pixels == middle).all()


def test_landmarks_beside_the_photo(tmp_path, photos):
    folder = photos("people", 3)
    prepare_faces([folder], tmp_path / "out", channels=3)
    data = load_prepared(tmp_path / "out")
    [(label, way)] = data.preparation.by_label
    assert (label, way.align, way.size, way.channels) == ("people", "auto", (64, 64), 3)
    made = prepare_photo(folder / "001.png", way)
    assert (made.how, made.found) == ("aligned by the landmarks of landmarks.csv", True)
    assert (made.pixels == data.x[1]).all()
    write_landmarks(folder, {"001.png": turned(0, 5, (20, 20))})
    beyond = prepare_photo(folder / "001.png", way)
    assert not beyond.found
    assert "cannot be aligned (the photo has" in beyond.how


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in (("gone.png", "no such file"), ("", "is a folder"), ("text.png", "is not an image")):
        with pytest.raises(UsageError, match=reason):
            prepare_photo(tmp_path / name, WAY)

"""Sets drawn by code: the published images of dSprites, their geometry, and their factors."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elboroom.data import load_data, rooms, sprites
from elboroom.data.drawn import DRAWN, factors_of


def test_a_square_by_hand() -> None:
    """At scale ½ half a side is 4.8 pixels; about the centre 15.5 that is columns 11 to 20."""
    image = sprites.draw_places(0, 0, 0)[0, 0]
    expected = np.zeros((64, 64), np.uint8)
    expected[11:21, 11:21] = 1
    np.testing.assert_array_equal(image, expected)


def test_places_are_x_then_y() -> None:
    """The last of 32 places is 32 pixels farther, to the right or down."""
    images = sprites.draw_places(2, 3, 7)
    np.testing.assert_array_equal(images[31, 0][:, 32:], images[0, 0][:, :32])
    np.testing.assert_array_equal(images[0, 31][32:], images[0, 0][:32])
    rows, columns = np.nonzero(images[31, 0])
    assert columns.mean() > 40 > 20 > rows.mean()


@pytest.mark.parametrize(("shape", "area"), [(0, 19.2**2), (1, math.pi * 12.76 * 7.22)])
def test_areas(shape: int, area: float) -> None:
    for scale in (0, 5):
        drawn = sprites.draw_places(shape, scale, 11).sum((2, 3)).mean()
        assert drawn == pytest.approx(area * (0.5 + 0.1 * scale) ** 2, rel=0.02)


def test_an_ellipse_turns_and_the_last_orientation_is_the_first() -> None:
    upright = sprites.draw_places(1, 5, 0)[0, 0]
    assert np.ptp(np.nonzero(upright)[1]) > np.ptp(np.nonzero(upright)[0])  # its long axis lies
    np.testing.assert_array_equal(sprites.draw_places(1, 5, 39)[0, 0], upright)
    np.testing.assert_array_equal(sprites.draw_places(2, 5, 39)[3, 4], sprites.draw_places(2, 5, 0)[3, 4])


def test_a_heart_is_symmetric_with_its_notch_on_top() -> None:
    heart = sprites.draw_places(2, 5, 0)[0, 0]
    np.testing.assert_array_equal(heart[:, :32], heart[:, 31::-1])
    top = np.nonzero(heart)[0].min()
    assert not heart[top, 15]
    assert heart[top, 10]


def _frames() -> np.ndarray:
    folder = os.environ.get("ELBOROOM_DATA")
    path = Path(folder or "") / "shapes" / "dsprites.gif"
    if not folder or not path.exists():
        pytest.skip("no published images of dSprites: ELBOROOM_DATA/shapes/dsprites.gif is missing")
    frames = []
    with Image.open(path) as gif:
        for number in range(gif.n_frames):
            gif.seek(number)
            frames.append(np.asarray(gif.convert("L")) > 127)
    return np.array(frames)


@pytest.mark.usefixtures("real_data")
def test_the_published_images() -> None:
    """Frames that turn each shape, and that move a heart down and right: at most 4 of 4,096 pixels differ."""
    frames = _frames()
    wrong = []
    for first, shape in ((18, 2), (210, 1), (274, 0)):
        for orientation in range(0, 40, 5):
            drawn = sprites.draw_places(shape, 5, orientation)[0, 0]
            wrong.append(int((frames[first + orientation] != drawn).sum()))
    hearts = sprites.draw_places(2, 5, 0)
    for place in range(0, 32, 5):
        wrong.append(int((frames[58 + place] != hearts[0, place]).sum()))
        wrong.append(int((frames[90 + place] != hearts[place, 31]).sum()))
    assert max(wrong) <= 4
    assert sum(wrong) <= 12


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_factors_tell_the_images_apart(name: str) -> None:
    """Every combination once, in the order of the factors."""
    rows = np.arange(len(DRAWN[name]))
    columns = factors_of(name, rows)
    sizes = DRAWN[name].factors
    assert {factor: int(values.max()) + 1 for factor, values in columns.items()} == dict(sizes)
    number = np.zeros(len(rows), np.int64)
    for factor, values in columns.items():
        number = number * sizes[factor] + values
    np.testing.assert_array_equal(number, rows)
    assert len(DRAWN[name].label_names) == sizes[DRAWN[name].label]


def test_load_a_drawn_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A set of few examples, drawn once and then read from the cache."""
    drawn = []

    def draw(out: np.ndarray) -> None:
        drawn.append(len(out))
        out[...] = np.arange(len(out)).reshape(-1, 1, 1, 1)

    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path))
    small = dataclasses.replace(
        DRAWN["dsprites"],
        factors={"size": 3, "shape": 5},
        shape=(2, 2, 1),
        draw=draw,
        label_names=tuple("abcde"),
    )
    monkeypatch.setitem(DRAWN, "dsprites", small)
    for _ in range(2):
        data = load_data("dsprites")
        assert data.x.shape == (15, 2, 2, 1)
        np.testing.assert_array_equal(data.x[:, 0, 0, 0], np.arange(15))
        np.testing.assert_array_equal(data.labels, np.tile(np.arange(5), 3))
    assert drawn == [15]


def test_draw_all_follows_the_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a grid of fewer poses, each image is that of its factors."""
    monkeypatch.setitem(sprites.FACTORS, "orientation", 2)
    monkeypatch.setitem(sprites.FACTORS, "scale", 2)
    rows = np.arange(3 * 2 * 2 * 1024)
    images = sprites.draw_all(np.zeros((len(rows), 64, 64, 1), np.uint8))
    values = np.stack(list(factors_of("dsprites", rows).values()), 1)
    for row in (0, 1023, 1024, 5000, len(rows) - 1):
        shape, scale, orientation, x, y = values[row]
        expected = sprites.draw_places(shape, scale, orientation)[x, y]
        np.testing.assert_array_equal(images[row, ..., 0], expected)


def _colours(image: np.ndarray) -> set[tuple[int, ...]]:
    """Hues of an image's pixels, each as its channels over the largest, rounded."""
    pixels = image.reshape(-1, 3).astype(float)
    return {tuple(np.round(pixel / pixel.max(), 1)) for pixel in pixels}


@pytest.mark.parametrize("shape", range(4))
def test_each_hue_colours_its_own_part(shape: int) -> None:
    layers = rooms.trace(5, shape, 4)
    image = rooms.paint(layers, 0, 2, 5)
    share = layers.sum((1, 2)) > 0
    assert share.all()
    for part, changed in (
        (0, rooms.paint(layers, 1, 2, 5)),
        (1, rooms.paint(layers, 0, 3, 5)),
        (2, rooms.paint(layers, 0, 2, 6)),
    ):
        differs = (changed != image).any(-1)
        np.testing.assert_array_equal(differs, layers[part] > 0.002)
    assert tuple(np.round(rooms.hue(0, 8), 1)) in _colours(image)


def test_a_ball_is_as_large_as_its_geometry_says() -> None:
    """The silhouette of a ball of radius r at distance d fills a cone of half angle asin(r / d)."""
    for scale, radius in ((0, 0.7), (5, 1.15)):
        eye, rays = rooms._camera(0.0)
        to_centre = np.array([0, radius, 0]) - eye
        distance = np.linalg.norm(to_centre)
        inside = rays @ (to_centre / distance) > math.cos(math.asin(radius / distance))
        expected = inside.reshape(64, 2, 64, 2).any((1, 3))
        np.testing.assert_array_equal(rooms.trace(scale, 2, 7)[2] > 0, expected)


def test_scale_and_orientation_change_the_room() -> None:
    sizes = [(rooms.trace(scale, 0, 7)[2] > 0).sum() for scale in range(6)]
    assert sizes == sorted(set(sizes))
    brighter = [(rooms.trace(2, 2, orientation)[1] > 0.7).sum() for orientation in range(15)]
    assert brighter == sorted(set(brighter), reverse=True)  # the left wall leaves the picture


def test_rooms_follow_their_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor, values in {
        "floor hue": 2,
        "wall hue": 3,
        "object hue": 2,
        "scale": 1,
        "orientation": 2,
    }.items():
        monkeypatch.setitem(rooms.FACTORS, factor, values)
    rows = np.arange(2 * 3 * 2 * 1 * 4 * 2)
    images = rooms.draw_all(np.zeros((len(rows), 64, 64, 3), np.uint8))
    values = np.stack(list(factors_of("rooms", rows).values()), 1)
    for row in (0, 17, 46, 95):
        floor, wall, solid, *pose = values[row]
        np.testing.assert_array_equal(images[row], rooms.paint(rooms.trace(*pose), floor, wall, solid))

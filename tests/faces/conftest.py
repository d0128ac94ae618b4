"""No cache, data or model of the machine's own; folders of drawn photos."""

import os

import pytest

from .drawn import dotted, turned, write_landmarks

ORIGINAL_DATA = os.environ.get("ELBOROOM_DATA")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("ELBOROOM_DATA", "ELBOROOM_MIRROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def photos(tmp_path):
    """Make a folder of different photos with landmarks: `photos("people", 5)`."""

    def make(name, count, first=0):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        faces = {}
        for index in range(first, first + count):
            points = turned(3 * index - 10, 1.5, (150 + index, 130))
            background = (60 + index % 60, 90, 90 + len(name))
            dotted(points, background=background).save(folder / f"{index:03d}.png")
            faces[f"{index:03d}.png"] = points
        write_landmarks(folder, faces)
        return folder

    return make

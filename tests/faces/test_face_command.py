"""The verb: one summary, one sheet."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.commands.data_faces import DataFaces
from elboroom.cli.face_sets import contact_sheet
from elboroom.data import Dataset
from elboroom.errors import UsageError


def test_summary_and_sheet(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [photos("people", 15), photos("dogs", 4)]
    (folders[0] / "003.png").write_bytes(b"")
    (folders[1] / "text.jpg").write_text("no picture")
    DataFaces(folders=folders, out=tmp_path / "faces", rgb=True, detector="none")()
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[0].startswith("faces    14 people, 4 dogs (")
    assert lines[1:] == [
        "         people: 14 aligned by landmarks.csv",
        "         dogs: 4 aligned by landmarks.csv",
        "left out 2 photos; faces/rejected.csv names them",
        "         1 photo is empty",
        "         1 photo is not an image that can be read",
        "picture  faces/contact_sheet.png",
        "problem  there are too few faces to train on: 14 of people, 4 of dogs; at least 30 of each",
    ]
    sheet = (tmp_path / "faces" / "contact_sheet.png").read_bytes()
    DataFaces(folders=folders, out=tmp_path / "faces", rgb=True, detector="none")()
    assert "14 people, 4 dogs (already there)" in capsys.readouterr().err
    assert (tmp_path / "faces" / "contact_sheet.png").read_bytes() == sheet


def test_size_is_one_or_two_numbers(photos, tmp_path):
    DataFaces(folders=[photos("people", 2)], out=tmp_path / "out", size=(32, 48))()
    assert np.load(tmp_path / "out" / "x.npy", mmap_mode="r").shape == (2, 32, 48, 1)
    with pytest.raises(UsageError, match="--size 1 2 3"):
        DataFaces(folders=[photos("people", 2)], out=tmp_path / "other", size=(1, 2, 3))()


@pytest.mark.parametrize("names", [(), ("all",), ("people", "dogs", "none of them")])
def test_sheet_shows_faces_of_every_label(names):
    x = np.random.default_rng(0).integers(0, 256, (200, 16, 12, 1), dtype=np.uint8)
    labels = np.arange(200) % min(2, len(names)) if names else None
    data = Dataset("faces", x, np.zeros(200), labels, names, 255)
    sheet = Image.open(BytesIO(contact_sheet(data)))
    assert sheet.width > 12 * 12
    assert len(np.unique(np.asarray(sheet))) > 200  # greys of the faces, not a blank page

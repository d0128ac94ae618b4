"""How examples were made: kept with a data set, through the cache, and in a run."""

from __future__ import annotations

import json
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom.data import load_data, read_image
from elboroom.data.preparation import PhotoSteps, Preparation, value_range_of
from elboroom.errors import UsageError

FACES = Preparation(
    "faces",
    (
        ("dogs", PhotoSteps("crop", (64, 48), 3, "dog")),
        ("people", PhotoSteps("detect", (64, 48), 3, "person", "haar")),
    ),
    (-1.0, 1.0),
)


def test_json_brings_back_the_same() -> None:
    assert Preparation.from_json(json.loads(json.dumps(FACES.to_json()))) == FACES


def test_a_new_photo_is_searched_for_a_face_first_and_cropped_as_the_other_label_was() -> None:
    assert [steps.align for steps in FACES.for_new_photos()] == ["detect", "crop"]
    both = Preparation(
        "faces",
        (
            ("a", PhotoSteps("landmarks", (8, 8), 1, "dog")),
            ("b", PhotoSteps("detect", (8, 8), 1)),
        ),
    )
    assert [steps.template for steps in both.for_new_photos()] == ["person"]
    assert Preparation().for_new_photos() == ()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"ways": [{"label": "a"}]},
        {"ways": 3},
        {"ways": [{**FACES.to_json()["ways"][0], "size": [10**9, 3]}]},
        {"ways": [{**FACES.to_json()["ways"][0], "detector": 7}]},
        {"ways": [{**FACES.to_json()["ways"][0], "more": 7}]},
        {"value_range": [1, 0]},
        {"value_range": [0, float("nan")]},
        {"value_range": "wide"},
    ],
)
def test_what_is_no_preparation_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Preparation.from_json({**FACES.to_json(), **change})


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        (np.array([0, 255], np.uint8), 255.0, (0.0, 1.0)),
        (np.array([3, 9], np.uint8), 16.0, (0.0, 1.0)),
        (np.array([0, 1], np.uint8), 1.0, (0.0, 1.0)),
        (np.array([0, 255], np.uint8), 256.0, (0.0, 255 / 256)),
        (np.array([0.1, 0.99], np.float32), 1.0, (0.0, 1.0)),
        (np.array([-0.9, 0.9], np.float32), 1.0, (-1.0, 1.0)),
        (np.array([-0.5, 0.25], np.float32), 1.0, (-0.5, 0.5)),
        (np.array([-0.001, 1.002], np.float32), 1.0, (0.0, 1.0)),
        (np.array([-0.25, 1.0], np.float32), 1.0, (-0.25, 1.0)),
        (np.array([-1.0, 0.25], np.float32), 1.0, (-1.0, 0.25)),
        (np.array([2.0, 250.0], np.float32), 1.0, (0.0, 255.0)),
        (np.array([0.0, 16.0], np.float32), 1.0, (0.0, 16.0)),
        (np.array([-0.5, 2.5], np.float32), 1.0, (-0.5, 2.5)),
        (np.array([0.25, 0.5], np.float32), 1.0, (0.0, 1.0)),
        (np.array([7.0, 7.0], np.float32), 1.0, (7.0, 8.0)),
        (np.array([0.0, 64.0], np.float32), 64.0, (0.0, 1.0)),
    ],
)
def test_range_of_pictures(values: np.ndarray[Any, Any], scale: float, expected: tuple[float, float]) -> None:
    assert value_range_of(values.reshape(-1, 1, 1, 1), scale) == expected


def _write(folder: Path, *sizes: tuple[int, int]) -> Path:
    folder.mkdir()
    for i, size in enumerate(sizes):
        Image.fromarray(np.full((size[1], size[0]), 40 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("times", [1, 2])  # the second time it comes from the cache
def test_a_folder_knows_whether_its_images_were_cropped(tmp_path: Path, times: int) -> None:
    mixed = _write(tmp_path / "mixed", (10, 20), (30, 20))
    alike = _write(tmp_path / "alike", (12, 10), (12, 10))
    for _ in range(times):
        mixed_data, alike_data = load_data(mixed), load_data(alike)
    assert mixed_data.preparation == Preparation("folder", (("", PhotoSteps("crop", (64, 64), 1)),))
    assert alike_data.preparation == Preparation("folder", (("", PhotoSteps("none", (10, 12), 1)),))
    assert load_data(alike, size=5).preparation == Preparation(
        "folder", (("", PhotoSteps("crop", (5, 5), 1)),)
    )


def test_arrays_know_nothing_of_their_making() -> None:
    assert load_data(np.zeros((4, 3, 3), np.uint8)).preparation is None


def _deep(folder: Path, *highest: int) -> Path:
    """16-bit pictures whose values run up to these."""
    folder.mkdir()
    for i, high in enumerate(highest):
        values = np.linspace(0, high, 15).round().astype(np.uint16).reshape(3, 5)
        Image.fromarray(values).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("highest", "white"),
    [((4000, 300), 4095), ((255, 9), 255), ((1023, 1023), 1023), ((4096, 4000), 65535), ((65535, 3), 65535)],
)
def test_12_bit_values_in_16_bit_files_keep_their_range_and_it_is_said(
    tmp_path: Path, highest: tuple[int, int], white: int
) -> None:
    folder = _deep(tmp_path / "deep", *highest)
    for _ in range(2):  # the second time from the cache
        data = load_data(folder)
        for row, high in enumerate(highest):
            values = np.linspace(0, high, 15).round()
            assert data.x[row].ravel().tolist() == np.rint(values / white * 255).tolist()
        assert data.preparation == Preparation("folder", (("", PhotoSteps("none", (3, 5), 1, white=white)),))
        said = f"16-bit files hold at most {white:,}, which is taken for white"
        assert (said in data.describe()) == (white < 65535)


def test_images_of_8_bits_beside_deep_ones_are_as_they_were(tmp_path: Path) -> None:
    folder = _deep(tmp_path / "deep", 4095)
    Image.fromarray(np.arange(15, dtype=np.uint8).reshape(3, 5)).save(folder / "8.png")
    assert load_data(folder).x[1].ravel().tolist() == list(range(15))


def _png_of_16_bits(values: np.ndarray[Any, Any]) -> bytes:
    """A colour PNG (h, w, 3) of 16 bits, which Pillow reads and does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def test_16_bit_colours_are_read_and_12_bit_ones_in_such_files_are_refused(tmp_path: Path) -> None:
    values = np.arange(3 * 5 * 3).reshape(3, 5, 3) * 1489
    for name in ("full", "dark"):
        (tmp_path / name).mkdir()
    (tmp_path / "full/a.png").write_bytes(_png_of_16_bits(values))
    assert (load_data(tmp_path / "full").x[0] == values // 256).all()
    (tmp_path / "dark/a.png").write_bytes(_png_of_16_bits(values // 16))
    with pytest.raises(
        UsageError, match=r"colours of at most 4,095 in 16 bits.*save it with 8 bits a channel"
    ):
        load_data(tmp_path / "dark")
    (tmp_path / "dark/b.png").write_bytes(_png_of_16_bits(values))  # now the first is a dark one of 16 bits
    assert (load_data(tmp_path / "dark").x[0] == values // 16 // 256).all()


@pytest.mark.parametrize(("highest", "white"), [((4000, 300), 4095), ((4096, 4000), 65535)])
def test_12_bit_values_in_tars_keep_their_range(tmp_path: Path, highest: tuple[int, int], white: int) -> None:
    folder = _deep(tmp_path / "deep", *highest)
    with tarfile.open(tmp_path / "deep.tar", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    for _ in range(2):  # the second time from the cache
        data = load_data(tmp_path / "deep.tar")
        assert (data.x == load_data(folder).x).all()
        assert data.preparation == Preparation("folder", (("", PhotoSteps("none", (3, 5), 1, white=white)),))


def test_a_12_bit_photo_is_read_alone(tmp_path: Path) -> None:
    folder = _deep(tmp_path / "deep", 4095, 65535)
    values = np.linspace(0, 4095, 15).round()
    assert read_image(folder / "0.png").ravel().tolist() == np.rint(values / 4095 * 255).tolist()
    assert read_image(folder / "1.png").max() == 255

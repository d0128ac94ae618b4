"""Alignment end to end, and every kind of file a folder of photos may hold."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from elboroom.data.faces.geometry import placed
from elboroom.data.faces.photos import scan
from elboroom.data.faces.prepare import load_prepared, prepare_faces

from .drawn import dots, dotted, read_csv, turned, write_landmarks

# What EXIF orientation k stores, given the upright picture.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def align_one(tmp_path, image, points, name="a.png", size=64, channels=3, **options):
    folder = tmp_path / "photos"
    folder.mkdir()
    image.save(folder / name, **options)
    write_landmarks(folder, {name: points})
    prepare_faces([folder], tmp_path / "out", size=size, channels=channels)
    return load_prepared(tmp_path / "out").x[0]


def check_places(crop, size, template="person"):
    wanted = placed(template, size if isinstance(size, tuple) else (size, size))
    found = dots(crop)
    assert found.keys() == wanted.keys()
    for part, place in wanted.items():
        # Half a pixel for the rounding of drawing, two resizings and the bleeding of one dot's edge.
        assert found[part] == pytest.approx(place, abs=0.5), part


@pytest.mark.parametrize(
    ("angle", "scale"), [(0, 1.0), (25, 1.5), (-40, 2.0), (90, 2.2), (180, 1.3), (0, 3.1), (10, 0.7)]
)
def test_dots_come_to_the_template(tmp_path, angle, scale):
    points = turned(angle, scale, (150, 130))
    crop = align_one(tmp_path, dotted(points, radius=4 * scale), points)
    check_places(crop, 64)


@pytest.mark.parametrize("size", [(64, 48), (48, 80), (96, 96), (17, 17)])
def test_other_sizes(tmp_path, size):
    points = turned(-15, 2.0, (160, 140))
    crop = align_one(tmp_path, dotted(points, radius=8), points, size=size)
    assert crop.shape == (*size, 3)
    check_places(crop, size)


def test_a_large_photo_is_decoded_small(tmp_path):
    points = turned(20, 25.0, (1500, 1300))
    image = dotted({k: (x / 4, y / 4) for k, (x, y) in points.items()}, (750, 650), 25)
    crop = align_one(tmp_path, image.resize((3000, 2600)), points, "a.jpg", quality=95, subsampling=0)
    check_places(crop, 64)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_landmarks_are_those_of_the_upright_photo(tmp_path, orientation, name):
    points = turned(12, 4.5, (280, 230))
    image = dotted(points, (520, 440), 18)
    stored = image if STORED[orientation] is None else image.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if name.endswith("jpg") else {}
    check_places(align_one(tmp_path, stored, points, name, exif=exif, **options), 64)


def test_dogs_have_a_template_of_their_own(tmp_path):
    points = turned(8, 2.0, (150, 130), "dog")
    crop = align_one(tmp_path, dotted(points, radius=8), points)
    check_places(crop, 64, "dog")
    assert read_csv(tmp_path / "out" / "manifest.csv")[0]["template"] == "dog"


def test_grey(tmp_path):
    points = turned(0, 2.0, (150, 130))
    crop = align_one(tmp_path, dotted(points), points, channels=1)
    assert crop.shape == (64, 64, 1)
    assert crop[60, 5, 0] == 90


def test_beyond_the_edge_there_is_no_black(tmp_path):
    points = turned(0, 2.0, (50, 130))  # 14 of 128 pixels are missing on the left
    crop = align_one(tmp_path, dotted(points), points)
    assert crop.min(axis=2).max() < 255
    assert (crop[:, 0] == 90).all()


def kinds(folder, points):
    """One good photo of every kind, as {name: expected grey of the background}."""
    photo = dotted(points)
    photo.save(folder / "rgb.png")
    photo.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    photo.convert("CMYK").save(folder / "cmyk.tif")
    photo.quantize(32).save(folder / "palette.png")
    photo.convert("L").save(folder / "grey.jpg", quality=95)
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    clear = photo.convert("RGBA")
    clear.putalpha(255)
    clear.save(folder / "alpha.png")
    photo.save(folder / "anim.gif", save_all=True, append_images=[Image.new("RGB", photo.size)])
    photo.save(folder / "anim.webp", save_all=True, append_images=[Image.new("RGB", photo.size)])
    photo.save(folder / "plain.bmp")
    photo.convert("1").save(folder / "bits.png")
    return sorted(path.name for path in folder.iterdir())


def bomb(width, height):
    """A PNG that says it is huge, and is not."""
    chunk = lambda kind, data: (  # noqa: E731
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_all_kinds_are_read_and_all_wrecks_are_listed(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    points = turned(5, 1.8, (150, 130))
    good = kinds(folder, points)
    whole = (folder / "rgb.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    jpeg = (folder / "grey.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "nothing.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture at all")
    (folder / "bomb.png").write_bytes(bomb(60_000, 60_000))
    (folder / "large.png").write_bytes(bomb(12_000, 11_000))
    (folder / "noise.gif").write_bytes(b"GIF89a" + bytes(range(200)))
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "phone.psd").write_bytes(b"whatever")
    (folder / "blank.jpg").write_bytes(jpeg)
    wrecks = [
        "bomb.png",
        "cut.jpg",
        "cut.png",
        "gone.png",
        "large.png",
        "noise.gif",
        "nothing.jpg",
        "text.jpg",
    ]
    write_landmarks(folder, dict.fromkeys([*good, *wrecks, "blank.jpg"], points))
    made = prepare_faces([folder], tmp_path / "out", channels=1)
    rows = {row["file"]: row["reason"] for row in read_csv(tmp_path / "out" / "rejected.csv")}
    assert rows.keys() == {f"photos/{name}" for name in [*wrecks, "phone.psd", "grey.jpg"]}
    assert made.kept == {"photos": len(good)}
    assert rows["photos/grey.jpg"] == "is a duplicate of photos/blank.jpg"
    for name, part in {
        "cut.jpg": "is damaged (image file is truncated",
        "cut.png": "is damaged",
        "nothing.jpg": "is empty",
        "text.jpg": "is not an image",
        "bomb.png": "exceeds limit",
        "large.png": "is 12000×11000; images of more than 100 million pixels",
        "gone.png": "No such file",
        "phone.psd": "not read",
    }.items():
        assert part in rows[f"photos/{name}"], rows
    data = load_prepared(tmp_path / "out")
    names = [row["file"] for row in read_csv(tmp_path / "out" / "manifest.csv")]
    reference = data.x[names.index("photos/rgb.png")].astype(int)
    for name, crop in zip(names, data.x, strict=True):
        # Compression, palettes and conversions move greys a little; black-and-white is dithered.
        assert np.abs(crop.astype(int) - reference).mean() < (60 if "bits" in name else 6), name


def test_figures_of_a_run_are_no_photos(tmp_path):
    """A training in the folder of the photos leaves its figures there."""
    run = tmp_path / "runs" / "one"
    (run / "figures").mkdir(parents=True)
    for name in ("config.json", "history.jsonl"):
        (run / name).write_text("{}")
    for path in (tmp_path / "a.png", run / "figures" / "loss.png"):
        Image.new("RGB", (8, 8)).save(path)
    photos, passed = scan(tmp_path, 0, None)
    assert [photo.path for photo in photos] == [tmp_path / "a.png"]
    assert [one.path for one in passed] == [f"{tmp_path.name}/runs/one"]

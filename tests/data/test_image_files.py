"""Which image files are opened, and how much of them is held in memory at one time."""

import io
import os
import struct
import tarfile
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from elboroom.data import image_files, images, load_data, read_image
from elboroom.data.faces.prepare import prepare_faces
from elboroom.errors import UsageError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def bomb(width=13_000, height=13_000):
    """A PNG whose header states a size, with too few pixels behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def png(shade=90):
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def by_folder(tmp_path, contents):
    for name, held in contents.items():
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(held)
    return load_data(tmp_path / "set").skipped


def by_shards(tmp_path, contents):
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for name, held in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(held)
            tar.addfile(info, io.BytesIO(held))
    return load_data(tmp_path / "set.tar").skipped


def by_faces(tmp_path, contents):
    by_folder(tmp_path, contents)
    return prepare_faces([tmp_path / "set"], tmp_path / "out", align="none").rejected


@pytest.mark.parametrize("door", [by_folder, by_shards, by_faces])
@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (POSTSCRIPT, "is not an image that can be read"),
        (b"P5 1 1 255\n\0", "is not an image that can be read"),  # PGM, which Pillow could read
        (bomb(), "is 13000×13000; images of more than 100 million pixels are not read, so make it smaller"),
    ],
)
def test_other_formats_and_huge_images_are_left_out_at_every_door(
    tmp_path, monkeypatch, recwarn, door, held, reason
):
    opened = set()
    real = Image.open
    monkeypatch.setattr(
        Image, "open", lambda *args, formats=None: (opened.add(formats), real(*args, formats=formats))[1]
    )
    monkeypatch.setattr("subprocess.Popen", None)  # Ghostscript would be started by it
    skipped = door(tmp_path, {"a.png": png(90), "b.png": held, "c.png": png(200)})
    assert [skip.reason for skip in skipped] == [reason]
    assert opened == {image_files.FORMATS}
    assert not {"EPS", "PPM"} & set(image_files.FORMATS)
    assert not [str(warning.message) for warning in recwarn if "elboroom" not in str(warning.filename)]


def test_one_image_is_refused_by_its_size(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bomb(20_000, 5_001))
    with pytest.raises(UsageError, match=r"a\.png is 20000×5001; images of more than 100 million pixels"):
        read_image(path)
    path.write_bytes(bomb(20_000, 5_000))  # the limit itself is allowed, and then the damage is met
    with pytest.raises(UsageError, match=r"a\.png: is damaged"):
        read_image(path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UsageError, match="is not a regular file"):
        read_image(tmp_path / "a.png")


def test_the_filter_of_warnings_is_for_pillow_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for _ in range(3):
            read_image(tmp_path / "a.png")
        assert len(warnings.filters) == 1
        warnings.warn("seen", stacklevel=1)
        warnings.warn_explicit("not seen", UserWarning, "Image.py", 1, module="PIL.Image")
    assert [str(warning.message) for warning in caught] == ["seen"]


def test_threads_hold_only_so_many_pixels_at_one_time():
    room = image_files.Room(100)
    held, most, lock = [0], [0], threading.Lock()
    arrived = threading.Barrier(8)

    def work(pixels):
        arrived.wait()
        for _ in range(50):
            with room.take(pixels):
                with lock:
                    held[0] += pixels
                    most[0] = max(most[0], held[0])
                with lock:
                    held[0] -= pixels

    sizes = [10, 20, 30, 40, 50, 60, 100, 100]
    threads = [threading.Thread(target=work, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most[0] <= 100
    with room.take(1000):  # more than the room, alone: no deadlock
        pass


def test_a_decoded_image_counts_until_it_is_dropped(tmp_path, monkeypatch):
    room = image_files.Room(64)
    monkeypatch.setattr(image_files, "_ROOM", room)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with image_files.decoded(tmp_path / "a.png"):
        assert room._held == 64
    assert room._held == 0
    closed = []
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "close", lambda _: closed.append(room._held))
        with image_files.decoded(tmp_path / "a.png"):
            pass
    assert closed[0] == 64  # its memory is free before its room is
    with pytest.raises(KeyError), image_files.decoded(tmp_path / "a.png"):
        raise KeyError("the caller's own")  # passes as it is, and gives the room back
    assert room._held == 0
    block = Image.fromarray(np.full((64, 64), 7, np.uint8))
    block.save(tmp_path / "b.jpg")
    with image_files.decoded(tmp_path / "b.jpg", lambda *_: (8, 8)) as (image, full):
        assert (image.size, full, room._held) == ((8, 8), (64, 64), 64)  # drafted before it counts


def test_transparency_over_white_is_exact_for_every_shade_and_alpha():
    from elboroom.data.images import eight_bit

    alpha, shade = (grid.astype(np.uint8) for grid in np.meshgrid(np.arange(256), np.arange(256)))
    image = Image.fromarray(np.stack([shade, shade, shade, alpha], axis=-1))
    exact = (shade.astype(int) * alpha + 255 * (255 - alpha.astype(int))) / 255
    shown = np.asarray(eight_bit(image)).astype(int)
    assert np.abs(shown - exact[..., None]).max() <= 0.5 + 1e-9  # rounding to the nearest shade
    assert image.mode == "RGBA"


def test_heic_photos_with_their_package(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    pillow_heif.register_heif_opener()
    ramp = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, np.ones((16, 16), np.uint8))
    path = tmp_path / "a.heic"
    Image.fromarray(np.stack([ramp] * 3, axis=-1)).save(path, format="HEIF", quality=95)
    monkeypatch.delitem(Image.OPEN, "HEIF")  # it is registered where it is needed
    pixels = read_image(path)
    assert pixels.shape == (32, 48, 3)
    assert np.abs(pixels[..., 0].astype(int) - ramp).max() <= 12  # lossy
    assert len(load_data(tmp_path)) == 1


def test_heic_photos_without_their_package(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_HAS_HEIF", False)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(UsageError, match=r'needs one more package: pip install "elboroom\[heic\]"'):
        read_image(tmp_path / "a.heic")


BEHIND = {
    "EXIF": ("eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "XMP": ("iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="6"/>'),
    "text": ("tEXt", b"Comment\0a picture"),
}


def header_size(path):
    header = images.read_header(path)
    return header.height, header.width


@pytest.mark.parametrize("name", BEHIND)
def test_marks_behind_the_pixels_of_a_png_count(tmp_path, name):
    file = io.BytesIO()
    Image.new("L", (3, 5)).save(file, "PNG")
    kind, content = BEHIND[name]
    body = kind.encode() + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    end = file.getvalue()[-12:]
    path = tmp_path / "a.png"
    path.write_bytes(file.getvalue()[:-12] + chunk + end)
    turned = name != "text"
    assert header_size(path) == ((3, 5) if turned else (5, 3))
    assert read_image(path).shape == ((3, 5, 1) if turned else (5, 3, 1))


def test_the_size_of_a_png_is_read_without_its_pixels(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (3, 5)).save(tmp_path / "a.png", exif=exif)
    with monkeypatch.context() as patch:
        patch.setattr(PngImagePlugin.PngImageFile, "load", None)
        assert header_size(tmp_path / "a.png") == (3, 5)
    (tmp_path / "a.png").write_bytes(png()[: png().index(b"IDAT") + 8])
    with pytest.raises(ValueError, match="truncated"):
        images.read_header(tmp_path / "a.png")

import numpy as np
import pytest
from PIL import Image

from elboroom.data import read_image
from elboroom.errors import UsageError

RAMP = np.arange(6, dtype=np.uint8).reshape(2, 3) * 50  # 0 50 100 / 150 200 250


def save(tmp_path, name, array, **options):
    path = tmp_path / name
    mode = options.pop("mode", None)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.gif", "A.PNG"])
def test_grey_pixels_exactly(tmp_path, name):
    pixels = read_image(save(tmp_path, name, RAMP))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, 3, 1)
    assert (pixels[..., 0] == RAMP).all()


def test_channels_are_converted(tmp_path):
    grey = save(tmp_path, "grey.png", RAMP)
    assert (read_image(grey, (2, 3, 3)) == RAMP[..., None]).all()
    colour = save(tmp_path, "colour.png", np.full((2, 3, 3), (255, 0, 0), np.uint8))
    assert read_image(colour).shape == (2, 3, 3)
    # ITU-R 601: red counts 0.299 of 255.
    assert (read_image(colour, (2, 3, 1)) == 76).all()


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, RAMP),
        (2, RAMP[:, ::-1]),
        (3, RAMP[::-1, ::-1]),
        (4, RAMP[::-1]),
        (5, RAMP.T),
        (6, np.rot90(RAMP, -1)),
        (7, RAMP[::-1, ::-1].T),
        (8, np.rot90(RAMP)),
    ],
)
def test_exif_orientation_is_obeyed(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    png = read_image(save(tmp_path, "a.png", RAMP, exif=exif))
    assert png.shape == (*upright.shape, 1)
    assert (png[..., 0] == upright).all()
    block = np.kron(RAMP, np.ones((8, 8), np.uint8))  # JPEG keeps flat 8×8 blocks
    jpeg = read_image(save(tmp_path, "a.jpg", block, exif=exif, quality=100))
    wanted = np.kron(upright, np.ones((8, 8), np.uint8)).astype(int)
    assert jpeg.shape == (*wanted.shape, 1)
    assert np.abs(jpeg[..., 0].astype(int) - wanted).max() <= 1  # rounding of the cosine transform


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    deep = np.array([[0, 257, 128 * 257 + 100, 65535]], dtype=np.uint16)
    assert read_image(save(tmp_path, "a.png", deep))[0, :, 0].tolist() == [0, 1, 128, 255]
    assert read_image(save(tmp_path, "a.tif", deep))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_from_0_to_1(tmp_path):
    assert read_image(save(tmp_path, "a.tif", np.array([[0, 0.2, 1]], np.float32)))[0, :, 0].tolist() == [
        0,
        51,
        255,
    ]
    with pytest.raises(UsageError, match="contains floats from 0 to 300 where 0 to 1 is wanted"):
        read_image(save(tmp_path, "b.tif", np.array([[0, 300]], np.float32)))


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    # A fifth of black over white: 255·(1 − 51/255) = 204.
    assert read_image(save(tmp_path, "a.png", rgba)).tolist() == [
        [[10, 20, 30], [255, 255, 255], [204, 204, 204]]
    ]
    la = np.array([[[100, 255], [100, 0]]], np.uint8)
    assert read_image(save(tmp_path, "b.png", la)).tolist() == [[[100], [255]]]


def test_palettes(tmp_path):
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2])
    assert read_image(save(tmp_path, "a.png", palette)).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    clear = read_image(save(tmp_path, "b.png", palette, transparency=bytes([255, 0, 255])))
    assert clear.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    assert read_image(save(tmp_path, "c.gif", palette, transparency=2)).tolist()[0][2] == [255, 255, 255]
    grey = Image.new("P", (2, 1))
    grey.putpalette([9, 9, 9, 200, 200, 200])
    grey.putdata([0, 1])
    assert read_image(save(tmp_path, "d.png", grey)).tolist() == [[[9], [200]]]


def test_cmyk_and_one_bit(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = read_image(save(tmp_path, "a.jpg", cmyk, quality=100))
    assert red.shape == (16, 16, 3)
    assert np.abs(red.astype(int) - (255, 0, 0)).max() <= 3  # JPEG rounding in four channels
    bits = save(tmp_path, "b.png", np.array([[True, False]]))
    assert read_image(bits).tolist() == [[[255], [0]]]


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("L", (2, 2), shade) for shade in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") == 10).all()


def test_other_size_is_an_error_or_the_centre_resized(tmp_path):
    wide = np.zeros((40, 50, 3), np.uint8)
    wide[:, 5:45] = 90  # the centred square is of one shade
    path = save(tmp_path, "photo.png", wide)
    with pytest.raises(
        UsageError, match=r"photo.png is 50×40, the model takes 28×28; resize it, or pass resize=True"
    ):
        read_image(path, (28, 28, 1))
    small = read_image(path, (28, 28, 1), resize=True)
    assert small.shape == (28, 28, 1)
    assert (small == 90).all()
    checker = np.kron([[0, 255], [255, 0]], np.ones((64, 64))).astype(np.uint8)
    for name in ("c.png", "c.jpg"):  # a JPEG is decoded at a smaller scale first
        half = read_image(save(tmp_path, name, checker), (8, 8, 1), resize=True)[..., 0].astype(int)
        assert half[1, 1] < 16
        assert half[1, 6] > 239
        assert half[6, 6] < 16


def test_files_that_are_no_whole_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a.png", "a.jpg", "a.gif", "a.webp", "a.tif", "a.bmp"):
        whole = save(tmp_path, name, noise).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(
            UsageError, match=rf"cut-{name}: .*(damaged|cannot be read|not an image)"
        ) as caught:
            read_image(tmp_path / f"cut-{name}")
        assert "\n" not in str(caught.value)
    (tmp_path / "empty.png").touch()
    with pytest.raises(UsageError, match=r"empty.png: is empty"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UsageError, match=r"text.png: is not an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(UsageError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UsageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(UsageError, match="channels must be 1 or 3"):
        read_image(tmp_path / "a.png", (64, 64, 4))

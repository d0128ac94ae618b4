"""Image files beside a run: brought to the form of its examples, and what was done is said."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.inputs.examples import read_example
from elboroom.cli.inputs.photos import read_photo
from elboroom.cli.inputs.run_data import run_data
from elboroom.data import load_data
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import UsageError
from elboroom.runs.run import Run

from .conftest import SMALL, Command, World


def _picture(height: int, width: int, channels: int = 3) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze()


def _write(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_file_of_a_folder_becomes_the_example_that_was_trained_on(
    elboroom: Command, tmp_path: Path, undrawn: None
) -> None:
    """Photos of several sizes: what training saw and what a verb reads are the same numbers."""
    (tmp_path / "photos").mkdir()
    sizes = [(20, 30), (41, 17), (16, 16), (9, 64)] * 3
    for i, (height, width) in enumerate(sizes):
        _write(tmp_path / "photos" / f"{i:02}.png", _picture(height + i, width))
    options = ["--data.size", 12, "--network", "mlp", *SMALL]
    assert elboroom("train", tmp_path / "photos", "--out", "run", *options).code == 0
    run, data = Run("run"), load_data(tmp_path / "photos", size=12)
    vae = run.model()
    for row in (0, 3, 7):
        example = read_example(str(tmp_path / "photos" / f"{row:02}.png"), vae, run)
        np.testing.assert_array_equal(example, data.values(np.array([row]))[0])


@pytest.mark.parametrize("prepare", ["auto", "crop"])
def test_the_middle_of_a_photo_is_taken_and_that_is_said(
    prepare: str, elboroom: Command, world: World
) -> None:
    wide = np.zeros((60, 200), np.uint8)
    wide[:, 70:130] = np.repeat(np.arange(60, dtype=np.uint8) * 4, 60).reshape(60, 60)
    photo = _write(Path("wide.png"), wide)
    read = read_photo(photo, (6, 6, 1), Run(world.run), prepare)  # type: ignore[arg-type]
    resized = Image.fromarray(wide[:, 70:130]).resize((6, 6), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(read.pixels[..., 0], np.asarray(resized))
    result = elboroom("reconstruct", world.run, photo, "--prepare", prepare, "--out", "r")
    assert result.code == 0
    assert "wide.png: the middle was cropped and resized to 6×6" in result.err
    assert ("does not record how its examples were prepared" in result.err) == (prepare == "auto")


def test_a_file_of_the_models_size_is_taken_as_it_is(world: World) -> None:
    pixels = _picture(6, 6, 1)
    photo = _write(Path("six.png"), pixels)
    for prepare in ("auto", "none", "crop"):
        read = read_photo(photo, (6, 6, 1), Run(world.run), prepare)  # type: ignore[arg-type]
        np.testing.assert_array_equal(read.pixels[..., 0], pixels)
        assert bool(read.how) == (prepare == "crop")


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((6, 6, 2), r"shape \(6, 6, 2\), but an image file has one or three"), ((36,), "SET:INDEX")],
)
def test_what_an_image_file_cannot_give_is_named(shape: Any, wanted: str, world: World) -> None:
    with pytest.raises(UsageError, match=wanted):
        read_photo(_write(Path("six.png"), _picture(6, 6)), shape, Run(world.run))


@pytest.mark.parametrize(
    ("low", "high", "likelihood"),
    [(-1.0, 1.0, "gaussian"), (0.0, 255.0, "gaussian"), (0.0, 1.0, "bernoulli")],
)
def test_image_files_are_mapped_into_the_range_of_a_run_trained_on_floats(
    low: float, high: float, likelihood: str, elboroom: Command, undrawn: None
) -> None:
    x = np.random.default_rng(0).uniform(low, high, (40, 5, 4, 1)).astype(np.float32)
    x[0, 0, :2, 0] = low, high
    np.save("x.npy", x)
    assert elboroom("train", "x.npy", "--out", "run", "--likelihood", likelihood, *SMALL).code == 0
    photo = _write(Path("p.png"), np.arange(20, dtype=np.uint8).reshape(5, 4) * 13)
    run = Run("run")
    example = read_example(str(photo), run.model(), run)
    expected = low + np.arange(20).reshape(5, 4, 1) * 13 / 255 * (high - low)
    np.testing.assert_allclose(example, expected, rtol=1e-6, atol=1e-5)


def test_eight_bit_pixels_are_the_same_numbers_as_in_training() -> None:
    """All 256 values, at the scale 255 of photos and 256 of the Haskell program."""
    pixels = np.arange(256, dtype=np.uint8)
    for scale in (255.0, 256.0):
        black, white = 0.0, 255.0 / scale
        mapped = (black + pixels / 255.0 * (white - black)).astype(np.float32)
        np.testing.assert_array_equal(mapped, pixels.astype(np.float32) / np.float32(scale))


@pytest.mark.parametrize("train_on", ["folder", "array"])
def test_12_bit_files_beside_a_run(train_on: str, elboroom: Command, undrawn: None) -> None:
    """As in the run's folder; beside a run of arrays as its own values suggest, and that is said."""
    Path("deep").mkdir()
    values = np.random.default_rng(0).integers(0, 4096, (20, 5, 4)).astype(np.uint16)
    values[:, 0, 0] = 4095
    for i, picture in enumerate(values):
        Image.fromarray(picture).save(f"deep/{i:02}.png")
    np.save("x.npy", np.rint(values / 4095 * 255).astype(np.uint8))
    source = "deep" if train_on == "folder" else "x.npy"
    assert elboroom("train", source, "--out", "run", *SMALL).code == 0
    result = elboroom("reconstruct", "run", "deep/07.png", "--out", "r")
    assert ("its 16-bit values reach 4,095" in result.err) == (train_on == "array")
    photo = read_photo(Path("deep/07.png"), (5, 4, 1), Run("run"))
    np.testing.assert_array_equal(photo.pixels[..., 0], np.rint(values[7] / 4095 * 255))


def test_other_photos_are_brought_to_the_models_size(elboroom: Command, world: World) -> None:
    """A run on 6×6 grey arrays, and photos of 10×8 in colour."""
    assert elboroom("embed", world.run, world.photos, "--out", "z.npy").code == 0
    data = load_data(world.photos, size=(6, 6), channels=1)
    expected = Run(world.run).model().embed(data.values(np.arange(len(data)))).numpy()
    np.testing.assert_allclose(np.load("z.npy"), expected, atol=1e-5)


def test_photos_without_faces_are_refused_beside_a_run_of_faces_and_tars_warned_of(
    elboroom: Command, world: World, undrawn: None
) -> None:
    run = Run(world.run)
    with tarfile.open("photos.tar", "w") as archive:
        archive.add(world.photos, "photos")
    before = run.preparation
    run.write_preparation(Preparation("faces", (("people", PhotoSteps("detect", (6, 6), 1)),)))
    try:
        options = ["--num-samples", 0, "--split", "all", "--out", "numbers.json"]
        folder = elboroom("evaluate", world.run, "--data", world.photos, *options)
        shard = elboroom("evaluate", world.run, "--data", "photos.tar", *options)
    finally:
        run.write_preparation(before)
    assert folder.code == 2
    assert (
        "none of 20 images can be used; the first, 00.png, cannot be prepared as in training (no "
        in folder.err
    )
    assert shard.code == 0
    assert (
        "warning: photos.tar contains photos, which were cropped to the middle, but the run was" in shard.err
    )


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_image_files_get_the_range_of_a_run_of_floats(form: str, elboroom: Command, undrawn: None) -> None:
    """Pictures in [-1, 1], and the same ones as image files."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 5, 4), dtype=np.uint8)
    pixels[0, 0, :2] = 0, 255
    Path("p").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(f"p/{i:02}.png")
    with tarfile.open("p.tar", "w") as archive:
        archive.add("p")
    np.save("x.npy", (pixels / 255 * 2 - 1)[..., None].astype(np.float32))
    assert elboroom("train", "x.npy", "--out", "run", "--likelihood", "gaussian", *SMALL).code == 0
    source = "p" if form == "folder" else "p.tar"
    assert elboroom("embed", "run", source, "--out", "z.npy").code == 0
    assert elboroom("embed", "run", "x.npy", "--out", "own.npy").code == 0
    np.testing.assert_allclose(np.load("z.npy"), np.load("own.npy"), atol=1e-6)
    np.save("y.npy", pixels[..., None])  # what white is in an array, only its maker knows
    assert (
        "contains 8-bit pixels, which the model gets as 0 to 1"
        in elboroom("embed", "run", "y.npy", "--out", "y.csv").err
    )


def test_image_files_keep_the_white_of_the_runs_images(elboroom: Command, undrawn: None) -> None:
    """12-bit values in training, and a folder of darker images, which would be of 10 bits by itself."""
    values = np.random.default_rng(0).integers(0, 4096, (21, 5, 4)).astype(np.uint16)
    values[20] //= 8
    for name, chosen in (("train", values[:20]), ("dark", values[20:])):
        Path(name).mkdir()
        for i, picture in enumerate(chosen):
            Image.fromarray(picture).save(f"{name}/{i:02}.png")
    assert elboroom("train", "train", "--out", "run", *SMALL).code == 0
    seen = run_data(Run("run"), "dark")
    np.testing.assert_array_equal(seen.x[0, ..., 0], np.rint(values[20] / 4095 * 255))


def test_compare_says_what_was_chosen_for_photos(elboroom: Command) -> None:
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8))
    options = ["--recipes", "vae", "--epochs", 1, "--conv-width", 8, "--network", "conv", "--nll-samples", 1]
    result = elboroom("compare", "x.npy", *options, "--seeds", 1, "--out", "cmp")
    assert result.code == 0, result.err
    assert "chosen for colour images of 16×16: --likelihood gaussian with a learned scale" in result.err

"""--random-crop on the command line: folders, tars and arrays, other data and photos."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elboroom import VAE, fit
from elboroom.cli.inputs.photos import read_photo
from elboroom.cli.inputs.run_data import run_data
from elboroom.cli.main import main
from elboroom.data.images import decode
from elboroom.runs.run import Run

TINY = (
    "--network",
    "mlp",
    "--hidden",
    "4",
    "--latent-dim",
    "2",
    "--batch-size",
    "8",
    "--epochs",
    "1",
    "--quiet",
)
CROPS = ("--data.size", "9x12", "--random-crop", "8x10")


def _pictures(folder: Path, n: int = 24) -> Path:
    """Colour pictures of many sizes."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        pixels = rng.integers(0, 256, (11 + i % 3, 14 + i % 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    return folder


def _train(source: Path, out: Path, *words: str) -> int:
    return _quick("train", str(source), *TINY, *words, "--out", str(out))


def _quick(*words: str) -> int:
    """Run a command that draws no pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        return main(list(words))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("crops")
    assert _train(_pictures(folder / "pictures"), folder / "run", *CROPS) == 0
    return Run(folder / "run")


def test_a_run_has_the_centre_of_its_pictures(run: Run) -> None:
    data = run_data(run)
    assert data.shape == run.config.model.shape == (8, 10, 3)
    assert run.preparation.stored == (9, 12)
    for row, path in enumerate(sorted((run.path.parent / "pictures").iterdir())):
        np.testing.assert_array_equal(data.x[row], decode(path, (9, 12, 3))[0:8, 1:11])


def test_its_data_in_another_place_are_its_own(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path.parent / "pictures", tmp_path / "copy")
    np.testing.assert_array_equal(run_data(run, str(tmp_path / "copy")).x, run_data(run).x)
    shutil.copytree(run.path, tmp_path / "run")
    words = ["--data", str(tmp_path / "copy"), "--epochs", "2", "--quiet"]
    assert _quick("resume", str(tmp_path / "run"), *words) == 0


def test_a_tar_of_the_same_pictures_is_seen_alike(run: Run, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pictures.tar", "w") as tar:
        for path in sorted((run.path.parent / "pictures").iterdir()):
            content = path.read_bytes()
            member = tarfile.TarInfo(path.name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert _train(tmp_path / "pictures.tar", tmp_path / "run", *CROPS) == 0
    np.testing.assert_array_equal(run_data(Run(tmp_path / "run")).x, run_data(run).x)
    np.testing.assert_array_equal(run_data(run, str(tmp_path / "pictures.tar")).x, run_data(run).x)


def test_pictures_of_many_sizes_are_read_with_the_usual_spare(run: Run, tmp_path: Path) -> None:
    """For the command line and Python alike, and not at 64×64, which is otherwise their size."""
    source = run.path.parent / "pictures"
    assert _train(source, tmp_path / "run", "--random-crop", "8x16") == 0
    assert Run(tmp_path / "run").preparation.stored == (9, 18)
    vae = VAE.build(shape=(8, 16, 3), hidden=[4], latent_dim=2)
    fit(vae, source, epochs=1, random_crop=(8, 16), out=tmp_path / "python", quiet=True)
    other = run_data(Run(tmp_path / "python"))
    np.testing.assert_array_equal(other.x, run_data(Run(tmp_path / "run")).x)
    assert other.shape == (8, 16, 3)


def test_size_and_channels_are_read_in_python_as_on_the_command_line(run: Run, tmp_path: Path) -> None:
    source = run.path.parent / "pictures"
    vae = VAE.build(shape=(9, 12, 1), hidden=[4], latent_dim=2)
    fit(vae, source, epochs=1, size=(9, 12), channels=1, out=tmp_path / "run", quiet=True)
    expected = decode(source / "000.png", (9, 12, 1))
    np.testing.assert_array_equal(run_data(Run(tmp_path / "run")).x[0], expected)


def test_arrays_are_cut_as_they_are_and_others_must_be_as_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (24, 9, 9, 4), dtype=np.uint8)
    np.savez(tmp_path / "bands.npz", x=x)
    assert _train(tmp_path / "bands.npz", tmp_path / "run", "--random-crop", "6") == 0
    run = Run(tmp_path / "run")
    np.testing.assert_array_equal(run_data(run).x, x[:, 1:7, 1:7])
    for name, other in (
        ("same", x[:2, 1:7, 1:7]),
        ("larger", np.pad(x[:2], ((0, 0), (2, 2), (3, 3), (0, 0)))),
    ):
        np.save(tmp_path / f"{name}.npy", other)
        np.testing.assert_array_equal(run_data(run, str(tmp_path / f"{name}.npy")).x, x[:2, 1:7, 1:7])
    for shape in ((5, 20, 4), (180,)):
        np.save(tmp_path / "other.npy", np.zeros((4, *shape), np.uint8))
        assert main(["reconstruct", str(run.path), f"{tmp_path / 'other.npy'}:0"]) == 2
        assert (
            f"other.npy has examples of shape {shape}; the model takes (6, 6, 4)" in capsys.readouterr().err
        )


@pytest.mark.parametrize(("size", "cut"), [((8, 10), False), ((9, 12), True), ((40, 31), True)])
def test_other_pictures_and_photos_get_the_size_before_the_crop(
    size: tuple[int, int], *, cut: bool, run: Run, tmp_path: Path
) -> None:
    """Unless they have the size of a crop already."""
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "a.png"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    expected = decode(path, (9, 12, 3))[0:8, 1:11] if cut else decode(path, (8, 10, 3))
    photo = read_photo(path, (8, 10, 3), run)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert ("the centre 10×8 was taken" in photo.how) is cut
    assert ("cropped and resized to 12×9, of which the centre" in photo.how) is (size == (40, 31))
    np.testing.assert_array_equal(read_photo(path, (8, 10, 3), run, "crop").pixels, decode(path, (8, 10, 3)))
    other = run_data(run, str(tmp_path / "other"))  # which --data.size of the run resizes in any case
    np.testing.assert_array_equal(other.x[0], decode(path, (9, 12, 3))[0:8, 1:11])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--data.size", "64", "--random-crop", "70"),
            "--random-crop 70 is larger than the images of pictures, which are 64×64 as they ",
        ),
        (("--data.size", "64", "--random-crop", "70"), "such as with --data.size 79, or take smaller crops"),
        (
            ("--random-crop", "8by9"),
            "--random-crop 8by9: must be a number of pixels, 1 to 4,096, or HEIGHTxWIDTH",
        ),
        (("--data.size", "0"), "--data.size 0: must be a number of pixels"),
        (("--crop", "64"), "take at most 63, or --random-crop SIZE to cut smaller images from larger ones"),
    ],
)
def test_refusals_name_the_option(
    words: tuple[str, ...], message: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(run.path.parent / "pictures", tmp_path / "run", *words) == 2
    assert message in capsys.readouterr().err

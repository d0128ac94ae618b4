"""Qualities of photos by hand, changes and their inverses, and photos with a known fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elboroom.cli.main import main
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation import photo_changes as changes
from elboroom.evaluation.photo_advice import Change, Quality, advise
from elboroom.evaluation.photo_changes import Placement
from elboroom.evaluation.photo_diagnosis import KnownPhotos
from elboroom.models.vae import VAE
from elboroom.runs.run import Run

Floats = NDArray[np.float64]
SIDE = 16


def faces(n: int, seed: int) -> Floats:
    """Two dark eyes and a mouth on a light oval, (n, 16, 16, 1), at slightly different places."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    pictures = []
    for _ in range(n):
        dy, dx, wide, smile = rng.uniform(-1, 1, 4) * [0.5, 0.5, 0.6, 1.0]
        v, u = y - dy, x - dx
        picture = 0.15 + 0.7 * _step(6 - np.hypot(v, 1.25 * u))
        for place in (-2.4 - wide, 2.4 + wide):
            picture -= 0.5 * _step(1.3 - np.hypot(v + 2, u - place))
        picture -= 0.5 * _step(1.0 - np.hypot(v - 3 - smile, u / 2.5))
        pictures.append(picture)
    return np.clip(np.stack(pictures), 0, 1)[..., None]


def _step(distance: Floats) -> Floats:
    return 1 / (1 + np.exp(-2.5 * distance))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    x = np.rint(255 * faces(500, 0)).astype(np.uint8)
    np.savez(folder / "faces.npz", x=x, split=(np.arange(500) >= 400).astype(int))
    options = ["--hidden", "64", "--latent-dim", "6", "--epochs", "40", "--batch-size", "50", "--lr", "0.005"]
    more = [
        "--likelihood",
        "gaussian",
        "--model.likelihood-scale",
        "0.05",
        "--network",
        "mlp",
        "--validation",
        "0",
    ]
    quiet = ["--figures-every", "0", "--quiet", "--precision", "fp32"]
    train = ["train", str(folder / "faces.npz"), *options, *more, *quiet, "--out", str(folder / "run")]
    assert main(train) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def known(run: Path) -> KnownPhotos:
    x = np.rint(255 * faces(500, 0)).astype(np.uint8)
    x[:5] = 128  # blank photos among them are left out
    return KnownPhotos(Run(run).model(), Dataset("faces", x, (np.arange(500) >= 400).astype(int), scale=255))


def test_qualities_by_hand() -> None:
    y, x = np.mgrid[:8, :8]
    board = ((x + y) % 2).astype(float)[..., None]
    slope = np.cos(np.pi * (x + 0.5) / 8)[..., None] / 4 + 0.5  # the lowest wave of the cosine transform
    pictures = np.stack([board, slope])
    np.testing.assert_allclose(changes.brightness(pictures), [0.5, 0.5])
    np.testing.assert_allclose(changes.contrast(pictures), [0.5, 0.25 / np.sqrt(2)])
    assert changes.fine_detail(pictures)[0] > 0.9
    assert changes.fine_detail(pictures)[1] < 1e-20
    colours = np.stack([np.full((4, 4), 0.2), np.full((4, 4), 0.5), np.full((4, 4), 0.8)], -1)[None]
    np.testing.assert_allclose(changes.saturation(colours), np.std([0.2, 0.5, 0.8]))


def test_the_error_is_the_sum_of_shading_and_detail() -> None:
    rng = np.random.default_rng(1)
    x, other = rng.random((2, 5, 12, 9, 3))
    whole = changes.unexplained(x, other)
    np.testing.assert_allclose(
        changes.unexplained_shading(x, other) + changes.unexplained_detail(x, other), whole, rtol=1e-12
    )
    np.testing.assert_allclose(
        changes.unexplained(x, np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)), 1
    )
    np.testing.assert_allclose(changes.unexplained_shading(x, x + 0.1) * x.var((1, 2)).mean(1), 0.01)
    np.testing.assert_allclose(changes.unexplained(0.5 * x + 0.1, 0.5 * other + 0.1), whole)


def test_pictures_are_moved_and_turned_as_said() -> None:
    x = np.random.default_rng(0).random((9, 9, 2))
    down = changes.placed(x, Placement(down=2, right=-1))
    np.testing.assert_allclose(down[2:, :-1], x[:-2, 1:], atol=1e-12)
    np.testing.assert_allclose(changes.placed(x, Placement(turn=90)), np.rot90(x, -1), atol=1e-12)
    large = changes.placed(x, Placement(scale=2))
    np.testing.assert_allclose(large[::2, ::2], x[2:7, 2:7], atol=1e-12)
    there = Placement(1.0, -0.5, 10, 1.2)
    twice = np.array([[1.0, 2.0]]).T
    back = there.undone()
    forward, backward = (one.scale * one.turned() for one in (there, back))
    np.testing.assert_allclose(
        backward @ (forward @ twice + [[there.down], [there.right]]) + [[back.down], [back.right]], twice
    )


@pytest.mark.parametrize(
    ("match", "measure", "target"),
    [
        (changes.with_brightness, changes.brightness, 0.45),
        (lambda x, target: changes.with_contrast(x, target, 0.4), changes.contrast, 0.1),
        (changes.with_saturation, changes.saturation, 0.05),
    ],
)
def test_changes_reach_their_target_and_are_taken_back(match, measure, target: float) -> None:  # type: ignore[no-untyped-def]
    x = 0.3 + 0.4 * np.random.default_rng(0).random((6, 6, 3))
    way = match(x, target)
    assert measure(way.forward(x)[None])[0] == pytest.approx(target)
    np.testing.assert_allclose(way.back(way.forward(x)), x, atol=1e-12)
    both = way.then(changes.with_brightness(x, 0.5))
    np.testing.assert_allclose(both.back(both.forward(x)), x, atol=1e-12)


def test_softening_stops_at_the_target() -> None:
    x = np.random.default_rng(0).random((24, 24, 1))
    soft = changes.softened(x, 0.1)
    assert changes.fine_detail(soft.forward(x)[None])[0] == pytest.approx(0.1, rel=1e-3)


def test_a_photo_like_the_training_photos_needs_nothing(known: KnownPhotos) -> None:
    found = known.diagnose(faces(1, 7)[0].astype(np.float32))
    assert found.held_out is not None
    assert found.held_out.percentile < 95
    assert found.matched is None
    assert 2 < found.qualities["brightness"].percentile < 98


def test_a_dark_flat_photo_is_told_and_mended(known: KnownPhotos) -> None:
    x = faces(1, 7)[0]
    found = known.diagnose((0.3 * x + 0.02).astype(np.float32))
    assert found.qualities["gain by moving"].percentile < 99
    for name in ("brightness", "contrast"):
        assert found.qualities[name].percentile == 0
    assert found.qualities["error"].percentile > 99
    assert found.advice.remedy == "contrast"
    assert found.matched is not None
    np.testing.assert_allclose(
        found.matched.picture.mean(), np.median(known.numbers["brightness"]), atol=0.02
    )
    # Its error falls to about that of the photo it was made from.
    plain = known.diagnose(x.astype(np.float32))
    assert found.error * (1 - found.matched.gain) < 2 * plain.error


def test_a_moved_photo_is_told_and_found(known: KnownPhotos) -> None:
    x = changes.placed(faces(1, 7)[0], Placement(down=3))
    found = known.diagnose(x.astype(np.float32))
    assert found.qualities["gain by moving"].percentile > 95
    assert found.advice.remedy in ("place", "all")
    assert "moved up by" in found.changes["place"].what
    assert found.changes["place"].gain > 0.5


def test_a_sharper_photo_is_told(known: KnownPhotos) -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal((SIDE, SIDE, 1))
    found = known.diagnose(np.clip(faces(1, 7)[0] + noise, 0, 1).astype(np.float32))
    assert found.qualities["fine detail"].percentile == 100
    assert found.qualities["detail"].percentile > 99
    assert "finer detail than the training photos" in found.advice.text


def quality(percentile: float) -> Quality:
    return Quality(1.0, (0.0, 2.0), percentile)


def test_advice_takes_the_single_change_that_is_nearly_as_good() -> None:
    names = ("error", "code distance", "fine detail", "gain by moving")
    worst = {name: quality(99.0) for name in names}
    picture = np.zeros((2, 2, 1))

    def tried(**gains: float) -> dict[str, Change]:
        return {name: Change("so", gain, picture, picture) for name, gain in gains.items()}

    assert advise(worst, None, tried(contrast=0.3, brightness=0.1, all=0.38)).remedy == "contrast"
    assert advise(worst, None, tried(contrast=0.3, brightness=0.1, all=0.45)).remedy == "all"
    assert advise(worst, None, tried(contrast=0.09)).remedy is None
    usual = {**worst, "gain by moving": quality(90.0)}
    assert advise(usual, None, tried(place=0.5)).remedy is None
    assert "more photos" in advise(worst, quality(50.0), tried(contrast=0.5)).text
    assert "far from theirs" in advise({**worst, "error": quality(50.0)}, None, {}).text


def test_photos_of_one_colour_and_other_data_are_refused(known: KnownPhotos) -> None:
    with pytest.raises(UsageError, match="one colour only"):
        known.diagnose(np.full((SIDE, SIDE, 1), 0.5, np.float32))
    rows = VAE.build(shape=(5,), hidden=[4])
    with pytest.raises(UsageError, match="only photos can be diagnosed"):
        KnownPhotos(rows, Dataset("rows", np.zeros((30, 5), np.float32), np.zeros(30, int)))


def test_the_command_tells_and_writes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dark = np.rint(255 * (0.3 * faces(1, 7)[0, ..., 0] + 0.02)).astype(np.uint8)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    data = run.parent / "faces.npz"
    out = tmp_path / "out"
    command = ["diagnose", str(run), str(tmp_path / "dark.png"), f"{data}:3", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "dark.png, beside 400 training photos" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if ".png" not in line and ".npz" not in line)
    assert sorted(path.name for path in out.iterdir()) == ["dark-matched.png", "diagnose.png"]
    matched = np.asarray(Image.open(out / "dark-matched.png"))
    assert matched.shape == (SIDE, SIDE)
    assert matched.mean() > dark.mean() + 50
    assert main([*command, "--json"]) == 2  # the files are there
    capsys.readouterr()
    assert main([*command, "--json", "--overwrite"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["training"] == 400
    one = found["photos"][str(tmp_path / "dark.png")]
    assert one["qualities"]["contrast"]["percentile"] == 0
    assert one["remedy"] in one["changes"]
    assert main(["diagnose", str(run)]) == 2
    assert "no image given" in capsys.readouterr().err

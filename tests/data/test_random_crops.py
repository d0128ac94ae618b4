"""Random crops of larger images: which there are, how often, and who sees the centre instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom import Config
from elboroom.config.shapes import Sides
from elboroom.data import Dataset, load_data
from elboroom.data.augment import windows
from elboroom.data.batches import Batches
from elboroom.data.centre import Centred
from elboroom.data.rows import Joined, chunks, extent, take
from elboroom.distributed.noise import noise_from, part_of_batch
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.training.loop import Training
from elboroom.training.prepare import build, prepare

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"hidden": [6], "latent_dim": 2, "batch_size": 12, "validation": 0.0}


def _images(n: int = 30, shape: tuple[int, int, int] = (7, 10, 3), **fields: Any) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    return Dataset("noise", x, np.zeros(n, np.uint8), **{"scale": 255, **fields})


def _cropped(data: Dataset, size: Any, **options: Any) -> Dataset:
    return prepare(data, Config().updated(random_crop=size, **{"validation": 0.0, **options}))


def test_every_window_comes_equally_often_and_is_a_slice() -> None:
    """All (7 − 4 + 1)·(10 − 6 + 1) = 20 windows of one image."""
    torch.manual_seed(0)
    image = torch.randint(256, (7, 10, 3), dtype=torch.uint8)
    found = windows(image.expand(4000, -1, -1, -1), 4, 6)
    assert found.shape == (4000, 4, 6, 3)
    counts = np.zeros((4, 5))
    for i in range(4):
        for j in range(5):
            counts[i, j] = (found == image[i : i + 4, j : j + 6]).all(dim=(1, 2, 3)).sum()
    assert counts.sum() == 4000
    assert np.square(counts - 200).sum() / 200 < 44  # chi square of 19 degrees: p = 0.001


def test_windows_at_known_places() -> None:
    x = torch.arange(2 * 7 * 10 * 3).reshape(2, 7, 10, 3)
    with noise_from(lambda *_: torch.tensor([[0.0, 0.79], [0.999, 0.2]])):  # of 4 places and 5
        found = windows(x, 4, 6)
    assert torch.equal(found[0], x[0, 0:4, 3:9])
    assert torch.equal(found[1], x[1, 3:7, 1:7])
    assert torch.equal(windows(x, 7, 10), x)


@pytest.mark.parametrize("kind", ["array", "joined", "map", "joined maps"])
def test_the_centre_of_larger_images_is_an_array_like_any_other(kind: str, tmp_path: Path) -> None:
    x = _images(11).x
    np.save(tmp_path / "a.npy", x[:4])
    np.save(tmp_path / "b.npy", x[4:])
    np.save(tmp_path / "whole.npy", x)
    stored = {
        "array": lambda: x,
        "joined": lambda: Joined([x[:4], x[4:]]),
        "map": lambda: np.load(tmp_path / "whole.npy", mmap_mode="r"),
        "joined maps": lambda: Joined(
            [np.load(tmp_path / name, mmap_mode="r") for name in ("a.npy", "b.npy")]
        ),
    }[kind]()
    centre = Centred(stored, Sides(4, 6))
    expected = x[:, 1:5, 2:8]  # of the 3 rows left over, one above and two below
    assert (centre.shape, centre.dtype, centre.nbytes) == (expected.shape, x.dtype, expected.size)
    np.testing.assert_array_equal(np.asarray(centre), expected)
    np.testing.assert_array_equal(np.concatenate(list(chunks(centre))), expected)
    np.testing.assert_array_equal(take(centre, np.array([7, 0, 7])), expected[[7, 0, 7]])
    np.testing.assert_array_equal(centre[3], expected[3])
    np.testing.assert_array_equal(centre[2:5], expected[2:5])


def test_values_beyond_the_centre_count() -> None:
    """Training sees them, so a likelihood of [0, 1] must not be chosen without them."""
    x = np.full((20, 6, 6, 1), 0.5, np.float32)
    x[3, 0, 0] = -2
    data = _cropped(Dataset("edge", x, np.zeros(20, np.uint8)), 4)
    assert extent(data.x) == (-2, 0.5)
    with pytest.raises(UsageError, match="-2"):
        elboroom.fit(VAE.build(shape=(4, 4, 1), hidden=[4]), data, epochs=1, random_crop=4, quiet=True)


def test_training_takes_windows_and_all_else_the_centre() -> None:
    data = _cropped(_images(), (4, 6))
    assert data.shape == (4, 6, 3)
    whole = np.asarray(data.x.stored)  # type: ignore[attr-defined]
    rows = torch.tensor([4, 0, 29])
    centres = torch.from_numpy(whole[rows.numpy(), 1:5, 2:8]).float() / 255
    for resident in (True, False):
        batches = Batches(data, CPU, resident=resident)
        torch.testing.assert_close(batches[rows], centres)
        (streamed,) = batches.stream([rows.numpy()])
        torch.testing.assert_close(batches[streamed], centres)
        torch.manual_seed(3)
        seen = batches.for_training(streamed)
        torch.manual_seed(3)
        expected = windows(torch.from_numpy(whole[rows.numpy()]), 4, 6).float() / 255
        torch.testing.assert_close(seen, expected)
    np.testing.assert_allclose(data.values(rows.numpy()), centres.numpy(), rtol=1e-6)


def test_flips_and_noise_come_after_the_window() -> None:
    data = _cropped(_images(), (4, 6))
    torch.manual_seed(3)
    seen = Batches(data, CPU, flip=True, binarize="stochastic").for_training(torch.arange(30))
    assert seen.shape == (30, 4, 6, 3)
    assert set(seen.unique().tolist()) == {0.0, 1.0}


def test_processes_take_the_windows_of_one() -> None:
    x = torch.randint(256, (6, 8, 8, 1), dtype=torch.uint8)
    torch.manual_seed(2)
    whole = windows(x, 5, 5)
    parts = []
    for start, count in ((0, 2), (2, 4)):
        torch.manual_seed(2)
        with part_of_batch(start, count, 6):
            parts.append(windows(x[start : start + count], 5, 5))
    assert torch.equal(torch.cat(parts), whole)


def _trained(data: Dataset, **options: Any) -> Training:
    config = Config().updated(random_crop="4x6", flip=True, epochs=2, **{**SMALL, **options})
    training = Training(build(config, data), data, config, quiet=True)
    training.run()
    return training


def test_accumulated_batches_are_one_batch() -> None:
    whole, pieces = _trained(_images()), _trained(_images(), batch_size=4, accumulate=3)
    for name, weight in whole.engine.vae.state_dict().items():
        assert torch.allclose(weight, pieces.engine.vae.state_dict()[name], rtol=2e-4, atol=2e-6), name


def test_a_training_goes_on_bit_for_bit_and_only_with_its_data(tmp_path: Path) -> None:
    data = _images()
    options: dict[str, Any] = {"random_crop": (4, 6), "flip": True, "batch_size": 8, "validation": 0.2}

    def built() -> VAE:
        torch.manual_seed(0)
        return VAE.build(shape=(4, 6, 3), hidden=[6], latent_dim=2)

    whole, parts = built(), built()
    elboroom.fit(whole, data, epochs=3, out=tmp_path / "whole", quiet=True, **options)
    elboroom.fit(parts, data, epochs=1, out=tmp_path / "parts", quiet=True, **options)
    parts = built()
    elboroom.fit(parts, data, epochs=3, out=tmp_path / "parts", resume=True, quiet=True)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, parts.state_dict()[name]), name
    x = np.array(data.x)
    x[:, 0, 0] ^= 1  # outside the centre
    changed = Dataset("noise", x, data.split, scale=255)
    with pytest.raises(UsageError, match="data"):
        elboroom.fit(built(), changed, epochs=4, out=tmp_path / "parts", resume=True, quiet=True)
    assert Run(tmp_path / "parts").preparation.stored == (7, 10)


def test_shards_in_files_are_trained_on_as_an_array_in_memory(tmp_path: Path) -> None:
    x = _images(40).x
    for number in range(2):
        np.save(tmp_path / f"part-{number}.npy", x[20 * number : 20 * number + 20])
    shards = load_data(str(tmp_path / "part-{0..1}.npy"))
    assert isinstance(shards.x, Joined)
    memory = Dataset("memory", x, shards.split, scale=shards.scale)
    there, here = _trained(shards), _trained(memory)
    for name, weight in here.engine.vae.state_dict().items():
        assert torch.equal(weight, there.engine.vae.state_dict()[name]), name


def test_what_cannot_be_cropped_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        _cropped(_images(), 8)
    assert str(caught.value) == (
        "random_crop = 8 is larger than the images of noise, which are 7×10 as they are read; "
        "read them larger, such as with size = 9, or take smaller crops"
    )
    with pytest.raises(UsageError, match="such as with size = 16x32, or"):
        _cropped(_images(), "14x28")
    with pytest.raises(UsageError, match="random_crop = 2 crops images, and array contains none"):
        _cropped(load_data(np.zeros((20, 4), np.float32)), 2)
    for wrong in ("256x", "a", [1, 2, 3], 0, 4097, 2.5, True, ""):
        with pytest.raises(UsageError, match=r"^random_crop = .*: must be a number of pixels, 1 to"):
            Config().updated(random_crop=wrong)


@pytest.mark.parametrize("given", ["7x10", (7, 10), None])
def test_a_crop_of_the_whole_changes_nothing(given: Any) -> None:
    data = _images()
    assert _cropped(data, given).x is data.x


def test_copies_are_looked_for_in_the_whole_images() -> None:
    """Images 0 and 1 differ beyond the centre only, 2 and 3 nowhere."""
    x = np.array(_images(24).x)
    x[1], x[3] = x[0], x[2]
    x[1, 0, 0] ^= 1
    data = _cropped(Dataset("copies", x, np.zeros(24, np.uint8), scale=255), (4, 6), duplicates="drop")
    assert len(data) == 23
    assert data.x.stored.shape == (23, 7, 10, 3)  # type: ignore[attr-defined]


def test_prepared_data_are_whole_again_for_a_training_without_crops() -> None:
    data = _cropped(_images(), 4)
    assert prepare(data, Config()).shape == (7, 10, 3)
    assert _cropped(data, (4, 6)).shape == (4, 6, 3)

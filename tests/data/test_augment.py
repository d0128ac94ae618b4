"""Random crops and mirror images: which there are, how often, and that only training sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.data import Dataset
from elboroom.data.augment import cropped
from elboroom.data.batches import Batches
from elboroom.distributed.noise import part_of_batch
from elboroom.errors import UsageError
from elboroom.models.vae import VAE

CPU = torch.device("cpu")


def _images(n: int, shape: tuple[int, int, int]) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    return Dataset("noise", x, np.zeros(n, np.uint8), scale=255)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_each_crop_is_one_of_the_extended_image(channels: int) -> None:
    """All of (2·2 + 1)² crops of an image that numpy has extended, about equally often."""
    torch.manual_seed(0)
    image = torch.rand(5, 7, channels)
    found = cropped(image.expand(5000, -1, -1, -1), 2)
    extended = np.pad(image.numpy(), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    counts = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            crop = torch.from_numpy(extended[i : i + 5, j : j + 7])
            counts[i, j] = (found == crop).all(dim=(1, 2, 3)).sum()
    assert counts.sum() == 5000
    assert np.square(counts - 200).sum() / 200 < 51  # chi square of 24 degrees: p = 0.001


def test_only_training_crops_and_the_widest_margin_is_allowed() -> None:
    data = _images(40, (6, 9, 3))
    batches = Batches(data, CPU, crop=5)
    rows = torch.arange(40)
    plain = batches[rows]
    torch.testing.assert_close(plain, torch.from_numpy(data.x).float() / 255)
    torch.manual_seed(1)
    seen = batches.for_training(rows)
    assert seen.shape == plain.shape
    assert not torch.equal(seen, plain)
    for one, other in zip(seen, plain, strict=True):
        assert np.isin(one.numpy(), other.numpy()).all()  # no number is mixed of others


def test_processes_crop_as_one_does() -> None:
    x = torch.rand(6, 8, 8, 1)
    torch.manual_seed(2)
    whole = cropped(x, 3)
    parts = []
    for start, count in ((0, 2), (2, 4)):
        torch.manual_seed(2)
        with part_of_batch(start, count, 6):
            parts.append(cropped(x[start : start + count], 3))
    assert torch.equal(torch.cat(parts), whole)


def test_a_training_with_crops_and_flips_goes_on_bit_for_bit(tmp_path: Path) -> None:
    data = _images(40, (8, 12, 4))
    options: dict[str, Any] = {"crop": 2, "flip": True, "batch_size": 16, "validation": 0.2, "quiet": True}

    def built() -> VAE:
        torch.manual_seed(0)
        return VAE.build(
            shape=(8, 12, 4), network="spatial", likelihood="laplace", conv_width=4, conv_levels=1
        )

    whole = built()
    elboroom.fit(whole, data, epochs=3, out=tmp_path / "whole", **options)
    parts = built()
    elboroom.fit(parts, data, epochs=1, out=tmp_path / "parts", **options)
    parts = built()
    elboroom.fit(parts, data, epochs=3, out=tmp_path / "parts", resume=True, quiet=True)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, parts.state_dict()[name]), name


def test_what_cannot_be_cropped_is_refused() -> None:
    data = _images(20, (6, 9, 1))
    vae = VAE.build(shape=(6, 9, 1), hidden=[4])
    with pytest.raises(UsageError, match=r"crop = 6 reflects .* images of 6×9; take at most 5"):
        elboroom.fit(vae, data, epochs=1, crop=6, quiet=True)
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    with pytest.raises(UsageError, match="crop moves images, and"):
        elboroom.fit(
            VAE.build(shape=(4,), hidden=[4], likelihood="gaussian"), rows, epochs=1, crop=1, quiet=True
        )

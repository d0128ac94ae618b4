"""Data sets and loaders of PyTorch as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data import Dataset as TorchDataset

import elboroom
from elboroom import load_data
from elboroom.data import memory
from elboroom.errors import UsageError

N = 600  # more than two batches of examples
RNG = np.random.default_rng(0)
ROWS = torch.from_numpy(RNG.normal(size=(N, 4)).astype(np.float32))
IMAGES = torch.from_numpy(RNG.integers(0, 256, (N, 3, 8, 6), dtype=np.uint8))
LABELS = torch.arange(N) % 3


class Pictures(TorchDataset[Any]):
    """As torchvision has them: a picture of Pillow and the number of its class."""

    classes = ("cat", "dog", "eel")

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        return Image.fromarray(np.asarray(IMAGES[i].permute(1, 2, 0))), int(LABELS[i])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ROWS


def test_rows_and_labels() -> None:
    data = load_data(TensorDataset(ROWS, LABELS))
    assert np.array_equal(data.x, ROWS.numpy())
    assert data.labels is not None
    assert data.labels.tolist() == LABELS.tolist()
    assert data.scale == 1.0
    assert data.origin == "a data set of PyTorch"
    assert load_data(TensorDataset(ROWS)).labels is None


def test_channels_first_become_last() -> None:
    data = load_data(TensorDataset(IMAGES, LABELS))
    assert data.shape == (8, 6, 3)
    assert data.scale == 255.0
    assert np.array_equal(data.x, IMAGES.permute(0, 2, 3, 1).numpy())
    assert any("channels" in note for note in data.notes)
    unit = load_data(TensorDataset(IMAGES[:, :1].float() / 255))
    assert unit.shape == (8, 6, 1)
    assert unit.scale == 1.0
    grey = load_data(TensorDataset(IMAGES[:, 0]))
    assert np.array_equal(grey.x[..., 0], IMAGES[:, 0].numpy())


def test_pictures_of_pillow_with_classes() -> None:
    data = load_data(Pictures())
    assert np.array_equal(data.x, IMAGES.permute(0, 2, 3, 1).numpy())
    assert data.label_names == ("cat", "dog", "eel")
    assert load_data(Pictures(), size=4, channels=1).shape == (4, 4, 1)
    part = load_data(Subset(Pictures(), [5, 3]))
    assert np.array_equal(part.x[1], IMAGES[3].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_loader_is_read_in_order(shuffle: bool, size: int) -> None:
    data = load_data(DataLoader(TensorDataset(ROWS, LABELS), batch_size=size, shuffle=shuffle))
    assert np.array_equal(data.x, ROWS.numpy())
    assert data.labels is not None
    assert data.labels.tolist() == LABELS.tolist()


def test_what_a_sampler_leaves_out_is_left_out() -> None:
    part = DataLoader(TensorDataset(ROWS), batch_size=4, sampler=SubsetRandomSampler(range(10, 20)))
    found = load_data(part).x
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, ROWS[10:20].tolist()))
    assert len(load_data(DataLoader(TensorDataset(ROWS), batch_size=7, drop_last=True))) == 595
    assert len(load_data(DataLoader(TensorDataset(ROWS), batch_size=7, drop_last=True, shuffle=True))) == 595
    weights = WeightedRandomSampler([0.0] * 599 + [1.0], 20)
    drawn = load_data(DataLoader(TensorDataset(ROWS), batch_size=7, sampler=weights)).x
    assert np.array_equal(drawn, np.tile(ROWS[-1].numpy(), (20, 1)))


def test_a_stream_is_read_to_its_end() -> None:
    assert np.array_equal(load_data(Stream()).x, ROWS.numpy())
    assert np.array_equal(load_data(DataLoader(Stream(), batch_size=64)).x, ROWS.numpy())


def test_words_as_labels() -> None:
    class Words(TorchDataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, i: int) -> Any:
            return ROWS[i].numpy(), "even" if i % 2 == 0 else "odd"

    assert load_data(Words()).label_names == ("even", "odd")


class _Of(TorchDataset[Any]):
    def __init__(self, *examples: Any):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> Any:
        return self.examples[i]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (_Of(), "_Of: has no examples"),
        (_Of(torch.zeros(2), torch.zeros(3)), r"examples have shapes \(2,\) and \(3,\)"),
        (_Of({"x": 1}), r"an example is \{'x': 1\}, of type dict"),
        (_Of("word"), "of type str; it must be a tensor"),
        (_Of((torch.zeros(2), 1, 2)), "an example has 3 parts"),
        (_Of((torch.zeros(2), 1), torch.zeros(2)), "some examples have a label and others have none"),
        (_Of((torch.zeros(2), torch.zeros(3))), r"a label has shape \(3,\)"),
        (_Of((torch.zeros(2), 0.5), (torch.zeros(2), 1)), "contains fractions"),
        (_Of(torch.tensor(1.0)), r"contains float32 of shape \(\)"),
        (_Of(torch.tensor([1.0, float("nan")])), "nan"),
        (DataLoader(_Of(torch.zeros(2), torch.zeros(2)), batch_size=None), "a batch has shape"),
    ],
)
def test_mistakes_are_one_line(source: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_data(source)


def test_options_of_others_and_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="label_column = 'y': a data set of PyTorch has no columns"):
        load_data(TensorDataset(ROWS), label_column="y")
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    for source in (TensorDataset(ROWS), Stream(), DataLoader(TensorDataset(ROWS))):
        with pytest.raises(UsageError, match="examples are read into memory"):
            load_data(source)


def test_it_is_fitted() -> None:
    vae = elboroom.VAE.build(shape=(4,), latent_dim=2, hidden=[4], likelihood="gaussian")
    assert len(elboroom.fit(vae, TensorDataset(ROWS), epochs=1, quiet=True)) == 1

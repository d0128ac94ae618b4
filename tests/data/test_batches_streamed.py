"""Streamed batches are resident ones."""

from functools import partial

import numpy as np
import pytest
import torch

import elboroom
from elboroom.data import Dataset, memory
from elboroom.data.batches import Batches
from elboroom.data.dataset import draw_split
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation import support
from elboroom.evaluation.support import check_support
from elboroom.training import loop

CPU = torch.device("cpu")


def saved(tmp_path, x, scale):
    np.save(tmp_path / "x.npy", x)
    return Dataset("x", np.load(tmp_path / "x.npy", mmap_mode="r"), draw_split(len(x)), scale=scale)


@pytest.fixture
def images(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (150, 6, 6, 1), dtype=np.uint8)
    return saved(tmp_path, x, 255.0)


@pytest.fixture
def table(tmp_path):
    return saved(tmp_path, np.random.default_rng(0).normal(size=(150, 7)).astype(np.float32), 1.0)


def looks(data, **options):
    """All that a model may see of an order, by every way."""
    held = Batches(data, CPU, **options)
    order = np.array_split(np.random.default_rng(1).permutation(len(data)), 11)
    torch.manual_seed(0)
    seen = [held.for_training(rows) for rows in held.stream(order)]
    seen += [held[rows] for rows in held.stream(order)]
    return seen + [held[torch.from_numpy(rows)] for rows in order]


@pytest.mark.parametrize(
    "seen", [{}, {"binarize": "threshold"}, {"binarize": "stochastic"}, {"dequantize": "uniform"}]
)
def test_streamed_is_resident(images, seen):
    options = {**seen, "flip": True}
    resident, streamed = (looks(images, resident=there, **options) for there in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(resident, streamed, strict=True))


def test_streamed_floats(table):
    resident, streamed = (looks(table, resident=there) for there in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(resident, streamed, strict=True))


def test_what_lies_where(images):
    assert Batches(images, CPU, resident=True).x.shape == (150, 6, 6, 1)
    streamed = Batches(images, CPU, resident=False)
    assert streamed.x.shape == (0, 6, 6, 1)
    raw = next(iter(streamed.stream([np.array([5, 2])])))
    assert raw.dtype == torch.uint8
    np.testing.assert_array_equal(raw.numpy(), images.x[[5, 2]])


def test_data_are_resident_if_they_take_half_of_what_is_free(images, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * images.x.nbytes)
    assert Batches(images, CPU).resident
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * images.x.nbytes - 1)
    assert not Batches(images, CPU).resident


@pytest.mark.parametrize("kind", ["images", "table"])
def test_training_is_the_same_to_the_bit(kind, request, monkeypatch):
    data = request.getfixturevalue(kind)
    likelihood = "bernoulli" if data.is_image else "gaussian"

    def trained(resident):
        monkeypatch.setattr(loop, "Batches", partial(Batches, resident=resident))
        torch.manual_seed(0)
        vae = elboroom.VAE.build(
            shape=data.shape, scale=data.scale, latent_dim=2, hidden=[16], likelihood=likelihood
        )
        flip = data.is_image
        history = elboroom.fit(vae, data, epochs=3, batch_size=32, validation=0.2, flip=flip, quiet=True)
        kept = [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history
        ]
        return kept, [p.detach().clone() for p in vae.parameters()]

    (resident, weights), (streamed, others) = trained(True), trained(False)
    assert resident == streamed
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


def test_training_on_a_file_cut_short_fails_in_one_line(images, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "Batches", partial(Batches, resident=False))
    vae = elboroom.VAE.build(shape=images.shape, scale=255, latent_dim=2, hidden=[4])

    def cut(vae, row):
        with (tmp_path / "x.npy").open("r+b") as file:
            file.truncate(128 + 36 * 70)

    with pytest.raises(FailureError, match="has become shorter"):
        elboroom.fit(vae, images, epochs=3, batch_size=32, quiet=True, on_epoch=cut)


def test_pixels_of_255_need_no_look(images, monkeypatch):
    monkeypatch.setattr(support, "extent", lambda _: pytest.fail("looked"))
    check_support(images, (0.0, 1.0), "none")


def test_support_is_checked_over_all_chunks(table):
    with pytest.raises(UsageError, match=r"outside \[0, 1\]"):
        check_support(table, (0.0, 1.0), "none")
    check_support(table, None, "none")


def test_a_conversion_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((100, 5)))
    assert elboroom.load_data(tmp_path / "x.npy").x.dtype == np.float32
    monkeypatch.setattr(memory, "available_memory", lambda: 3999)
    with pytest.raises(
        UsageError, match=r"float64 values are brought to float32 in memory, which takes 0.0 GB"
    ):
        elboroom.load_data(tmp_path / "x.npy")

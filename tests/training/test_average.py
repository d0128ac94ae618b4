"""A running average of the weights, and mirrored images: what they compute, and that they resume exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch

import elboroom
from elboroom.config import Config
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.objectives import Objective
from elboroom.training.step.average import WeightAverage
from elboroom.training.step.engine import Engine

CPU = torch.device("cpu")


def pictures(n: int = 40) -> elboroom.Dataset:
    x = np.random.default_rng(0).integers(0, 256, (n, 5, 4, 1), dtype=np.uint8)
    return elboroom.Dataset(name="noise", x=x, split=np.zeros(n, np.uint8), scale=255.0)


def small() -> elboroom.VAE:
    torch.manual_seed(0)
    return elboroom.VAE.build(shape=(5, 4, 1), latent_dim=2, hidden=[6])


def test_average_follows_its_recursion() -> None:
    config = Config().updated(ema=0.5)
    vae = small()
    engine = Engine(vae, Objective(), Batches(pictures(), CPU), config, CPU)
    expected = [p.detach().clone() for p in vae.parameters()]
    for step in range(20):
        engine.step(torch.arange(step, step + 8))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [
            decay * e + (1 - decay) * p.detach() for e, p in zip(expected, vae.parameters(), strict=True)
        ]
    assert engine.average.weights is not None
    for mine, theirs in zip(engine.average.weights, expected, strict=True):
        torch.testing.assert_close(mine, theirs)  # float32 rounding of 20 steps
    own = [p.detach().clone() for p in vae.parameters()]
    with engine.averaged():
        assert all(torch.equal(p, a) for p, a in zip(vae.parameters(), engine.average.weights, strict=True))
    assert all(torch.equal(p, o) for p, o in zip(vae.parameters(), own, strict=True))


def test_a_static_average_is_the_same_and_leaves_out_bad_steps() -> None:
    weights = torch.randn(7)
    plain, static = WeightAverage([weights], 0.5), WeightAverage([weights], 0.5, static=True)
    for step in range(20):
        weights.normal_()
        bad = step % 5 == 3
        for average in (plain, static):
            average.prepare(step)
        plain.update(bad)
        static.update(torch.tensor(bad))
        assert plain.weights is not None
        assert static.weights is not None
        torch.testing.assert_close(plain.weights[0], static.weights[0])  # rounding of w·(1−a) and w−w·a


def test_the_average_is_measured_kept_and_resumed_bit_for_bit(tmp_path: Path) -> None:
    def train(out: Path, epochs: int, *, resume: bool = False) -> tuple[elboroom.VAE, list[dict[str, float]]]:
        vae = small()
        options = {"ema": 0.9, "flip": True, "batch_size": 7, "validation": 0.25}
        return vae, elboroom.fit(
            vae, pictures(), out=out, epochs=epochs, resume=resume, quiet=True, **options
        )

    vae, history = train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    again, resumed = train(tmp_path / "parts", 4, resume=True)
    assert [row["val_elbo"] for row in history] == [row["val_elbo"] for row in resumed]
    for one, other in zip(vae.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    loaded = elboroom.load(tmp_path / "parts")
    assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), vae.parameters(), strict=True))


def test_flip_mirrors_about_half_and_only_for_training() -> None:
    data = pictures(400)
    batches = Batches(data, CPU, flip=True)
    every = torch.arange(400)
    plain = batches[every]
    torch.testing.assert_close(plain, torch.from_numpy(data.x).float() / 255)
    torch.manual_seed(0)
    seen = batches.for_training(every)
    mirrored = (seen == plain.flip(2)).all(dim=(1, 2, 3))
    kept = (seen == plain).all(dim=(1, 2, 3))
    assert bool((mirrored ^ kept).all())
    assert abs(int(mirrored.sum()) - 200) < 50  # five standard deviations of 400 fair coins


def test_flip_needs_images() -> None:
    rows = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    vae = elboroom.VAE.build(shape=(4,), latent_dim=1, hidden=[4])
    with pytest.raises(UsageError, match="flip mirrors images"):
        elboroom.fit(vae, rows, epochs=1, flip=True, quiet=True)

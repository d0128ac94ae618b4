"""The numbers of a row of history, against a plain loop written here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.data.batches import Batches
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.training import epoch_row
from elboroom.training.order import epoch_order
from elboroom.training.step.engine import Engine
from elboroom.training.validation import measure

from .runs import assert_identical, build, images, train

KEYS = "epoch step loss distortion rate rate_per_dim beta learning_rate grad_norm images_per_second seconds"
MEASURED = "loss distortion rate rate_per_dim elbo"
# Sums over 36 pixels and means over some 50 images in float32 (6e-8 relative each), added up in another
# order; losses are near 25: 1e-6 relative leaves a digit of room.
FLOAT32 = {"rel": 1e-6}


def three_parts(seed: int = 0) -> Dataset:
    """41 images to train on in 6 batches, the last of 1; 9 for validation, 10 for testing."""
    split = np.repeat([0, 2, 1], [41, 9, 10])
    return Dataset("three", images()[..., None], split, scale=255.0, published_split=True)


def by_hand(vae: VAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distortion and rate of each example, from the networks alone; noise from torch's generator."""
    mean, raw = vae.encoder(x).chunk(2, -1)
    scale = F.softplus(raw) + 1e-6
    z = mean + scale * torch.randn(1, *mean.shape)[0]
    logits = vae.decoder(z)
    distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    rate = 0.5 * (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(1)
    return distortion, rate


def plain_loop(vae: VAE, data: Dataset, epochs: int, beta: float, clip: float | None) -> list[dict[str, Any]]:
    """Training as anyone would write it; rows of sums over examples, divided once."""
    x = torch.from_numpy(data.x).float() / 255
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    history, step = [], 0
    torch.manual_seed(0)
    config = Config().updated(batch_size=8).training
    for epoch in range(epochs):
        sums, norms = np.zeros(3), []
        for batch in epoch_order(data.indices("train"), config, epoch):
            distortion, rate = by_hand(vae, x[torch.from_numpy(batch)])
            loss = (distortion + beta * rate).mean()
            optimizer.zero_grad()
            loss.backward()
            norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in vae.parameters()))
            if clip is not None and norm > clip:
                for p in vae.parameters():
                    p.grad.mul_(clip / (norm + 1e-6))
            if clip is not None or step % 10 == 0:
                norms.append(norm)
            optimizer.step()
            step += 1
            sums += [loss.item() * len(batch), distortion.sum().item(), rate.sum().item()]
        loss_, distortion_, rate_ = sums / len(data.indices("train"))
        history.append(
            {"loss": loss_, "distortion": distortion_, "rate": rate_, "rate_per_dim": rate_ / 2}
            | {"grad_norm": np.mean(norms), "step": step}
        )
    return history


@pytest.mark.parametrize(
    ("beta", "clip"), [(1.0, None), (4.0, 0.7)], ids=["every tenth norm", "every norm, before clipping"]
)
def test_means_are_those_of_a_plain_loop(beta: float, clip: float | None) -> None:
    data, mine, its = three_parts(), build(), build()
    rows = plain_loop(mine, data, 2, beta, clip)
    if clip is not None:
        assert rows[0]["grad_norm"] > clip  # or this would not tell before from after
    history = train(its, None, 2, data, beta=beta, clip=clip, validation=0.0)
    for row, expected in zip(history, rows, strict=True):
        assert {name: row[name] for name in expected} == pytest.approx(expected, **FLOAT32)
    if clip is None:
        # The plain loop sums in another order, and a step of Adam is at most 1e-3 whatever the gradient:
        # rounding moves weights by 1e-6 or so in 12 steps of 1e-3.
        for one, other in zip(mine.parameters(), its.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_rows_hold_what_they_should(tmp_path: Path) -> None:
    history = train(build(), tmp_path / "run", 2, three_parts())
    validation = [f"val_{name}" for name in MEASURED.split()]
    assert [sorted(row) for row in history] == [sorted([*KEYS.split(), *validation])] * 2
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 6), (2, 12)]
    for row in history:
        assert row["images_per_second"] == pytest.approx(41 / row["seconds"])
        assert row["rate_per_dim"] == row["rate"] / 2
        assert row["val_elbo"] == -(row["val_distortion"] + row["val_rate"])
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert_identical([json.loads(line) for line in lines], history)
    assert sorted(train(build(), None, 1, three_parts(), validation=None)[0]) == sorted(history[0])


def test_without_validation_there_are_no_such_columns() -> None:
    assert sorted(train(build(), None, 1, validation=0.0)[0]) == sorted(KEYS.split())


@pytest.mark.parametrize("beta", [0.0, 1.0, 7.5])
def test_loss_is_distortion_plus_beta_rate(beta: float) -> None:
    # Each batch's loss is rounded to float32 once, the sums are of double precision: 6e-8 relative of 25.
    for row in train(build(), None, 2, three_parts(), beta=beta):
        for part in ("", "val_"):
            expected = row[f"{part}distortion"] + beta * row[f"{part}rate"]
            assert row[f"{part}loss"] == pytest.approx(expected, rel=2e-7)
        assert row["beta"] == beta


def test_measure_is_the_same_at_every_call_and_what_the_formulas_give() -> None:
    data, vae = three_parts(), build()
    engine = Engine(vae, Objective(3.0), Batches(data, torch.device("cpu")), Config(), torch.device("cpu"))
    engine.step(torch.arange(8))  # beta is on the device from here on
    vae.train()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    indices = data.indices("validation")
    first, again, other = (measure(engine, indices, seed) for seed in (5, 5, 6))
    assert first == again
    assert first["rate"] == other["rate"]  # closed form, without noise
    assert first["distortion"] != other["distortion"]
    assert torch.get_rng_state().equal(before)
    assert vae.training
    torch.manual_seed(5)
    with torch.no_grad():
        distortion, rate = by_hand(vae, torch.from_numpy(data.x[indices]).float() / 255)
    expected = {"distortion": distortion.mean().item(), "rate": rate.mean().item()}
    expected |= {"loss": expected["distortion"] + 3 * expected["rate"], "rate_per_dim": expected["rate"] / 2}
    expected |= {"elbo": -(expected["distortion"] + expected["rate"])}
    assert first == pytest.approx(expected, **FLOAT32)


@pytest.mark.parametrize(
    ("options", "betas"),
    [
        # 5 steps an epoch; a row tells the beta of its last step, which for epoch e is step 5e - 1.
        ({"beta_schedule": "linear", "beta_ramp": 2}, [1.6, 3.6, 4.0, 4.0]),
        ({"beta_schedule": "delayed", "beta_delay": 1, "beta_ramp": 1}, [0.0, 3.2, 4.0, 4.0]),
        ({"beta_schedule": "delayed", "beta_delay": 0.8, "beta_ramp": 0.4}, [0.0, 4.0, 4.0, 4.0]),
        ({"beta_schedule": "cyclical", "beta_ramp": 1, "beta_period": 2}, [3.2, 4.0, 3.2, 4.0]),
    ],
    ids=["linear", "delayed", "delayed to the step", "cyclical"],
)
def test_beta_reaches_its_value_in_the_right_epoch(options: dict[str, Any], betas: list[float]) -> None:
    history = train(build(), None, 4, beta=4.0, batches_per_epoch=5, **options)
    assert [row["beta"] for row in history] == pytest.approx(betas, rel=1e-12)


def test_beta_grows_from_step_to_step() -> None:
    # A ramp over one epoch of two steps: beta is 0 in the first and 2 in the second, so that the mean
    # loss is distortion + rate of the second step alone.
    row = train(build(), None, 1, beta=4.0, beta_schedule="linear", beta_ramp=1, batches_per_epoch=2)[0]
    extra = row["loss"] - row["distortion"]
    assert extra == pytest.approx(row["rate"], rel=0.2)  # half of twice the second step's rate
    assert extra != pytest.approx(4 * row["rate"], rel=0.2)


@pytest.mark.parametrize(
    ("name", "options", "rates"),
    [
        ("StepLR", {"step_size": 1, "gamma": 0.5}, [0.1, 0.05, 0.025]),
        ("CosineAnnealingLR", {"T_max": 2}, [0.1, 0.05, 0.0]),
        # No epoch is better by 9e9, so each after the first is one too many.
        ("ReduceLROnPlateau", {"patience": 0, "factor": 0.1, "threshold": 9e9, "threshold_mode": "abs"},
         [0.1, 0.1, 0.01]),
    ],
)  # fmt: skip
def test_the_learning_rate_of_a_row_is_the_one_it_was_trained_with(
    name: str, options: dict[str, Any], rates: list[float]
) -> None:
    history = train(
        build(), None, 3, lr=0.1, lr_schedule=name, lr_schedule_options=options, batches_per_epoch=1
    )
    assert [row["learning_rate"] for row in history] == pytest.approx(rates, abs=1e-12)


def test_the_plateau_is_that_of_the_validation_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    # Training goes on getting better while the validation measured here gets worse with every epoch.
    real = epoch_row.measure

    def worse(engine: Engine, indices: Any, seed: int) -> dict[str, float]:
        return real(engine, indices, seed) | {"loss": 100.0 + engine.steps}

    monkeypatch.setattr(epoch_row, "measure", worse)
    options = {"lr_schedule": "ReduceLROnPlateau", "lr_schedule_options": {"patience": 0, "factor": 0.5}}
    history = train(build(), None, 3, three_parts(), **options)
    assert [row["learning_rate"] for row in history] == [1e-3, 1e-3, 5e-4]
    assert history[2]["loss"] < history[1]["loss"] < history[0]["loss"]


def test_data_may_be_a_name() -> None:
    data = load_data("digits")
    vae = VAE.build(shape=data.shape, hidden=[8], scale=data.scale)
    (row,) = train(vae, None, 1, "digits", batches_per_epoch=2)
    assert row["step"] == 2

"""Numbers too small for float32's full precision leave the moments of Adam, and no weight notices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, NAdam, RAdam

from elboroom import VAE, Dataset, Objective
from elboroom.config import Config
from elboroom.data.batches import Batches
from elboroom.distributed.processes import Workers
from elboroom.training.step import update
from elboroom.training.step.engine import Engine
from elboroom.training.step.optimizers import drop_denormals
from elboroom.training.step.update import Update

LEAST = 2.0**-126  # the smallest normal float32
KEPT = [math.nan, math.inf, -math.inf, 2 * LEAST, -1.5 * LEAST, 1.0, 0.0]
DROPPED = [0.5 * LEAST, -0.99 * LEAST, 2.0**-149]


def with_moments(kind: Any, **options: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    numbers = torch.tensor((KEPT + DROPPED) * 10)  # whole vectors and a rest
    parameter = nn.Parameter(torch.zeros_like(numbers))
    optimizer = kind([parameter], **options)
    parameter.grad = torch.zeros_like(numbers)
    optimizer.step()
    state = optimizer.state[parameter]
    state["exp_avg"], state["exp_avg_sq"] = numbers.clone(), numbers.clone()
    return optimizer, state


@pytest.mark.parametrize("kind", [Adam, AdamW, NAdam, RAdam])
def test_all_below_the_smallest_normal_number_become_zero(kind: Any) -> None:
    optimizer, state = with_moments(kind)
    drop_denormals(optimizer)
    expected = torch.tensor((KEPT + [0.0] * len(DROPPED)) * 10)
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(state[name], expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("eps", [0.0, 1e-20])
def test_where_eps_is_no_larger_nothing_changes(eps: float) -> None:
    optimizer, state = with_moments(Adam, eps=eps)
    drop_denormals(optimizer)
    assert state["exp_avg"][len(KEPT)] == DROPPED[0]
    assert state["exp_avg_sq"][len(KEPT)] == DROPPED[0]


def test_steps_are_counted_on_after_a_checkpoint() -> None:
    def made() -> Update:
        torch.manual_seed(0)
        config = Config().optimizer
        return Update([nn.Parameter(torch.zeros(3))], config, 1, Workers(torch.device("cpu")))

    one, other = made(), made()
    for _ in range(3):
        one.flat.gradients[0].fill_(1.0)
        one.apply(False)
    other.load_state_dict(one.state_dict())
    assert (one._taken, other._taken) == (3, 3)


def test_an_optimiser_without_moments_is_left_alone() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = SGD([parameter], lr=0.1, momentum=0.9)
    drop_denormals(optimizer)
    parameter.grad = torch.full((3,), 0.5 * LEAST)
    optimizer.step()
    drop_denormals(optimizer)
    assert optimizer.state[parameter]["momentum_buffer"][0] == 0.5 * LEAST


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_with_pixels_that_go_out_ends_at_the_same_weights(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> Engine:
        x = np.random.default_rng(0).integers(0, 256, (24, 4, 3, 1), dtype=np.uint8)
        x[12:, :2] = 0  # no gradient for half of the first weights in the later steps
        data = Dataset("images", x, split=np.zeros(24, np.uint8), scale=255)
        torch.manual_seed(0)
        vae = VAE.build(shape=data.shape, latent_dim=2, hidden=[8])
        options = {"betas": [0.8, 0.999]}  # so that moments fade sooner
        config = Config().updated(epochs=1, batch_size=8, precision=precision, optimizer_options=options)
        cpu = torch.device("cpu")
        engine = Engine(vae, Objective(), Batches(data, cpu), config, cpu)
        for step in range(500):
            engine.step(torch.arange(8) + (0 if step < 10 else 14))
        return engine

    def denormal(engine: Engine) -> int:
        moment = engine.update.adam_state()["exp_avg"]
        return int(((moment != 0) & (moment.abs() < LEAST)).sum())

    dropped = trained()
    monkeypatch.setattr(update, "drop_denormals", lambda _: None)
    kept = trained()
    assert denormal(dropped) == 0
    assert denormal(kept) >= 6 * 8
    assert torch.equal(dropped.update.flat.values[0], kept.update.flat.values[0])

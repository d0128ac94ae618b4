"""Numbers that are not finite: the step is left out and explained, or training goes back and on slower."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom import VAE, Dataset
from elboroom.config import Config
from elboroom.data.batches import Batches
from elboroom.errors import DivergedError
from elboroom.models.terms import Terms
from elboroom.objectives import Objective
from elboroom.objectives.schedules import constant
from elboroom.runs.run import Run
from elboroom.training import fit
from elboroom.training.checkpoints.state import copy_state
from elboroom.training.loop import Training
from elboroom.training.step.engine import Engine
from elboroom.training.step.nonfinite import find_first

from .runs import after_step, assert_identical, build, checkpoint, train

CPU = torch.device("cpu")


def rows(n: int = 40, d: int = 6) -> Dataset:
    x = np.random.default_rng(0).random((n, d), dtype=np.float32)
    return Dataset("rows", x, split=np.zeros(n, np.uint8), published_split=True)


def engine_of(vae: VAE, objective: Objective | None = None, **options: object) -> Engine:
    data = rows()
    config = Config().updated(batch_size=8, epochs=1, **options)
    return Engine(vae, objective or Objective(), Batches(data, CPU), config, CPU)


@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"clip": 1.0}, {"optimizer": "Adafactor"}], ids=str)
def test_a_bad_step_changes_nothing(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8], normalization="batch")
    engine = engine_of(vae, **options)
    vae.train()
    engine.step(torch.arange(8))
    before = copy_state(engine.state_dict())
    engine.batches.x[11, 3] = torch.nan
    engine.step(torch.arange(8, 16))
    after = copy_state(engine.state_dict())
    assert after.pop("steps") == before.pop("steps") + 1
    assert before.pop("skipped").tolist() == [0, 0, -1]
    assert after.pop("skipped").tolist() == [1, 1, 1]
    counted = "num_batches_tracked"  # how often batch norm has looked; of no effect here
    for state in (before, after):
        state["model"] = {name: value for name, value in state["model"].items() if counted not in name}
    assert_identical(before, after, "engine")
    engine.step(torch.arange(16, 24))
    assert engine.skipped.read() == (0, 1, 1)
    assert all(p.isfinite().all() for p in vae.state_dict().values())


def test_a_bad_example_is_named_and_costs_one_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8])
    training = Training(vae, rows(), Config().updated(batch_size=8, epochs=3), quiet=True)
    training.create(tmp_path / "run")
    training.engine.batches.x[17, 2] = torch.inf
    history = training.run()
    assert [row["skipped_steps"] for row in history] == [1, 1, 1]
    assert all(math.isfinite(row["loss"]) for row in history)
    log = (tmp_path / "run" / "log.txt").read_text()
    lines = [line for line in log.splitlines() if "skipped" in line]
    assert len(lines) == 3
    for line in lines:
        assert "first bad tensor: the data (1 infinite of 48, the others up to 0." in line
        assert line.endswith("data rows 17")
    assert lines[0] in capsys.readouterr().err


def test_spoilt_weights_are_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = build()

    def spoil() -> None:
        with torch.no_grad():
            vae.decoder[0].weight[0, 0] = torch.nan

    after_step(monkeypatch, 7, spoil)
    history = train(vae, tmp_path / "run", 6, lr=1e-3, validation=0.0)
    assert [row["epoch"] for row in history] == list(range(1, 7))
    assert history[-1]["learning_rate"] == pytest.approx(2.5e-4)
    assert all(p.isfinite().all() for p in vae.parameters())
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "first bad tensor: decoder." in log
    assert "with learning rate 0.00025" in log


def test_an_absurd_learning_rate_is_lowered_until_it_learns(tmp_path: Path) -> None:
    vae = build()
    history = train(vae, tmp_path / "run", 4, lr=1e10, validation=0.0)
    assert history[-1]["learning_rate"] < 1e3
    assert history[-1]["loss"] < 1e5  # at 1e10 the loss is finite, and 1e20 or more
    assert all(value is None or math.isfinite(value) for row in history for value in row.values())
    assert all(p.isfinite().all() for p in vae.parameters())


def test_resuming_after_rollbacks_is_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(build(), whole, 4, lr=1e10, validation=0.0)
    train(build(), parts, 2, lr=1e10, validation=0.0)
    train(build(), parts, 4, resume=True)
    assert checkpoint(whole)["rollbacks"] > 3
    assert_identical(checkpoint(whole)["engine"], checkpoint(parts)["engine"], "engine")


def test_too_many_rollbacks_end_in_one_line() -> None:
    data = dataclasses.replace(rows())
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8])
    objective = Objective(penalties={"bad": (lambda terms: terms.z.sum() * torch.nan, constant(1.0))})
    with pytest.raises(DivergedError, match=r"training has diverged, and no learning rate would") as error:
        fit(vae, data, objective=objective, epochs=2, batch_size=8, quiet=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("size", "options", "cause"),
    [
        (1e30, {}, r"the data are the cause.*numbers up to 1e\+30; scale"),
        (1e8, {}, r"^the loss in epoch 1 is \S+e\+1[56] nats.*the data are the cause.*to 1e\+08"),
        (1.0, {"beta": 1e30}, r"beta = 1e\+30 is the cause, not the learning rate"),
        (1.0, {"penalties": {"code_norm": 1e30}}, r"code_norm = 1e\+30 is the cause"),
        (1.0, {"lr": 1e30}, r"a lower learning rate .* did not help.*clip=.*lr="),
    ],
    ids=["data", "data, with a finite loss", "beta", "penalty", "learning rate"],
)
def test_the_cause_of_divergence_is_named(
    tmp_path: Path, size: float, options: dict[str, Any], cause: str
) -> None:
    data = rows()
    data = dataclasses.replace(data, x=(data.x * size / data.x.max()).astype(np.float32))
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8], likelihood="gaussian")
    with pytest.raises(DivergedError, match=cause):
        fit(vae, data, out=tmp_path, epochs=3, batch_size=8, quiet=True, **options)
    status = Run(tmp_path).status
    assert status.state == "diverged"
    assert status.reason is not None
    assert status.reason.endswith("training has diverged")
    log = (tmp_path / "log.txt").read_text() if (tmp_path / "log.txt").exists() else ""
    if "lr" not in options:
        assert "returns to step" not in log  # sixteen lower rates would be tried for nothing


def test_a_loss_that_grows_without_bound_is_divergence(tmp_path: Path) -> None:
    # The decoder's logits grow with the rate, and the loss stays finite all the while.
    train(build(), tmp_path / "run", 2, lr=1e4, validation=0.0)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert re.search(r"the loss in epoch 1 is \S+e\+\d+ nats per example, and was 2\d\.\d in the first", log)
    assert Run(tmp_path / "run").status == ("trained", None)


def root_of_nothing(terms: Terms) -> torch.Tensor:
    """Finite, with an infinite slope."""
    return (terms.posterior.mean * 0).square().sum().sqrt()


def test_a_gradient_may_be_the_first() -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8])
    objective = Objective(penalties={"root": (root_of_nothing, constant(1.0))})
    found = find_first(vae, objective, torch.rand(4, 6), torch.ones(2))
    assert found is not None
    assert found.tensor == "gradient of encoder.2.bias"
    assert found.rows == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("spoil", "named", "rows_"),
    [
        (lambda _vae, x: x[2].fill_(torch.nan), "the data", [2]),
        (lambda vae, _x: vae.encoder[0].weight[0].fill_(torch.inf), "encoder.0.weight", [0, 1, 2, 3]),
        (lambda vae, x: (vae.encoder[0].weight.fill_(9.0), x[1].fill_(3e38)), "output of encoder.0", [1]),
        (lambda vae, _x: vae.encoder[2].bias[2:].fill_(1e38), "rate", [0, 1, 2, 3]),
    ],
)
def test_the_first_bad_tensor_is_found(spoil: object, named: str, rows_: list[int]) -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8], likelihood="gaussian")
    nn.init.zeros_(vae.decoder[0].weight)  # so that a wide code does no harm
    x = torch.rand(4, 6)
    with torch.no_grad():
        spoil(vae, x)  # type: ignore[operator]
    found = find_first(vae, Objective(), x, torch.ones(1))
    assert found is not None
    assert found.tensor == named
    assert found.rows == rows_


def test_nothing_is_found_where_all_is_finite() -> None:
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[8])
    assert find_first(vae, Objective(), torch.rand(4, 6), torch.ones(1)) is None

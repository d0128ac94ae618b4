"""Columns of the history beside the plain ones: layers' rates, codebook use, penalties, critics' losses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.config import Config
from elboroom.data import load_data
from elboroom.distributed.processes import Workers
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, prior_critic
from elboroom.objectives.schedules import constant
from elboroom.probability import Meter
from elboroom.runs.run import Run
from elboroom.training import Stopped, validation
from elboroom.training.checkpoints.state import load_state, save_state
from elboroom.training.prepare import prepare
from elboroom.training.step.meters import Meters

from .runs import after_step, assert_same_run, build, checkpoint, images, signal_self, train

CPU = torch.device("cpu")
# Adam's step of 1e-30 changes no weight in float32: the model of every step is the one that is left.
FROZEN: Any = MappingProxyType({"lr": 1e-30, "precision": "fp32"})
CHAIN: Any = MappingProxyType({"network": "chain", "chain_dims": (2, 3), "chain_hidden": (4, 4)})
# Sums of some 50 numbers in float32, in another order.
FLOAT32: Any = MappingProxyType({"rel": 1e-6})


def size_of(terms: Terms) -> Tensor:
    return terms.z.square().mean()


# The sums by themselves.


def batch(rate: float, counts: list[float]) -> dict[str, Meter]:
    entropy = lambda total, _n: torch.special.entr(total / total.sum()).sum()  # noqa: E731
    return {"rate_1": Meter(torch.tensor(rate)), "entropy": Meter(torch.tensor(counts), entropy)}


def test_totals_add_up_and_are_read_at_the_end() -> None:
    meters = Meters(Workers(CPU))
    assert meters.means() == {}
    for rate, counts, examples in [(6.0, [1.0, 0.0], 2), (9.0, [0.0, 3.0], 3)]:
        meters.hold(batch(rate, counts))
        meters.add(examples)
    found = meters.means()
    assert found["rate_1"] == 15 / 5
    assert found["entropy"] == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), rel=1e-7)
    meters.reset()
    meters.hold(batch(4.0, [1.0, 1.0]))
    meters.add(1)
    assert meters.means() == {"rate_1": 4.0, "entropy": pytest.approx(math.log(2), rel=1e-7)}


@pytest.mark.parametrize("bad", [True, torch.tensor(True)], ids=["on the host", "on the device"])
def test_a_bad_step_and_one_without_examples_are_left_out(bad: bool | Tensor) -> None:
    meters = Meters(Workers(CPU))
    for rate, examples, is_bad in [(math.nan, 2, bad), (7.0, 0, False), (6.0, 3, False)]:
        meters.hold(batch(rate, [1.0, 0.0]))
        meters.add(examples, is_bad)
    assert meters.means()["rate_1"] == 2.0


def test_what_is_held_is_counted_once() -> None:
    meters = Meters(Workers(CPU))
    meters.hold(batch(6.0, [1.0, 0.0]))
    meters.add(2)
    meters.add(2)
    assert meters.means()["rate_1"] == 3.0


@pytest.mark.parametrize("laid_out", [False, True], ids=["new", "used"])
def test_a_state_goes_on_where_it_was(laid_out: bool) -> None:
    one, other = Meters(Workers(CPU)), Meters(Workers(CPU))
    one.hold(batch(6.0, [1.0, 0.0]))
    one.add(2)
    if laid_out:  # as when training goes back to an earlier state
        other.hold(batch(99.0, [9.0, 9.0]))
        other.add(9)
    other.load_state_dict(one.state_dict())
    assert other.state_dict()["examples"] == 2  # before a batch has told how to read them
    for meters in (one, other):
        meters.hold(batch(3.0, [0.0, 2.0]))
        meters.add(1)
    assert one.means() == other.means()
    assert one.means()["rate_1"] == 3.0


class _Two(Workers):
    """Two processes of which the other has the same."""

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)


def test_processes_are_summed_before_they_are_read() -> None:
    meters = Meters(_Two(CPU))
    meters.hold(batch(6.0, [1.0, 0.0]))
    meters.add(2)
    assert meters.means()["rate_1"] == 3.0
    assert meters.state_dict()["examples"] == 4
    assert meters.state_dict()["totals"]["entropy"].tolist() == [2.0, 0.0]
    assert meters.means(everywhere=False)["rate_1"] == 3.0


# In the history.


def test_the_plain_model_has_none_and_does_nothing_for_them() -> None:
    vae = build()
    (row,) = train(vae, None, 1)
    assert not any(name.startswith(("rate_1", "penalty_", "loss_", "perplexity")) for name in row)


def test_rates_of_layers_add_up_to_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_BATCH", 4)  # the validation part is 5 examples: two batches
    vae = build(latent_dim=2, hidden=(400, 400), **CHAIN)
    for row in train(vae, None, 2):
        for part in ("", "val_"):
            layers = [row[f"{part}rate_{i}"] for i in (1, 2)]
            assert sum(layers) == pytest.approx(row[f"{part}rate"], **FLOAT32)
            assert layers[0] != layers[1]
            assert f"{part}rate_3" not in row


def test_rates_of_layers_are_those_of_the_model() -> None:
    data = images()
    vae = build(latent_dim=2, hidden=(400, 400), **CHAIN)
    (row,) = train(vae, None, 1, data, validation=0.5, seed=3, **FROZEN)
    held_out = parts_of(data, 0.5, seed=3)["validation"]
    torch.manual_seed(3)
    with torch.no_grad():
        terms = vae(torch.from_numpy(held_out).float()[..., None] / 255)
    assert terms.rates is not None
    expected = terms.rates.mean(1).tolist()
    assert [row["val_rate_1"], row["val_rate_2"]] == pytest.approx(expected, **FLOAT32)


def parts_of(data: Any, share: float, seed: int = 0) -> dict[str, Any]:
    """Which images training takes to train on, and which it holds out."""
    split = prepare(load_data(data), Config().updated(validation=share, seed=seed))
    return {"train": data[split.indices("train")], "validation": data[split.indices("validation")]}


def _perplexity_of(vae: VAE, x: Any) -> float:
    q: Any = vae.encode(torch.from_numpy(x)[..., None])
    counts = np.bincount(q.indices.flatten().numpy())
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize("batch_size", [7, 54])
def test_perplexity_is_that_of_all_codes_of_an_epoch_whatever_the_batches(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "_BATCH", 5)
    data = images()
    codes = {"code_grid": (4,), "fsq_levels": (3, 3), "code_normalization": "none"}
    vae = build(posterior="fsq", latent_dim=2, **codes)
    (row,) = train(vae, None, 1, data, validation=0.3, batch_size=batch_size, **FROZEN)
    for name, part in (("perplexity", "train"), ("val_perplexity", "validation")):
        assert row[name] == pytest.approx(_perplexity_of(vae, parts_of(data, 0.3)[part]), **FLOAT32)
        assert 1 < row[name] < 9


def test_each_codebook_of_a_residual_quantiser_has_a_perplexity_and_their_mean_is_told() -> None:
    quantizer = VAE.build(
        shape=(6,), posterior="vq", code_grid=(2,), code_channels=3, codebook_size=4, codebook_depth=2
    ).posterior
    q = quantizer(torch.randn(5, 2, 3))
    assert q.counts.shape == (2, 4)
    assert q.counts.sum(1).tolist() == [10, 10]
    each = [math.exp(torch.special.entr(c / 10).sum().item()) for c in q.counts]
    assert q.perplexity.item() == pytest.approx(sum(each) / 2, rel=1e-6)
    meter = q.meters["perplexity"]
    assert meter.read(meter.total, torch.tensor(5)).item() == pytest.approx(sum(each) / 2, rel=1e-6)


def test_penalties_are_told_without_their_weights() -> None:
    objective = Objective(penalties={"size": (size_of, constant(3.0))})
    for row in train(build(), None, 2, objective=objective):
        for part in ("", "val_"):
            extra = row[f"{part}loss"] - row[f"{part}distortion"] - row[f"{part}rate"]
            assert row[f"{part}penalty_size"] > 0.1
            # a difference of numbers near 25, rounded to float32 once a batch
            assert 3 * row[f"{part}penalty_size"] == pytest.approx(extra, abs=2e-5)


def test_a_critics_own_loss_is_told() -> None:
    critic = prior_critic(2, hidden=(4,))
    with torch.no_grad():
        for weight in critic.parameters():
            weight.zero_()
    objective = Objective(0.0, penalties={"prior": (critic, constant(1.0))})
    (row,) = train(build(), None, 1, objective=objective, **FROZEN)
    # It can tell nothing yet: each costs log 2. (Its own Adam has its own learning rate, 5e-4 a step.)
    for name in ("penalty_prior", "loss_prior", "val_penalty_prior", "val_loss_prior"):
        assert row[name] == pytest.approx(math.log(2), abs=0.02), name


def test_a_part_of_ones_own_may_tell_of_itself() -> None:
    vae = build()
    vae.prior.meters = {"answer": Meter(torch.tensor(42.0), lambda total, _n: total)}
    objective = Objective(penalties={"size": (size_of, constant(0.0))})
    (row,) = train(vae, None, 1, objective=objective, batch_size=54)
    assert row["answer"] == row["val_answer"] == 42.0


# Kept and gone on with.

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "layers": ({"hidden": (400, 400), **CHAIN}, {}),
    "codebook": (
        {"posterior": "vq", "code_grid": (3,), "code_channels": 2, "codebook_size": 5},
        {"penalties": {"commitment": 0.25}},
    ),
    "critic": ({}, {"penalties": {"total_correlation_critic": 5.0}, "penalty_ramp": 1.5}),
}


@pytest.mark.usefixtures("narrow_critics")
@pytest.mark.parametrize("name", KINDS)
def test_a_stop_inside_an_epoch_changes_no_column(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, options = KINDS[name]
    options = {"validation": 0.2, **options}
    train(build(**fields), tmp_path / "whole", 2, **options)
    after_step(monkeypatch, 3, signal_self(15))  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        train(build(**fields), tmp_path / "run", 2, **options)
    assert checkpoint(tmp_path / "run")["engine"]["further"]["examples"] == 24
    train(build(seed=7, **fields), tmp_path / "run", 2, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_checkpoint_from_before_there_were_such_columns_goes_on(tmp_path: Path) -> None:
    fields, _ = KINDS["layers"]
    train(build(**fields), tmp_path / "run", 1)
    file = tmp_path / "run" / "checkpoints" / "last" / "state.safetensors"
    state = load_state(file)
    del state["engine"]["further"]
    save_state(file, state)
    history = train(build(**fields), tmp_path / "run", 2, resume=True)
    assert history[1]["rate_1"] > 0


def test_the_files_of_the_run_have_the_columns(tmp_path: Path) -> None:
    fields, options = KINDS["codebook"]
    (row,) = train(build(**fields), tmp_path / "run", 1, **options)
    (line,) = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert json.loads(line)["perplexity"] == row["perplexity"]
    assert Run(tmp_path / "run").history[0]["penalty_commitment"] == row["penalty_commitment"]
    assert f"perplexity {row['perplexity']:.1f}" in (tmp_path / "run" / "log.txt").read_text()

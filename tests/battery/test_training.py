"""Each combination through the engine: it learns, goes on where it stopped, and works in each precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import elboroom
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.runs.run import Run
from elboroom.training.checkpoints.state import load_state

from .chosen import RESUMED, TRAINED
from .combinations import (
    BATCH,
    EXAMPLES,
    Combination,
    build,
    config_of,
    inputs_of,
    objective_of,
    told_of,
    train,
)

EPOCHS = 12  # past all ramps, which take 10


def _with_discrepancy(objective: Objective) -> bool:
    return bool(objective.penalties.keys() & {"mmd_rbf", "mmd_imq"})


def loss_of(one: Combination, vae: VAE) -> float:
    """The loss of all examples at the end of training, with the same noise at every call.

    A discrepancy of 24 codes from as many draws of the prior differs more from draw to draw than training
    can lower it: of that it is the mean of a hundred.

    A critic's part is left out: it is what the model and its opponent fight over, and rises where the
    opponent learns faster. What they do not fight over has to fall.
    """
    objective = objective_of(one, vae)
    coefficients = objective.coefficients(EXAMPLES // BATCH * EPOCHS)
    for i, name in enumerate(objective.schedules):
        if objective.penalties.get(name) in objective.opponents:
            coefficients[i] = 0.0
    torch.manual_seed(5)
    x, told = inputs_of(one, EXAMPLES), told_of(one, slice(EXAMPLES))
    vae.eval()
    draws = 100 if _with_discrepancy(objective) else 1
    losses = [
        objective(vae(x, objective.num_samples, **told), torch.tensor(coefficients)).item()
        for _ in range(draws)
    ]
    return sum(losses) / draws


@pytest.mark.parametrize("one", TRAINED, ids=str)
def test_training_lowers_the_loss(one: Combination) -> None:
    vae = build(one)
    # A discrepancy of 8 codes from as many draws is mostly noise, which training would follow, and weighs
    # hundreds of nats: of all 24 at a time it says something.
    calmer = {"epochs": 8 * EPOCHS, "batch_size": EXAMPLES, "lr": 3e-3}
    options = calmer if _with_discrepancy(objective_of(one, vae)) else {"epochs": EPOCHS, "lr": 1e-2}
    history = train(one, vae, **options)
    assert loss_of(one, vae) < loss_of(one, build(one))
    norms = [row["grad_norm"] for row in history if row["grad_norm"] is not None]  # every tenth step has one
    measured = [row[name] for row in history for name in ("loss", "distortion", "rate")]
    assert norms
    assert torch.isfinite(torch.tensor([*measured, *norms])).all()


@pytest.mark.parametrize("one", RESUMED, ids=str)
def test_one_epoch_and_another_are_two(one: Combination, tmp_path: Path) -> None:
    """To the last bit: weights, codebooks, critics, power iterations, and the state of Adam."""
    history = train(one, build(one), epochs=2, out=tmp_path / "two")
    train(one, build(one), epochs=1, out=tmp_path / "one")
    again = build(one, seed=9)
    resumed = train(one, again, epochs=2, out=tmp_path / "one", resume=True)
    for row, other in zip(history, resumed, strict=True):
        assert [row[name] for name in ("loss", "distortion", "rate")] == [
            other[name] for name in ("loss", "distortion", "rate")
        ]
    whole, parts = (_tensors(tmp_path / run) for run in ("two", "one"))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name
    assert Run(tmp_path / "one").config.objective == config_of(one).objective
    if again.config is not None:  # networks made in Python are not in a run
        kept = elboroom.load(tmp_path / "two").state_dict()
        for name, value in again.state_dict().items():
            assert torch.equal(value, kept[name]), name


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint by their path."""
    found: dict[str, torch.Tensor] = {}

    def walk(tree: Any, path: str) -> None:
        items = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
        for key, value in items:
            walk(value, f"{path}/{key}")
        if isinstance(tree, torch.Tensor):
            found[path] = tree

    walk(load_state(run / "checkpoints" / "last" / "state.safetensors")["engine"], "")
    return found


@pytest.mark.parametrize("one", RESUMED, ids=str)
def test_each_precision_trains_to_the_same(one: Combination) -> None:
    """auto is fp32 at this size, to the bit; bf16 products have 8 bits."""
    vae, auto, low = (build(one) for _ in range(3))
    (row,) = train(one, vae, epochs=1)
    (same,) = train(one, auto, epochs=1, precision="auto")
    (near,) = train(one, low, epochs=1, precision="bf16")
    assert [same[name] for name in ("loss", "rate")] == [row[name] for name in ("loss", "rate")]
    for name, weight in vae.state_dict().items():
        assert torch.equal(weight, auto.state_dict()[name]), name
        assert low.state_dict()[name].dtype == weight.dtype
    # A density's distortion may pass 0, where 16 pixels still have their roundings.
    assert near["distortion"] == pytest.approx(row["distortion"], rel=0.02, abs=0.05)
    assert torch.isfinite(torch.tensor([near["loss"], near["rate"]])).all()

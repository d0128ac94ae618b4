"""Priors that start from examples, and what a finished training advises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom.cli.training_run import next_command
from elboroom.config import Config
from elboroom.data import load_data
from elboroom.models.vae import VAE
from elboroom.probability import VampPrior
from elboroom.runs.run import load
from elboroom.training.loop import Training

from .runs import assert_same_run, build, checkpoint, images, train

VAMP: dict[str, Any] = {"prior": "vamp", "prior_components": 5}


def begun(vae: VAE, **options: Any) -> Training:
    """A training that was prepared and has taken no step."""
    config = Config().updated(**{"batch_size": 8, "epochs": 1, **VAMP, "hidden": (8,), **options})
    training = Training(vae, load_data(images()), config, quiet=True)
    training.start()
    return training


def shown(vae: VAE) -> Any:
    """Pseudo-inputs as flat rows."""
    return vae.prior.pseudo_inputs.detach().flatten(1).numpy()


def example_of(training: Training, row: Any) -> int | None:
    """Number of the example that a pseudo-input is, as near to it as the prior lets it be."""
    x = np.clip(training.data.x.reshape(len(training.data), -1) / 255, 0.02, 0.98)
    found = np.flatnonzero(np.abs(x - row).max(1) < 1e-5)
    return int(found[0]) if len(found) else None


def test_pseudo_inputs_start_as_different_training_examples() -> None:
    vae = build(**VAMP)
    training = begun(vae, validation=0.3)
    chosen = [example_of(training, row) for row in shown(vae)]
    assert len(set(chosen)) == 5
    assert set(chosen) <= set(training.train_indices.tolist())
    assert chosen != training.train_indices[:5].tolist()


def test_the_seed_chooses_them_and_no_other_randomness_is_touched() -> None:
    before = torch.get_rng_state()
    one, again, other = (build(**VAMP) for _ in range(3))
    for vae, seed in ((one, 3), (again, 3), (other, 4)):
        begun(vae, seed=seed)
    assert (shown(one) == shown(again)).all()
    assert not (shown(one) == shown(other)).all()
    assert torch.get_rng_state().equal(before)


def test_where_there_are_too_few_the_rest_stay_as_they_are() -> None:
    vae, untouched = (build(prior="vamp", prior_components=60) for _ in range(2))
    training = begun(vae, prior_components=60, validation=0.0)
    assert len(training.train_indices) == 54
    found = [example_of(training, row) for row in shown(vae)]
    assert sorted(found[:54], key=str) == sorted(training.train_indices.tolist(), key=str)
    # all but those that lay outside the margin
    np.testing.assert_allclose(shown(vae)[54:], np.clip(shown(untouched)[54:], 0.02, 0.98), atol=1e-6)


def test_the_running_average_starts_from_them_too() -> None:
    vae = build(**VAMP)
    training = begun(vae, ema=0.99)
    with training.engine.averaged():
        averaged = shown(vae).copy()
    assert (averaged == shown(vae)).all()


def test_a_run_starts_from_them_and_resuming_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    start = VampPrior.start_from

    def counted(prior: VampPrior, x: torch.Tensor) -> None:
        calls.append(len(x))
        start(prior, x)

    monkeypatch.setattr(VampPrior, "start_from", counted)
    train(build(**VAMP), tmp_path / "whole", 2)
    assert calls == [5]
    train(build(**VAMP), tmp_path / "run", 1)
    assert calls == [5, 5]
    vae = build(seed=7, **VAMP)
    train(vae, tmp_path / "run", 2, resume=True)
    train(vae, None, 1)  # on with a trained model
    train(load(tmp_path / "run"), None, 1)
    assert calls == [5, 5]
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_the_first_checkpoint_has_them(tmp_path: Path) -> None:
    vae = build(**VAMP)
    training = Training(vae, load_data(images()), Config().updated(hidden=(8,), **VAMP), quiet=True)
    training.create(tmp_path / "run")
    training.checkpoints.close()
    assert checkpoint(tmp_path / "run")["engine"]["steps"] == 0
    again = build(seed=7, **VAMP)
    again.load_state_dict(checkpoint(tmp_path / "run")["engine"]["model"])
    assert all(example_of(training, row) is not None for row in shown(again))


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({}, "elboroom evaluate runs/x    (importance-sampled NLL)"),
        ({"network": "chain", "latent_dim": 2, "hidden": (400, 400)}, "(importance-sampled NLL)"),
        ({"posterior": "fsq"}, "elboroom evaluate runs/x --num-samples 0    (this posterior"),
        ({"posterior": "deterministic"}, "this posterior has no NLL"),
    ],
    ids=str,
)
def test_the_advice_at_the_end_fits_the_model(fields: dict[str, Any], advice: str) -> None:
    assert advice in next_command(build(**fields), Path("runs/x"))

"""Which epoch's weights are kept, by the bound that is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.cli.training_run import weights_kept
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.objectives.recipes import recipe
from elboroom.runs.run import Run
from elboroom.training.loop import Training
from elboroom.training.prepare import build


def _data() -> np.ndarray:
    return np.random.default_rng(0).random((60, 6)).round().astype(np.float32)


def _train(out: Path, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    options = {"epochs": 4, "batch_size": 20, "validation": 0.3, "seed": 1, "quiet": True, **options}
    torch.manual_seed(3)
    vae = elboroom.VAE.build(shape=(6,), latent_dim=2, hidden=[8])
    return vae, elboroom.fit(vae, _data(), out=out, **options)


def test_with_several_samples_the_importance_weighted_bound_decides(tmp_path: Path) -> None:
    kept: dict[int, torch.Tensor] = {}

    def note(vae: Any, row: dict[str, Any]) -> None:
        kept[row["epoch"]] = next(vae.decoder.parameters()).detach().clone()

    options: dict[str, Any] = {"bound": "iwae", "num_samples": 200, "lr": 0.02, "epochs": 15}
    vae, history = _train(tmp_path / "run", on_epoch=note, **options)
    by_bound = max(history, key=lambda row: row["val_bound"])["epoch"]
    by_elbo = max(history, key=lambda row: row["val_elbo"])["epoch"]
    assert by_bound != by_elbo
    assert torch.equal(next(vae.decoder.parameters()), kept[by_bound])
    assert Run(tmp_path / "run").history[0]["val_bound"] == history[0]["val_bound"]


def test_the_bound_is_the_log_of_the_mean_weight(tmp_path: Path) -> None:
    vae, history = _train(tmp_path / "run", bound="iwae", num_samples=4000, epochs=1)
    held_out = _data()[elboroom.load_data(_data()).with_validation(0.3, 1).indices("validation")]
    torch.manual_seed(1)  # as the training's own noise for validation
    nll = vae.nll(held_out, 4000).value.mean()
    assert history[0]["val_bound"] == pytest.approx(-float(nll), rel=1e-5)
    assert history[0]["val_elbo"] < history[0]["val_bound"]
    assert history[0]["val_loss"] == pytest.approx(-history[0]["val_bound"], rel=1e-5)


def test_one_sample_has_the_elbo_alone(tmp_path: Path) -> None:
    _, history = _train(tmp_path / "run")
    assert "val_bound" not in history[0]
    assert math.isfinite(history[0]["val_elbo"])


def test_weights_are_those_after_the_critic_counted() -> None:
    """The best bound is that of an epoch without the critic; a training for detail keeps its last one."""
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    data = Dataset("noise", x, np.zeros(60), scale=255)
    fields = {"conv_width": 4, "attention": False, "conv_levels": 1, "batch_size": 20, "epochs": 4}
    config = recipe("tokenizer", Config(), **fields, validation=0.2, lr=0.01)
    training = Training(build(config, data), data, config, quiet=True)
    training.run()
    bounds = [row["val_elbo"] for row in training.record.history]
    assert np.argmax(bounds) < 3  # or this shows nothing
    assert training.record.best_row is None
    assert weights_kept(training) == (
        "from epoch 4, the last; with a patch critic the best validation bound does not tell which is best"
    )
    last = training.checkpoints.last_good
    assert last is not None
    for name, weight in training.engine.vae.state_dict().items():
        assert torch.equal(weight, last.state["engine"]["model"][name])
    with pytest.raises(
        UsageError, match=r"^patience = 2 waits for a better validation bound.* leave patience out$"
    ):
        Training(build(config, data), data, config.updated(patience=2), quiet=True)

"""Trainings that take the steps of a GPU on the CPU, with and without recording them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.models.vae import VAE
from elboroom.objectives import RECIPES, Objective, recipe
from elboroom.training.checkpoints.state import copy_state
from elboroom.training.loop import Training
from elboroom.training.prepare import build as build_for
from elboroom.training.step.engine import Engine

from .recording import Recording
from .runs import (
    assert_identical,
    timeless,
)

SPLIT = 28  # examples: four steps of 8 an epoch, the last of 4
OnEpoch = Callable[[VAE, dict[str, Any]], None]


@pytest.fixture(autouse=True)
def static_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training take the steps that it would take on a GPU."""
    assert Training.__init__.__kwdefaults__ is not None
    engine = partial(Engine, new_graph=Recording)
    monkeypatch.setitem(Training.__init__.__kwdefaults__, "engine", engine)
    monkeypatch.setattr(Recording, "made", 0)
    monkeypatch.setattr(Recording, "replays", 0)


def pictures(n: int = SPLIT) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (n, 12, 12, 1), dtype=np.uint8)
    return Dataset("noise", x, np.zeros(n, np.uint8), np.arange(n) % 3, ("a", "b", "c"), scale=255.0)


def narrow(name: str, **options: Any) -> Config:
    """A recipe with networks that take a moment."""
    fields = RECIPES[name].fields
    base: dict[str, Any] = {"batch_size": 8, "validation": 0.0, "precision": "fp32", "figures_every": 0}
    base |= {} if "network" in {**fields, **options} else {"hidden": (16,)}
    base |= {"conv_width": 8} if fields.get("network") in ("ladder", "conv", "spatial") else {}
    base |= {"critic_start_epochs": 1.0} if "critic_start" in fields else {}
    base |= {"prior_components": 5} if fields.get("prior") == "vamp" else {}
    if fields.get("posterior") == "vq":
        base |= {"codebook_size": 8} | ({} if fields.get("network") == "spatial" else {"code_grid": (4,)})
    return recipe(name, Config(), **{**base, **options})


def trained(config: Config, objective: Callable[[], Objective | None], on_epoch: OnEpoch | None) -> Training:
    data = pictures()
    vae = build_for(config, data)
    training = Training(vae, data, config, objective(), quiet=True)
    training.run(on_epoch)
    return training


def compare(
    config: Config, on_epoch: OnEpoch | None = None, objective: Callable[[], Objective | None] = lambda: None
) -> Training:
    """Train with and without recording, and see that nothing differs; return the former."""
    taken = trained(config.updated(capture="off"), objective, on_epoch)
    assert Recording.made == 0
    replayed = trained(config, objective, on_epoch)
    for one, other in ((taken.record.history, replayed.record.history),):
        assert_identical(timeless(one), timeless(other), "history")
    assert_identical(copy_state(taken.engine.state_dict()), copy_state(replayed.engine.state_dict()), "state")
    return replayed

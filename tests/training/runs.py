"""What the training tests train, and how they compare what it leaves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.models.vae import VAE
from elboroom.training import fit
from elboroom.training.checkpoints import saving
from elboroom.training.checkpoints.state import load_state
from elboroom.training.step.engine import Engine

# They tell how long it took, and so are never the same twice.
_TIMES = {"seconds", "images_per_second"}


def images(n: int = 60) -> np.ndarray[Any, Any]:
    """Return n grey 6×6 images: 6 are for testing, and of the other 54 the validation part is taken."""
    return np.random.default_rng(0).integers(0, 256, (n, 6, 6), dtype=np.uint8)


def rows(n: int = 60) -> np.ndarray[Any, Any]:
    """Return n rows of 5 measurements."""
    return np.random.default_rng(1).normal(size=(n, 5)).astype(np.float32)


def build(seed: int = 0, shape: tuple[int, ...] = (6, 6, 1), **fields: Any) -> VAE:
    """Make a small VAE whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE.build(shape=shape, **{"latent_dim": 2, "hidden": (8,), **fields})


def train(vae: VAE, out: Path | None, epochs: int, data: Any = None, **options: Any) -> list[dict[str, Any]]:
    """``fit`` in small batches without a word: 54 training images are 7 batches, the last of them of 6."""
    more = {} if options.get("resume") else {"batch_size": 8}
    return fit(vae, images() if data is None else data, out=out, epochs=epochs, quiet=True, **more | options)


def timeless(tree: Any) -> Any:
    """Leave out what is never the same twice."""
    if isinstance(tree, dict):
        return {key: timeless(value) for key, value in tree.items() if key not in _TIMES}
    return [timeless(value) for value in tree] if isinstance(tree, list) else tree


def assert_identical(one: Any, other: Any, where: str = "") -> None:
    """Compare trees bit for bit: keys and their types, floats with nan, tensors with their types."""
    assert type(one) is type(other), f"{where}: {one!r} and {other!r}"
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key, value in one.items():
            assert_identical(value, other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_identical(a, b, f"{where}/{i}")
    elif isinstance(one, Tensor):
        assert one.dtype == other.dtype, where
        assert one.shape == other.shape, where
        assert (
            one.detach().reshape(-1).view(torch.uint8).equal(other.detach().reshape(-1).view(torch.uint8))
        ), where
    else:
        assert repr(one) == repr(other), where


def checkpoint(run: Path, which: str = "last") -> dict[str, Any]:
    """Read a run's checkpoint."""
    return load_state(run / "checkpoints" / which / "state.safetensors")


def assert_same_run(run: Path, other: Path) -> None:
    """Compare all that two runs hold, bit for bit, but for how long they took."""
    names = [sorted(str(p.relative_to(r)) for p in r.rglob("*") if p.is_file()) for r in (run, other)]
    assert names[0] == names[1]
    assert_identical(timeless(checkpoint(run)), timeless(checkpoint(other)), "last")
    if (run / "checkpoints" / "best").exists():
        assert_identical(timeless(checkpoint(run, "best")), timeless(checkpoint(other, "best")), "best")
    assert (run / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert (run / "config.json").read_text() == (other / "config.json").read_text()
    kept = [
        [json.loads(line) for line in (r / "history.jsonl").read_text().splitlines()] for r in (run, other)
    ]
    assert_identical(timeless(kept[0]), timeless(kept[1]), "history.jsonl")
    assert_identical(kept[0], checkpoint(run)["history"], "history")


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], None]) -> None:
    """Do something once, right after this many steps were taken."""
    take = Engine.step

    def step_and_act(engine: Engine, *batch: Any) -> None:
        take(engine, *batch)
        if engine.steps == step:
            monkeypatch.setattr(Engine, "step", take)
            action()

    monkeypatch.setattr(Engine, "step", step_and_act)


def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a checkpoint begun at every step at which none is being written."""
    monkeypatch.setattr(saving, "SHARE", float("inf"))
    monkeypatch.setattr(saving, "PAUSE", (0.0, 0.0))


def never_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no checkpoint begun within an epoch."""
    monkeypatch.setattr(saving, "PAUSE", (float("inf"), float("inf")))


def signal_self(number: signal.Signals) -> Callable[[], None]:
    """Make a function that sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)

"""A step that is recorded once and replayed trains as the step that is taken: bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.data import batches
from elboroom.data.batches import Batches
from elboroom.data.columns import from_columns
from elboroom.distributed.processes import Part, Workers
from elboroom.models.vae import VAE
from elboroom.objectives import RECIPES, Objective
from elboroom.objectives.schedules import constant
from elboroom.probability.codebooks import Codebook
from elboroom.training import Stopped
from elboroom.training.loop import Training
from elboroom.training.prepare import build as build_for
from elboroom.training.step.engine import Engine
from elboroom.training.step.update import Update

from . import captured
from .captured import SPLIT, compare, narrow, pictures, trained
from .recording import OneDevice, Recording
from .runs import (
    after_step,
    always_due,
    assert_identical,
    assert_same_run,
    build,
    never_due,
    signal_self,
    timeless,
    train,
)

static_steps = captured.static_steps

# The recipes. That each is replayed includes that its step reads nothing on the host.


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_replayed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    training = compare(narrow(name, epochs=3))
    assert Recording.made == 2  # one for each size of batch
    # Of 12 steps the first three are taken, and two of the smaller size: the second of that size is recorded.
    assert Recording.replays == 12 - 3 - 1
    assert training.engine.capture is not None
    assert training.engine.capture.reason is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("name", "drop"), [("vae", 0.0), ("vae", 0.3), ("rae-gp", 0.0)])
def test_a_table_with_cells_that_the_recorded_batch_has(
    name: str, drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = np.random.default_rng(0)
    size, kind = made.normal(size=SPLIT), np.array(["a", "b", "c"])[np.arange(SPLIT) % 3]
    size[made.random(SPLIT) < 0.3] = np.nan
    table = from_columns({"size": size, "count": made.poisson(3, SPLIT) * 1.0, "kind": kind})
    monkeypatch.setattr(captured, "pictures", lambda: table)
    training = compare(narrow(name, epochs=3, drop_cells=drop, likelihood="mixed"))
    assert training.engine.vae.accepts_missing
    assert Recording.replays > 0


@pytest.mark.parametrize("options", [{"conv_width": 8}, {"conv_width": 8, "ema": 0.9, "clip": 1.0}])
def test_activations_are_recomputed_in_a_replay(options: dict[str, Any]) -> None:
    training = compare(narrow("ladder", epochs=3, checkpoint_activations=True, **options))
    assert (Recording.made, Recording.replays) == (2, 12 - 3 - 1)
    kept = trained(narrow("ladder", epochs=3, **options), lambda: None, None)
    assert_identical(timeless(training.record.history), timeless(kept.record.history), "history")


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A device without numbers, on which what reads them or brings them from the host cannot happen."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know this device
    monkeypatch.setattr(Update, "apply", lambda *_: None)  # nor do torch's fused optimisers
    with torch.library._scoped_library("aten", "IMPL") as library:  # nor do these have a form for it
        library.impl("_sample_dirichlet", lambda alpha, _=None: torch.empty_like(alpha), "Meta")
        library.impl("_dirichlet_grad", lambda x, _alpha, _total: torch.empty_like(x), "Meta")
        yield torch.device("meta")


@pytest.mark.parametrize("name", RECIPES)
def test_no_step_touches_the_host(name: str, meta: torch.device) -> None:
    config, data = narrow(name, ema=0.9, capture="off"), pictures()
    vae = build_for(config, data)
    objective = Objective.from_config(config.objective, 4, vae=vae, examples=SPLIT)
    engine = Engine(vae, objective, Batches(data, meta, resident=True), config, meta)
    for book in (module for module in vae.modules() if isinstance(module, Codebook)):
        book._known_started = True  # which happens in the first step, before any is recorded
    part = Part(0, 8, 8, 1.0)
    rows = torch.zeros(8, dtype=torch.int64, device=meta)
    engine.take(rows, part, ())  # the columns of the history are laid out
    with OneDevice():
        engine.take(rows, part, ())


@pytest.mark.usefixtures("narrow_critics")
@pytest.mark.parametrize("name", ["vae", "iwae", "ladder", "vq-vae", "factor-vae"])
def test_a_static_step_learns_what_an_ordinary_one_learns(name: str) -> None:
    replayed = trained(narrow(name, epochs=3, ema=0.9, clip=1.0), lambda: None, None)
    config, data = narrow(name, epochs=3, ema=0.9, clip=1.0), pictures()
    ordinary = Training(build_for(config, data), data, config, quiet=True, engine=Engine)
    ordinary.run()
    for row, other in zip(ordinary.record.history, replayed.record.history, strict=True):
        for column in row.keys() - {"seconds", "images_per_second"}:
            # The same operations but for the average, the clipping and the sums of the columns.
            assert other[column] == pytest.approx(row[column], rel=1e-5, abs=1e-6), column


EVERYTHING: dict[str, dict[str, Any]] = {
    "beta ramp, average, clip, cosine": {
        "beta_ramp": 30,
        "ema": 0.99,
        "clip": 0.5,
        "lr_schedule": "CosineAnnealingLR",
    },
    "AdamW, plateau": {
        "optimizer": "AdamW",
        "optimizer_options": {"weight_decay": 0.1, "amsgrad": True},
        "lr_schedule": "ReduceLROnPlateau",
        "lr_schedule_options": {"patience": 0},
    },
    "SGD with momentum": {"optimizer": "SGD", "lr": 1e-4, "optimizer_options": {"momentum": 0.9}},
    "SGD": {
        "optimizer": "SGD",
        "lr": 1e-4,
        "lr_schedule": "ExponentialLR",
        "lr_schedule_options": {"gamma": 0.9},
    },
    "one cycle, whose betas move": {"lr_schedule": "OneCycleLR", "lr_schedule_options": {"max_lr": 1e-2}},
    "drawn pixels": {"binarize": "stochastic", "flip": True, "random_crop": (4, 5), "validation": 0.25},
    "noise on whole numbers": {"likelihood": "gaussian", "dequantize": "uniform"},
    "conditions": {"condition": "labels"},
    "bf16": {"precision": "bf16", "ema": 0.9},
    "convolutions": {"network": "conv", "conv_width": 8, "clip": 1.0},
    "with replacement": {"batches_per_epoch": 5},
    "batches added up": {"batch_size": 3, "accumulate": 3, "ema": 0.9, "clip": 0.5, "binarize": "stochastic"},
}


@pytest.mark.parametrize("case", EVERYTHING)
def test_all_that_changes_between_steps_is_read_anew(case: str) -> None:
    epochs = 60 if "ramp" in case else 8  # some hundreds of steps
    options = EVERYTHING[case]
    training = compare(narrow("vae", epochs=epochs, **options))
    assert training.engine.capture is not None
    assert training.engine.capture.graphs >= 1
    assert Recording.replays > training.engine.steps / 4


def test_batches_that_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "fits", lambda *_: False)
    compare(narrow("vae", epochs=4))
    assert Recording.replays == 16 - 3 - 1
    Recording.made = 0
    compare(narrow("vae", epochs=4, condition="labels"))
    assert Recording.replays == 2 * 12


class _Twins(Workers):
    """Two processes that have the same."""

    def __init__(self, device: torch.device):
        super().__init__(device)
        self.size = 2

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)

    def spread(self, tensors: Any) -> None:
        pass


def test_notes_to_other_processes_are_not_part_of_a_recording() -> None:
    config, data = narrow("vae"), pictures()
    device = torch.device("cpu")
    batches = Batches(data, device)
    engine = Engine(
        build_for(config, data), Objective(), batches, config, device, _Twins(device), new_graph=Recording
    )
    for step in range(7):
        engine.step(torch.arange(8), Part(0, 8, 16, 0.5), (float(step), 1.0))
        assert engine.summed_notes.tolist() == [2.0 * step, 2.0]
    assert Recording.replays == 2 * (7 - 3)


def test_non_finite_steps_are_skipped_and_training_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # From a copy within an epoch, whose time the clock decides, training would go back to other steps.
    never_due(monkeypatch)

    def spoil(weight: Tensor, value: float) -> None:
        with torch.no_grad():
            weight[0, 0] = value

    def run(capture: str) -> tuple[VAE, list[dict[str, Any]]]:
        vae = build()

        def twice() -> None:
            spoil(vae.decoder[0].weight, torch.nan)
            after_step(monkeypatch, 30, lambda: spoil(vae.decoder[0].weight, torch.nan))

        after_step(monkeypatch, 16, twice)
        return vae, train(vae, None, 7, lr=1e-3, validation=0.0, ema=0.9, capture=capture)

    vae, history = run("off")
    assert history[-1]["learning_rate"] == pytest.approx(2.5e-5)  # it went back twice
    assert Recording.replays == 0
    again, replayed = run("auto")
    assert Recording.made == 6  # two sizes, and again each time after it went back
    assert_identical(timeless(history), timeless(replayed))
    assert_identical(dict(vae.state_dict()), dict(again.state_dict()))


def test_one_bad_example_is_skipped_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    never_due(monkeypatch)

    def objective() -> Objective:
        # Infinite where a code is large, which is so in some steps.
        return Objective(
            penalties={
                "rare": (lambda t: t.z.square().max().div(3).log().relu().mul(1e30).exp(), constant(1e-3))
            }
        )

    training = compare(narrow("vae", epochs=10, ema=0.9), objective=objective)
    skipped = [row.get("skipped_steps", 0) for row in training.record.history]
    assert sum(skipped) > 2
    assert min(skipped) < 4


# Runs.


def test_resumed_runs_are_the_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: Any = {"validation": 0.2, "ema": 0.9, "beta_ramp": 3}
    train(build(), tmp_path / "taken", 5, capture="off", **options)
    train(build(), tmp_path / "whole", 5, **options)
    for name in ("parts", "within"):
        with monkeypatch.context() as patch:
            always_due(patch)
            after_step(patch, 19, signal_self(2 if name == "parts" else 15))
            with pytest.raises((Stopped, KeyboardInterrupt)):
                train(build(), tmp_path / name, 5, **options)
        train(build(), tmp_path / name, 5, resume=True)
    assert Recording.replays > 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "within")
    for file in ("model.safetensors",):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "taken" / file).read_bytes()


def test_a_run_of_either_kind_is_continued_as_the_other(tmp_path: Path) -> None:
    """A learning rate on the device stays out of the checkpoint."""
    train(build(), tmp_path / "run", 2, lr_schedule="CosineAnnealingLR")
    engine = partial(Engine)
    assert Training.__init__.__kwdefaults__ is not None
    Training.__init__.__kwdefaults__["engine"] = engine
    history = train(build(), tmp_path / "run", 4, resume=True)
    assert len(history) == 4

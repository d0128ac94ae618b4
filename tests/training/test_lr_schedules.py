"""Schedules that follow the number of epochs, and what is said of those that do not fit it."""

from __future__ import annotations

import math
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from torch.optim.lr_scheduler import LRScheduler

from elboroom.config import Config, ObjectiveConfig, OptimizerConfig, preset_names, read_preset
from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.objectives.choice import ramp_warnings
from elboroom.training import Stopped, fit
from elboroom.training.checkpoints.state import save_state
from elboroom.training.loop import Training
from elboroom.training.prepare import build as prepared_model
from elboroom.training.step.lr_schedules import lr_warnings, rehearse

from .runs import (
    after_step,
    assert_identical,
    assert_same_run,
    build,
    checkpoint,
    images,
    signal_self,
    train,
)


def cosine(epochs: int, lr: float = 1.0) -> list[float]:
    return [lr * (1 + math.cos(math.pi * epoch / epochs)) / 2 for epoch in range(epochs)]


def config_of(name: str, **options: Any) -> OptimizerConfig:
    return OptimizerConfig(lr=1.0, lr_schedule=name, lr_schedule_options=options)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("CosineAnnealingLR", {}, cosine(8)),
        ("CosineAnnealingLR", {"T_max": 4}, [*cosine(4), 0.0, *cosine(4)[:0:-1]]),
        ("PolynomialLR", {}, [1 - epoch / 8 for epoch in range(8)]),
        ("LinearLR", {"start_factor": 1.0, "end_factor": 0.2}, [1 - 0.1 * epoch for epoch in range(8)]),
        ("LinearLR", {"start_factor": 0.5, "total_iters": 2}, [0.5, 0.75, *[1.0] * 6]),
        ("ConstantLR", {"factor": 0.5}, [*[0.5] * 5, *[1.0] * 3]),
    ],
)
def test_learning_rates_are_those_of_the_formula(
    name: str, options: dict[str, Any], expected: list[float]
) -> None:
    # torch multiplies from epoch to epoch, in float64; a cosine loses digits where it is near 0.
    assert rehearse(config_of(name, **options), 8) == pytest.approx(expected, abs=1e-12)


def test_one_cycle_ends_with_the_training_and_takes_lr_for_its_top() -> None:
    rates = rehearse(config_of("OneCycleLR"), 11)
    # From max_lr / 25 up for 30 % of the steps, and down to 1e-4 of the first.
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(1.0, rel=0.05)
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)
    with pytest.raises(UsageError, match="total_steps = 5 ends before the 11 epochs"):
        rehearse(config_of("OneCycleLR", total_steps=5), 11)


@pytest.mark.parametrize("epochs", [3, 7])
def test_presets_bring_the_learning_rate_down_whatever_the_epochs(epochs: int) -> None:
    for name in preset_names():
        optimizer = read_preset(name).optimizer
        if optimizer.lr_schedule is not None:
            assert rehearse(optimizer, epochs) == pytest.approx(cosine(epochs, optimizer.lr), abs=1e-15)
            assert lr_warnings(optimizer, epochs) == []


@pytest.mark.parametrize(
    ("name", "options", "epochs", "said"),
    [
        ("CosineAnnealingLR", {"T_max": 60}, 120, "raises the learning rate again after epoch 61 of 120"),
        ("CosineAnnealingLR", {"T_max": 60}, 20, "takes 60 epochs, and training ends after 20, at learning"),
        ("CosineAnnealingLR", {"T_max": 60}, 60, None),
        ("CosineAnnealingLR", {}, 7, None),
        ("PolynomialLR", {"total_iters": 3}, 6, "makes the learning rate 0 in 3 epochs from epoch 4 on"),
        ("OneCycleLR", {"epochs": 6, "steps_per_epoch": 100}, 6, "takes 600 epochs"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "cycle_momentum": False}, 9, "takes 4,000 epochs"),
        ("CosineAnnealingWarmRestarts", {"T_0": 3}, 9, None),  # to repeat is what it is for
        ("StepLR", {"step_size": 30}, 20, "never changes the learning rate in 20 epochs"),
        ("StepLR", {"step_size": 30}, 31, None),
        ("LinearLR", {"total_iters": 5}, 20, None),  # a warm-up
        ("ReduceLROnPlateau", {}, 5, None),
    ],
)
def test_a_schedule_that_does_not_fit_the_epochs_is_warned_of(
    name: str, options: dict[str, Any], epochs: int, said: str | None
) -> None:
    found = lr_warnings(config_of(name, **options), epochs)
    assert len(found) == (said is not None)
    if said is not None:
        assert said in found[0]


@pytest.mark.parametrize(
    ("options", "epochs", "said"),
    [
        ({"beta_schedule": "linear", "beta_ramp": 10}, 5, "at 2 instead of 4: its ramp takes 10 epochs"),
        ({"beta_schedule": "linear", "beta_ramp": 10}, 10, None),
        ({"beta_schedule": "sigmoid", "beta_delay": 5, "beta_ramp": 15}, 10, "beta_delay = 2.5 and"),
        ({"beta_schedule": "cyclical", "beta_ramp": 10, "beta_period": 20}, 45, "at 2 .*of a cycle"),
        ({"beta_schedule": "cyclical", "beta_ramp": 10, "beta_period": 20}, 40, None),
        ({"beta_ramp": 100, "beta_delay": 100}, 5, None),  # constant: they have no use
        ({"bound": "capacity", "capacity_ramp": 30}, 20, "ends at 67% of 25 nats: its ramp takes 30"),
        ({"penalties": {"code_norm": 1.0}, "penalty_ramp": 30}, 20, "each penalty ends at 67%"),
    ],
)  # fmt: skip
def test_a_ramp_that_outlives_the_training_is_warned_of(
    options: dict[str, Any], epochs: int, said: str | None
) -> None:
    found = ramp_warnings(ObjectiveConfig(beta=4.0, **options), epochs)
    assert len(found) == (said is not None)
    if said is not None:
        assert re.search(said, found[0])


def test_a_million_epochs_are_not_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step = LRScheduler.step
    monkeypatch.setattr(LRScheduler, "step", lambda *args: (steps.append(1), step(*args))[1])
    config = Config().updated(epochs=10**6, lr_schedule="CosineAnnealingLR", batch_size=8)
    Training(build(), load_data(images()), config, quiet=True)
    assert 0 < len(steps) < 2000


SCHEDULES = [
    ("CosineAnnealingLR", {}),
    ("OneCycleLR", {"max_lr": 2e-3}),
    ("LinearLR", {"end_factor": 0.1, "start_factor": 1.0}),
    ("PolynomialLR", {"power": 2.0}),
]


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=[name for name, _ in SCHEDULES])
def test_resuming_for_longer_lays_the_schedule_out_anew_and_says_so(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    chosen = {"lr_schedule": name, "lr_schedule_options": options, "batches_per_epoch": 2}
    train(build(), tmp_path / "run", 3, **chosen)
    history = train(build(), tmp_path / "run", 6, resume=True)
    told = (tmp_path / "run" / "log.txt").read_text()
    assert (
        told.count(f"{name} follows the number of epochs, which is now 6 instead of 3: epoch 4 has learning")
        == 1
    )
    optimizer = Config().updated(**chosen).optimizer
    expected = [*rehearse(optimizer, 3), *rehearse(optimizer, 6)[3:]]
    assert [row["learning_rate"] for row in history] == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["CosineAnnealingLR", "OneCycleLR"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    chosen = {"lr_schedule": name, "batches_per_epoch": 2, "out": tmp_path / "run"}
    train(build(), epochs=4, **{**chosen, "out": tmp_path / "whole"})
    after_step(monkeypatch, 5, signal_self(signal.SIGTERM))
    with pytest.raises(Stopped):
        train(build(), epochs=4, **chosen)
    train(build(), tmp_path / "run", 4, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_of_an_earlier_version_keeps_its_length(tmp_path: Path) -> None:
    # It gave LinearLR torch's own 5 epochs, and its checkpoints name no length.
    chosen = {"lr_schedule": "LinearLR", "lr_schedule_options": {"total_iters": 5}, "batches_per_epoch": 2}
    train(build(), tmp_path / "run", 2, **chosen)
    train(build(), tmp_path / "whole", 4, **chosen)
    state = checkpoint(tmp_path / "run")
    del state["engine"]["updates"][0]["lr_length"]
    save_state(tmp_path / "run" / "checkpoints" / "last" / "state.safetensors", state)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"total_iters": 5', ""))
    train(build(), tmp_path / "run", 4, resume=True)
    for name in ("model", "updates"):
        one, other = (checkpoint(tmp_path / run)["engine"][name] for run in ("run", "whole"))
        assert_identical(one, other, name)


def test_going_back_lowers_all_that_one_cycle_will_make() -> None:
    config = Config().updated(epochs=6, lr_schedule="OneCycleLR", batch_size=8)
    rates = []
    for factor in (1.0, 0.25):
        training = Training(build(), load_data(images()), config, quiet=True)
        training.engine.lower_learning_rate(factor)
        for _ in range(6):
            rates.append(training.engine.learning_rate)
            training.engine.update.optimizer.step()
            training.engine.end_epoch(1.0)
    assert rates[6:] == pytest.approx([rate / 4 for rate in rates[:6]])


@pytest.mark.parametrize("quiet", [False, True])
def test_warnings_are_said_once_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, quiet: bool
) -> None:
    options = {"lr_schedule": "StepLR", "lr_schedule_options": {"step_size": 9}, "batch_size": 8}
    options |= {"beta_schedule": "linear", "beta_ramp": 9}
    fit(build(), images(), out=tmp_path / "run", epochs=2, quiet=quiet, **options)
    told = [capsys.readouterr().err, (tmp_path / "run" / "log.txt").read_text()]
    assert [text.count("warning: ") for text in told] == [0 if quiet else 2, 2]
    assert "warning: StepLR never changes the learning rate in 2 epochs" in told[1]


def test_weights_that_are_stepped_by_a_kernel_follow_their_schedule_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    digits = load_data("digits")
    options = {"lr_schedule": "ExponentialLR", "lr_schedule_options": {"gamma": 0.5}, "lr": 1e-3}
    config = Config().updated(hidden=[8], epochs=2, precision="bf16", **options)
    training = Training(prepared_model(config, digits), digits, config, quiet=True)
    training.run()
    assert training.engine.learning_rate == pytest.approx(0.25e-3)
    assert not [str(warning.message) for warning in recwarn]

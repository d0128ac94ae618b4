"""N + M epochs are N, a stop, and M more: bit for bit, however it was stopped."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.schedules import constant
from elboroom.runs.run import Run, load
from elboroom.training import Stopped
from elboroom.training.checkpoints import saving

from .runs import (
    after_step,
    always_due,
    assert_identical,
    assert_same_run,
    build,
    checkpoint,
    images,
    rows,
    signal_self,
    timeless,
    train,
)

pytestmark = pytest.mark.usefixtures("usual_signals")

Case = tuple[dict[str, Any], dict[str, Any]]

# (fields of the model, options): each keeps another state between epochs.
CASES: dict[str, Case] = {
    "Adam, validation, patience": ({}, {"validation": 0.2, "patience": 9}),
    "AdamW, cosine": (
        {},
        {
            "optimizer": "AdamW",
            "optimizer_options": {"weight_decay": 0.1, "amsgrad": True},
            "lr_schedule": "CosineAnnealingLR",
            "lr_schedule_options": {"T_max": 4},
            "validation": 0.0,
        },
    ),
    "SGD momentum, plateau, clip": (
        {},
        {
            "optimizer": "SGD",
            "lr": 0.05,
            "optimizer_options": {"momentum": 0.9, "nesterov": True},
            "lr_schedule": "ReduceLROnPlateau",
            "lr_schedule_options": {"patience": 0, "factor": 0.5, "threshold": 0.5},
            "validation": 0.2,
            "clip": 0.5,
        },
    ),
    "replacement, batch norm": (
        {"normalization": "batch", "activation": "silu"},
        {"batches_per_epoch": 5, "validation": 0.2},
    ),
    "stochastic, growing beta": (
        {},
        {"binarize": "stochastic", "beta_schedule": "linear", "beta_ramp": 3, "validation": 0.2},
    ),
    "dequantised": (
        {"likelihood": "continuous_bernoulli", "scale": 256.0, "shape": (4, 5, 1)},
        {"dequantize": "uniform", "flip": True, "random_crop": (4, 5), "validation": 0.2},
    ),
    "learned scale, rows": (
        {"shape": (5,), "likelihood": "gaussian", "learn_scale": True},
        {
            "optimizer": "RMSprop",
            "optimizer_options": {"centered": True, "momentum": 0.5},
            "beta_schedule": "sigmoid",
            "beta_delay": 1,
            "beta_ramp": 2,
            "validation": 0.2,
        },
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each case in one go of 4 epochs, trained when first asked for."""
    folder, done = tmp_path_factory.mktemp("whole"), {}

    def trained(name: str) -> tuple[Path, list[dict[str, Any]]]:
        if name not in done:
            out = folder / str(len(done))
            fields, options = CASES[name]
            done[name] = out, train(build(**fields), out, 4, data_of(name), **options)
        return done[name]

    return trained


def data_of(name: str) -> Any:
    return rows() if CASES[name][0].get("shape") == (5,) else images()


def go_on(name: str, out: Path, epochs: int, **more: Any) -> tuple[VAE, list[dict[str, Any]]]:
    """Resume into a model of other weights, with other noise in the air."""
    torch.manual_seed(987)
    vae = build(seed=77, **CASES[name][0])
    return vae, train(vae, out, epochs, data_of(name), resume=True, **more)


@pytest.mark.parametrize("name", CASES)
def test_two_and_two_epochs_are_four(name: str, whole: Any, tmp_path: Path) -> None:
    fields, options = CASES[name]
    train(build(**fields), tmp_path / "run", 2, data_of(name), **options)
    vae, history = go_on(name, tmp_path / "run", 4)
    expected, expected_history = whole(name)
    assert_same_run(tmp_path / "run", expected)
    assert_identical(timeless(history), timeless(expected_history))
    assert_identical(dict(vae.state_dict()), dict(load(expected).state_dict()))


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("Adam, validation, patience", (1, 6, 12)),  # 6 steps an epoch: one in, and at the ends of epochs
        ("AdamW, cosine", (9, 27)),  # in the second epoch, and before the very last step
        ("SGD momentum, plateau, clip", (8,)),
        ("replacement, batch norm", (7, 13)),
        ("stochastic, growing beta", (10,)),
        ("dequantised", (10,)),
        ("learned scale, rows", (20,)),
    ],
)
def test_a_signal_inside_an_epoch_changes_nothing(
    name: str, steps: tuple[int, ...], whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, options = CASES[name]
    out = tmp_path / "run"
    for i, step in enumerate(steps):
        number = (signal.SIGTERM, signal.SIGINT)[i % 2]
        after_step(monkeypatch, step, signal_self(number))
        with pytest.raises(Stopped) as stop:
            go_on(name, out, 4) if i else train(build(**fields), out, 4, data_of(name), **options)
        assert stop.value.signal_number == number
        assert f"elboroom resume {out}" in str(stop.value)
        assert checkpoint(out)["engine"]["steps"] == step
    go_on(name, out, 4)
    assert_same_run(out, whole(name)[0])


def test_a_death_between_any_two_writes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As kill -9 leaves it: some files of an epoch are new and the rest are old. The first 7 writes come
    # before there is anything to go on with; then there are up to 6 after every step and at the end.
    class Death(BaseException):
        pass

    flush, left = os.fsync, [0]

    def flush_or_die(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Death
        flush(descriptor)

    always_due(monkeypatch)
    monkeypatch.setattr(saving.Checkpoints, "begin", saving.Checkpoints.save)
    options = {"validation": 0.2, "batches_per_epoch": 2}
    train(build(), tmp_path / "whole", 2, **options)
    deaths = 0
    for writes in range(7, 60):
        out, left[0] = tmp_path / str(writes), writes
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", flush_or_die)
            try:
                train(build(), out, 2, **options)
                break
            except Death:
                deaths += 1
        if checkpoint(out)["engine"]["steps"] < 4:
            train(build(seed=7), out, 2, resume=True)
        assert_same_run(out, tmp_path / "whole")
    assert deaths >= 18


def test_a_callback_that_draws_and_switches_modes_changes_nothing(whole: Any, tmp_path: Path) -> None:
    def meddle(vae: VAE, row: dict[str, Any]) -> None:
        torch.randn(row["epoch"])
        vae.eval()
        vae.sample(3, observe=True)
        torch.manual_seed(3)

    name = "replacement, batch norm"
    fields, options = CASES[name]
    train(build(**fields), tmp_path / "run", 4, on_epoch=meddle, **options)
    assert_same_run(tmp_path / "run", whole(name)[0])


def test_patience_counts_on(tmp_path: Path) -> None:
    # Steps this large overshoot early, so the fourth epoch is the second without a better one.
    options = {"validation": 0.2, "patience": 2, "lr": 0.3}
    vae = build()
    history = train(vae, tmp_path / "whole", 12, **options)
    assert len(history) < 12
    stopped = len(history) - 1
    train(build(), tmp_path / "run", stopped, **options)
    again = build(seed=5)
    assert len(train(again, tmp_path / "run", 12, resume=True)) == len(history)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert_identical(dict(again.state_dict()), dict(vae.state_dict()))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("StepLR", {"step_size": 1}),
        ("MultiStepLR", {"milestones": [1, 3]}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("ConstantLR", {"total_iters": 3}),
        ("LinearLR", {"total_iters": 3}),
        ("PolynomialLR", {"total_iters": 4}),
        ("CosineAnnealingWarmRestarts", {"T_0": 3}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 10}),
        ("CyclicLR", {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 2, "cycle_momentum": False}),
    ],
)
def test_every_schedule_of_torch_resumes(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    chosen = {"lr_schedule": name, "lr_schedule_options": options, "batches_per_epoch": 2}
    whole = train(build(), tmp_path / "whole", 4, **chosen)
    train(build(), tmp_path / "run", 2, **chosen)
    train(build(seed=1), tmp_path / "run", 4, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert len({row["learning_rate"] for row in whole}) > 1


@pytest.mark.parametrize(
    "name", ["Adadelta", "Adafactor", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam", "Rprop"]
)
def test_every_optimizer_of_torch_resumes(name: str, tmp_path: Path) -> None:
    chosen = {"optimizer": name, "batches_per_epoch": 2}
    train(build(), tmp_path / "whole", 2, **chosen)
    train(build(), tmp_path / "run", 1, **chosen)
    train(build(seed=1), tmp_path / "run", 2, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_objective_of_ones_own_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def objective() -> Objective:
        square = lambda terms: terms.z.square().mean()  # noqa: E731
        return Objective(lambda step: step / 10, penalties={"size": (square, constant(1.0))}, num_samples=3)

    train(build(), tmp_path / "whole", 3, objective=objective())
    after_step(monkeypatch, 8, signal_self(signal.SIGTERM))
    with pytest.raises(Stopped):
        train(build(), tmp_path / "run", 3, objective=objective())
    train(build(), tmp_path / "run", 3, resume=True, objective=objective())
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_without_a_folder_a_stop_says_that_nothing_was_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    after_step(monkeypatch, 2, signal_self(signal.SIGINT))
    with pytest.raises(Stopped, match="in epoch 1 after step 2; nothing was saved; give out="):
        train(build(), None, 2)


def test_a_second_signal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first waits for the step's end; on the second Python's own handler raises at once, in mid-step.
    before = signal.getsignal(signal.SIGINT)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal was swallowed")

    after_step(monkeypatch, 9, twice)
    with pytest.raises(KeyboardInterrupt) as stop:
        train(build(), tmp_path / "run", 3)
    assert not isinstance(stop.value, Stopped)
    assert signal.getsignal(signal.SIGINT) is before
    train(build(), tmp_path / "whole", 3)
    train(build(), tmp_path / "run", 3, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_handlers_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(build(), None, 1)
    after_step(monkeypatch, 2, signal_self(signal.SIGTERM))
    with pytest.raises(Stopped):
        train(build(), None, 1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_trains_in_a_thread_where_no_handler_can_be_set() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(train(build(), None, 1)))
    thread.start()
    thread.join()
    assert [row["epoch"] for row in found] == [1]


def test_nothing_left_to_do_is_an_error_with_the_next_number(tmp_path: Path) -> None:
    train(build(), tmp_path / "run", 2)
    before = checkpoint(tmp_path / "run")
    with pytest.raises(UsageError, match=r"has 2 epochs already.*give epochs = 3 or higher"):
        train(build(), tmp_path / "run", 2, resume=True)
    assert_identical(checkpoint(tmp_path / "run"), before)
    assert Run(tmp_path / "run").config.training.epochs == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": images()[::-1]}, "is not what .* was trained on"),
        ({"validation": 0.4}, "is not what .* was trained on"),
        ({"seed": 1}, "is not what .* was trained on"),  # it draws the validation part
        ({"out": None}, "resume=True needs out="),
    ],
)
def test_resuming_something_else_is_an_error(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(build(), out, 1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    given: dict[str, Any] = {"out": out, "epochs": 2, "resume": True, **change}
    with pytest.raises(UsageError, match=words):
        train(build(), **given)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("change", [{"batch_size": 4}, {"batches_per_epoch": 3}, {"optimizer": "SGD"}])
def test_what_cannot_change_on_the_way_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    # Other batches would count the steps of past epochs anew, another optimiser has no use for the state.
    train(build(), tmp_path / "run", 1)
    with pytest.raises(UsageError, match=next(iter(change))):
        train(build(), tmp_path / "run", 2, resume=True, **change)


def test_another_learning_rate_is_refused_or_obeyed_but_not_ignored(tmp_path: Path) -> None:
    train(build(), tmp_path / "run", 1)
    try:
        history = train(build(), tmp_path / "run", 2, resume=True, lr=0.5)
    except UsageError:
        return
    assert history[-1]["learning_rate"] == 0.5


def test_a_model_of_other_shapes_is_refused_in_one_line(tmp_path: Path) -> None:
    train(build(), tmp_path / "run", 1)
    with pytest.raises(UsageError) as error:
        train(build(latent_dim=3), tmp_path / "run", 2, resume=True)
    assert "\n" not in str(error.value)

"""Models trained at once have the weights and histories that each has when it is trained alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom import VAE, Config, compare, fit, fit_many, load, load_data
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.objectives.recipes import recipe
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.signals import Stopped
from elboroom.training.together import train as together
from elboroom.training.together.member import Member

SEEDS = range(3)
# Each size of a batch is traced, and most tests need one: a third or half of the digits to train on, by the
# share of them that validation takes. Of 400 the last batch is smaller.
THIRD, HALF = {0.0: 539, 0.1: 485}, {0.2: 647}
# The same sums in another order: float32 rounding, carried through some dozens of steps.
CLOSE = 2e-5


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(autouse=True)
def short_trainings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few steps repay tracing."""
    monkeypatch.setattr(together, "_TRACED_FROM", 2)


def config(**options: Any) -> Config:
    fields: dict[str, Any] = {"hidden": [16], "latent_dim": 2, "epochs": 2, "batch_size": THIRD[0.0]}
    return Config().updated(**{**fields, **options})


def alone(config: Config, data: Dataset) -> Training:
    training = Training(build(config, data), data, config, quiet=True)
    training.run()
    return training


def weights(vae: torch.nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().float() for value in vae.state_dict().values()])


def assert_equal(found: Any, expected: Training) -> None:
    a, b = weights(found.vae), weights(expected.engine.vae)
    assert torch.linalg.vector_norm(a - b) <= CLOSE * torch.linalg.vector_norm(b)
    assert len(found.history) == len(expected.record.history)
    for row, other in zip(found.history, expected.record.history, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"seconds", "images_per_second"}:
            assert row[name] == other[name] or row[name] == pytest.approx(other[name], rel=20 * CLOSE), name


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [("vae", 400), ("iwae", 400), *((name, THIRD[0.1]) for name in ("beta-tcvae", "vamp", "flow-prior"))],
)
def test_each_is_as_alone(
    name: str, batch_size: int, digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [recipe(name, config(seed=seed, validation=0.1, batch_size=batch_size)) for seed in SEEDS]
    found = fit_many(configs, digits)
    assert "one after the other" not in capsys.readouterr().err
    for one, settings in zip(found, configs, strict=True):
        assert one.error is None
        assert_equal(one, alone(settings, digits))


def test_noise_of_the_data_beta_and_rate_are_each_models_own(digits: Dataset) -> None:
    values = [(0.5, 1e-3), (1.0, 3e-3), (4.0, 1e-2)]
    configs = [
        config(
            seed=seed,
            beta=beta,
            lr=lr,
            clip=5.0,
            binarize="stochastic",
            random_crop=(6, 7),
            lr_schedule="ExponentialLR",
            lr_schedule_options={"gamma": 0.7},
        )
        for seed, (beta, lr) in enumerate(values)
    ]
    found = fit_many(configs, digits)
    for one, settings in zip(found, configs, strict=True):
        assert_equal(one, alone(settings, digits))
    assert len({round(one.history[-1]["rate"], 3) for one in found}) == 3


def test_conditions_are_those_of_each_batch(digits: Dataset) -> None:
    configs = [config(seed=seed, condition="labels") for seed in SEEDS]
    for one, settings in zip(fit_many(configs, digits), configs, strict=True):
        assert_equal(one, alone(settings, digits))


def test_one_may_stop_before_the_others(digits: Dataset) -> None:
    configs = [
        config(seed=seed, epochs=6, patience=1, validation=0.2, lr=lr, batch_size=HALF[0.2])
        for seed, lr in enumerate([1e-3, 0.5, 1e-3])
    ]
    found = fit_many(configs, digits)
    assert len({len(one.history) for one in found}) > 1
    for one, settings in zip(found, configs, strict=True):
        assert_equal(one, alone(settings, digits))


def test_one_that_diverges_leaves_the_others_alone(
    digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [config(seed=seed, lr=lr, epochs=3) for seed, lr in enumerate([1e-3, 1e30, 1e-3])]
    found = fit_many(configs, digits)
    assert found[1].error is not None or found[1].history != []
    for i in (0, 2):
        assert_equal(found[i], alone(configs[i], digits))


def test_run_folders_can_be_resumed_by_themselves(digits: Dataset, tmp_path: Path) -> None:
    configs = [config(seed=seed) for seed in SEEDS]
    folders = [tmp_path / str(seed) for seed in SEEDS]
    fit_many(configs, "digits", out=folders, quiet=True)
    for folder, settings in zip(folders, configs, strict=True):
        vae = load(folder)
        fit(vae, "digits", out=folder, resume=True, epochs=4, quiet=True)
        expected = alone(settings.updated(epochs=4), digits)
        a, b = weights(vae), weights(expected.engine.vae)
        assert torch.linalg.vector_norm(a - b) <= CLOSE * torch.linalg.vector_norm(b)


def test_a_signal_stops_all_and_each_can_be_resumed(digits: Dataset, tmp_path: Path) -> None:
    configs = [config(seed=seed, epochs=3) for seed in SEEDS]
    folders = [tmp_path / str(seed) for seed in SEEDS]

    def stop(i: int, vae: VAE, row: dict[str, Any]) -> None:
        if i == 1 and row["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        fit_many(configs, "digits", out=folders, on_epoch=stop, quiet=True)
    for folder, settings in zip(folders, configs, strict=True):
        vae = build(settings, digits)
        fit(vae, "digits", out=folder, resume=True, quiet=True)
        a, b = weights(vae), weights(alone(settings, digits).engine.vae)
        assert torch.linalg.vector_norm(a - b) <= CLOSE * torch.linalg.vector_norm(b)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([{"latent_dim": 2}, {"latent_dim": 3}], "differ in more than"),
        ([{"ema": 0.9}] * 2, "average"),
        ([{"optimizer": "SGD"}] * 2, "only Adam"),
    ],
)
def test_others_are_trained_one_after_the_other(
    options: list[dict[str, Any]], reason: str, digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [config(seed=seed, epochs=1, **one) for seed, one in enumerate(options)]
    found = fit_many(configs, digits)
    assert reason in capsys.readouterr().err
    for one, settings in zip(found, configs, strict=True):
        assert_equal(one, alone(settings, digits))


@pytest.mark.usefixtures("narrow_critics")
@pytest.mark.parametrize("name", ["factor-vae", "vq-vae", "rae-sn"])
def test_recipes_with_more_than_gradients_say_so(
    name: str, digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [recipe(name, config(seed=seed, epochs=1)) for seed in range(2)]
    fit_many(configs, digits)
    assert "one after the other" in capsys.readouterr().err


def test_a_batched_gradient_that_is_wrong_is_not_used(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that one model keeps outside its tensors would be taken for that of all."""
    forward = VAE.forward
    monkeypatch.setattr(VAE, "forward", lambda self, x, *more: forward(self, x * self.own, *more))
    monkeypatch.setattr(VAE, "own", 1.0, raising=False)
    trainings = [
        Training(build(one, digits), digits, one, quiet=True, engine=Member)
        for one in (recipe("iwae", config(seed=seed)) for seed in range(2))
    ]
    trainings[1].engine.vae.own = 0.5
    found = together.group_of(trainings, print)
    assert isinstance(found, str)
    assert "differ from single ones" in found


def test_folders_for_each(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 folders for 2"):
        fit_many([config(), config(seed=1)], digits, out=[tmp_path])


def test_short_trainings_are_not_traced(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    fit_many([config(seed=seed, epochs=1) for seed in range(2)], digits)
    assert "do not repay tracing" in capsys.readouterr().err


def test_comparing_is_the_same(tmp_path: Path) -> None:
    tables = [
        compare(
            "digits",
            ["vae", "iwae"],
            out=tmp_path / str(both),
            seeds=2,
            epochs=2,
            hidden=[16],
            batch_size=THIRD[0.0],
            nll_samples=10,
            together=both,
            quiet=True,
        )
        for both in (True, False)
    ]
    for one, other in zip(*(table.summaries for table in tables), strict=True):
        for a, b in zip(one.rows, other.rows, strict=True):
            assert a["nll"] == pytest.approx(b["nll"], rel=1e-4)
            assert np.isfinite(a["seconds"])


def test_what_is_done_to_a_model_meanwhile_is_honoured(digits: Dataset) -> None:
    """A gradient hook and a frozen layer, set after the first epoch, act as in a training alone."""
    configs = [config(seed=seed, epochs=3) for seed in SEEDS]

    def disturb(i: int, vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == 1 and i == 0:
            next(vae.decoder.parameters()).register_hook(torch.zeros_like)
        if row["epoch"] == 1 and i == 1:
            next(vae.encoder.parameters()).requires_grad_(False)

    found = fit_many(configs, digits, on_epoch=disturb)
    for i, settings in enumerate(configs):
        training = Training(build(settings, digits), digits, settings, quiet=True)
        training.run(lambda vae, row, i=i: disturb(i, vae, row))
        assert_equal(found[i], training)

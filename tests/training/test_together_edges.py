"""Models trained at once: numbers beside the weights, random states, and requests that are refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom import VAE, Config, fit, fit_many, load_data
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.signals import Stopped
from elboroom.training.together import train as together

from .test_together import HALF, alone, assert_equal, config

SEEDS = range(3)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(autouse=True)
def short_trainings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_TRACED_FROM", 2)


def table() -> Dataset:
    """Three columns of unlike size."""
    columns = np.random.default_rng(0).normal((50, 0, 3), (10, 1e-3, 2), (300, 3))
    return load_data(columns.astype(np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"standardize": True},
        {"learn_scale": "shared"},
        {"likelihood": "student_t", "learn_df": True, "learn_scale": "shared", "standardize": True},
    ],
)
def test_numbers_beside_the_networks(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Means of the data, fixed scales, and learned parameters of a single number."""
    data = table()
    configs = [config(seed=seed, batch_size=50, **{"likelihood": "gaussian", **options}) for seed in SEEDS]
    found = fit_many(configs, data)
    assert "one after the other" not in capsys.readouterr().err
    for one, settings in zip(found, configs, strict=True):
        assert_equal(one, alone(settings, data))


def test_a_fixed_number_that_is_changed_meanwhile(digits: Dataset) -> None:
    def change(vae: VAE, _row: dict[str, Any]) -> None:
        vae.likelihood.log_scale.fill_(-1.0)

    configs = [config(seed=seed, epochs=3, likelihood="gaussian") for seed in SEEDS]
    found = fit_many(configs, digits, on_epoch=lambda i, vae, row: change(vae, row) if i else None)
    for i, settings in enumerate(configs):
        training = Training(build(settings, digits), digits, settings, quiet=True)
        training.run(change if i else None)
        assert_equal(found[i], training)


def test_validation_weighs_the_rate_as_the_last_step_did(digits: Dataset) -> None:
    """The history is compared, with the validation loss in it, by which a training may stop early."""
    ramp = {"beta_schedule": "linear", "beta_ramp": 3.0}
    configs = [config(seed=seed, epochs=3, validation=0.2, batch_size=HALF[0.2], **ramp) for seed in SEEDS]
    for one, settings in zip(fit_many(configs, digits), configs, strict=True):
        assert_equal(one, alone(settings, digits))


def test_random_numbers_of_the_caller_are_left_alone(digits: Dataset) -> None:
    before = torch.get_rng_state()
    fit_many([config(seed=seed, epochs=1) for seed in SEEDS], digits, quiet=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert not [thread for thread in threading.enumerate() if "Turn" in type(thread).__name__]


@pytest.mark.parametrize(
    ("configs", "options", "said"),
    [
        (config(), {}, "configs has type Config"),
        (None, {}, "configs has type NoneType"),
        ([config(), {"seed": 1}], {}, r"configs\[1\] has type dict"),
        ([config()] * 3, {"out": "abc"}, "'abc' is no list of folders"),
        ([config()] * 3, {"out": Path("abc")}, "'abc' is no list of folders"),
        ([config()] * 2, {"out": ["a", None]}, r"out\[1\] = None"),
        ([config()] * 2, {"out": ["a", "./a"]}, "names a twice"),
        ([config()] * 2, {"out": ["a", "full"]}, "full contains files but no run"),
        ([config()] * 2, {"on_epoch": 3}, "on_epoch = 3"),
    ],
)
def test_wrong_requests_write_nothing(
    configs: Any,
    options: dict[str, Any],
    said: str,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=said):
        fit_many(configs, digits, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_what_has_failed_is_said(digits: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(i: int, _vae: VAE, _row: dict[str, Any]) -> None:
        if i == 1:
            raise ValueError("no picture")

    found = fit_many([config(seed=seed, epochs=1) for seed in SEEDS], digits, on_epoch=fail)
    assert [type(one.error) for one in found] == [type(None), ValueError, type(None)]
    assert "the training of configuration 1 has failed: no picture" in capsys.readouterr().err


def test_a_stop_leaves_no_folder_locked(digits: Dataset, tmp_path: Path) -> None:
    """The turn of the second has not come when the first one is stopped."""
    configs: list[Config] = [config(epochs=1, latent_dim=n) for n in (2, 3)]
    folders = [tmp_path / "a", tmp_path / "b"]

    def stop(i: int, _vae: VAE, _row: dict[str, Any]) -> None:
        raise Stopped("stopped", 2)

    with pytest.raises(KeyboardInterrupt) as caught:
        fit_many(configs, digits, out=folders, on_epoch=stop, quiet=True)
    vae = build(configs[1], digits)
    fit(vae, digits, out=folders[1], resume=True, quiet=True)
    assert caught.tb is not None  # what still refers to the trainings

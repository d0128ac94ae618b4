"""Diseases planted in small trainings: each is named, and the change that is advised cures it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elboroom import VAE, Dataset, Run, fit, load_data
from elboroom.config import Config, ModelConfig
from elboroom.data.batches import Batches
from elboroom.doctor import DISEASES, Chart, Diagnosis, examine, examine_chart
from elboroom.errors import FailureError
from elboroom.evaluation import evaluate
from elboroom.objectives.recipes import recipe
from elboroom.training.prepare import prepare

GAUSSIAN: dict[str, Any] = {"likelihood": "gaussian", "likelihood_scale": 1.0}
SMALL: dict[str, Any] = {"hidden": [64], "epochs": 20, "seed": 0}


def _trained(folder: Path, data: Dataset, config: Config) -> Diagnosis:
    """Train as configured, and examine the run."""
    model = {**dict(config.model), "shape": data.shape, "scale": data.scale}
    if model["likelihood"] == "auto":
        model["likelihood"] = "bernoulli"
    torch.manual_seed(0)
    vae = VAE.build(**{name: value for name, value in model.items() if name in ModelConfig.model_fields})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(FailureError):  # of a training that diverges
            fit(vae, data, out=folder, config=config, quiet=True)
    run = Run(folder)
    if len(vae.layers) > 1 and run.status.state == "trained":  # as train does at its end
        batches = Batches(data, torch.device("cpu"))
        run.write_metrics(evaluate(vae, batches, data.indices("test"), num_samples=0))
    return examine(run, prepare(data, config))


def _smaller(options: dict[str, Any]) -> dict[str, Any]:
    """Add what makes a training quick; the layers of a chain are their own."""
    small = {name: value for name, value in SMALL.items() if name != "hidden" or "network" not in options}
    return {**small, **options}


def _names(found: Diagnosis) -> list[str]:
    return [finding.disease for finding in found.findings]


def _digits() -> Dataset:
    return load_data("digits").with_validation(0.1)


def _rows(x: NDArray[np.float64]) -> Dataset:
    return Dataset("rows", x.astype(np.float32), split=np.repeat([0, 1, 2], [len(x) - 80, 40, 40]))


def _wide() -> Dataset:
    """Two factors in six columns, two of them a thousand times larger."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(480, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(480, 6))
    return _rows(x * [1, 1, 1, 1, 1000, 1000])


def _counts() -> Dataset:
    rng = np.random.default_rng(0)
    return _rows(
        rng.poisson(np.exp(rng.normal(size=(480, 1)) @ rng.normal(size=(1, 8)) * 0.5 + 1)).astype(float)
    )


def _grey() -> Dataset:
    rng = np.random.default_rng(0)
    return _rows(1 / (1 + np.exp(-rng.normal(size=(480, 2)) @ rng.normal(size=(2, 16)))))


def _few() -> Dataset:
    """Binary digits, too few of them to learn from."""
    x = load_data("digits").x[:70] // 9
    return Dataset("few", x, split=np.repeat([0, 2, 1], [20, 40, 10]), scale=1.0)


def _plane() -> Dataset:
    """Two factors in ten columns."""
    rng = np.random.default_rng(0)
    return _rows(rng.normal(size=(480, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(480, 10)))


def _leaked() -> Dataset:
    """Digits, of which most of the test part are training examples."""
    x = load_data("digits").x[:400].copy()
    x[340:] = x[:60]
    return Dataset("leaked", x, split=np.repeat([0, 1], [320, 80]), scale=16.0)


def _eight() -> Dataset:
    """Eight different examples, for which a codebook of 512 is too large."""
    rng = np.random.default_rng(0)
    return _rows((rng.random((8, 64)) < 0.5)[rng.integers(0, 8, 480)].astype(float))


IDLE: dict[str, Any] = {
    **GAUSSIAN,
    "network": "chain",
    "chain_dims": (2, 8),
    "chain_hidden": (16, 16),
    "lr": 3e-3,
    "batch_size": 20,
    "epochs": 30,
    "beta": 1.0,
}

SICK: dict[str, tuple[Any, dict[str, Any]]] = {
    "weights not finite": (_digits, {"lr": 1e30}),
    "unscaled data": (_wide, {"likelihood": "gaussian", "lr": 1e-4}),
    "counts under a density": (_counts, {"likelihood": "gaussian"}),
    "grey values under Bernoulli": (_grey, {"likelihood": "bernoulli"}),
    "learning rate too high": (_digits, {"lr": 1.0}),
    "learning rate too low": (_digits, {"lr": 1e-4}),
    "wrong KL weight": (_digits, {"beta": 1 / 64}),
    "wrong KL weight, large": (_digits, {"beta": 64.0}),
    "schedule does not fit": (_digits, {"beta_schedule": "linear", "beta_ramp": 30.0}),
    "posterior collapse": (_digits, {"beta": 8.0, "batch_size": 50}),
    "learning rate too high, with a collapse": (_digits, {"lr": 0.3}),
    "unused dimensions": (_plane, {**GAUSSIAN, "latent_dim": 8, "lr": 3e-3, "batch_size": 20, "epochs": 40}),
    "dead codes": (_eight, {"posterior": "vq", "codebook_size": 2048, "penalties": {"commitment": 0.25}}),
    "overfitting": (
        _few,
        {"hidden": [400], "batch_size": 5, "epochs": 100, "lr": 2e-3, "latent_dim": 10, "beta": 0.1},
    ),
    "hole in the prior": (_digits, {"beta": 0.05, "batch_size": 20}),
    "leaked examples": (_leaked, {"epochs": 1}),
    "idle layers": (_plane, IDLE),
}


HELPS = (
    "learning rate too high",
    "learning rate too low",
    "wrong KL weight",
    "posterior collapse",
    "hole in the prior",
)


def _elbo(run: Path, data: Dataset) -> tuple[float, float]:
    """Of the held-out examples, with the error that the draws of codes leave."""
    rows = np.setdiff1d(data.indices("all"), data.indices("train"))
    vae = Run(run).model()
    found = evaluate(vae, Batches(data, torch.device("cpu")), rows, num_samples=0)
    return found["elbo"], found["elbo_stderr"]


@pytest.mark.parametrize("case", SICK)
def test_a_disease_is_named_and_the_change_cures_it(case: str, tmp_path: Path) -> None:
    name, (make, sick) = case.split(",")[0], SICK[case]
    data, config = make(), Config().updated(**_smaller(sick))
    found = _trained(tmp_path / "sick", data, config)
    assert name in _names(found), found
    finding = next(one for one in found.findings if one.disease == name)
    assert any(character.isdigit() for character in finding.evidence)
    cured = _trained(tmp_path / "cured", data, config.updated(**finding.change))
    assert name not in _names(cured), (finding, cured)
    if name in HELPS:  # held-out examples too
        (worse, error), (better, other) = (_elbo(tmp_path / run, data) for run in ("sick", "cured"))
        assert better >= worse - 2 * math.hypot(error, other)


OVERFIT = ("overfit encoder", "overfit decoder", "memorised samples")


def test_networks_that_learned_by_heart_are_named_and_smaller_ones_cure_it(tmp_path: Path) -> None:
    """One training of few binary digits plants three diseases, which have one remedy."""
    x = load_data("digits").x[:350] // 9
    data = Dataset("few", x, split=np.repeat([0, 1], [150, 200]), scale=1.0, published_split=True)
    options = {"hidden": [200], "epochs": 150, "batch_size": 10, "latent_dim": 4, "lr": 2e-3, "seed": 0}
    config = Config().updated(**options)
    found = _trained(tmp_path / "sick", data, config)
    assert _names(found) == list(OVERFIT)
    (change,) = {str(finding.change): finding.change for finding in found.findings}.values()
    assert _trained(tmp_path / "cured", data, config.updated(**change)).findings == ()
    assert _elbo(tmp_path / "cured", data)[0] > _elbo(tmp_path / "sick", data)[0]


def test_every_disease_of_the_table_is_planted() -> None:
    planted = {case.split(",")[0] for case in SICK}
    assert {disease.name for disease in DISEASES} == planted | set(OVERFIT)


@pytest.mark.parametrize(
    "name", ["vae", "ae", "free-bits-vae", "iwae", "annealed-vae", "sigma-vae", "vq-vae"]
)
def test_no_alarm_on_a_healthy_run(name: str, tmp_path: Path) -> None:
    config = recipe(name).updated(**{**SMALL, "batch_size": 50})
    found = _trained(tmp_path / "run", _digits(), config)
    assert found.findings == ()
    assert found.unseen == ()


def test_idle_layers_come_from_the_metrics() -> None:
    chart = Chart(Config(), metrics={"rate_of_layers": [8.9, 0.0, 28.1]})
    (found,) = examine_chart(chart).findings
    assert found.disease == "idle layers"
    assert found.evidence == "layer 2 of 3 carries less than 0.1 nats"
    assert found.change == {"free_bits": 6.0}
    assert examine_chart(Chart(Config(), metrics={"rate_of_layers": [8.9, 0.2, 28.1]})).findings == ()


def _rates(*losses: float, lr: float = 1e-3, val: tuple[float, ...] = ()) -> Chart:
    """A course of losses, all of them distortion but for a rate of one nat."""
    history = [
        {"epoch": i + 1, "distortion": loss - 1, "rate": 1.0, "beta": 1.0, "learning_rate": lr}
        for i, loss in enumerate(losses)
    ]
    for row, loss in zip(history, val, strict=False):
        row |= {"val_distortion": loss - 1, "val_rate": 1.0}
    return Chart(Config().updated(lr=lr), history, shape=(8, 8, 1))


def test_the_last_fifth_of_the_epochs_tells_a_slow_training() -> None:
    steady = [100.0 - 5 * epoch for epoch in range(10)]  # two of ten epochs, 10 of 45 nats
    (found,) = examine_chart(_rates(*steady, lr=1e-4)).findings
    assert found.disease == "learning rate too low"
    assert found.numbers["fall_at_end"] == 10
    assert found.numbers["fall"] == 45
    assert found.change == {"lr": 1e-3}
    levelled = [100.0, 80, 70, 60, 58, 57, 56.5, 56.4, 56.3, 56.2]
    assert examine_chart(_rates(*levelled, lr=1e-4)).findings == ()
    assert examine_chart(_rates(*steady, lr=1e-3)).findings == ()  # a usual rate, a short training


def test_a_rising_loss_tells_a_hasty_training() -> None:
    (found,) = examine_chart(_rates(100, 60, 50, 75, 55, 52, lr=0.01)).findings  # 25 of a fall of 50
    assert found.disease == "learning rate too high"
    assert found.numbers == {"from": 50.0, "to": 75.0}
    assert found.change == {"lr": 1e-3}
    assert examine_chart(_rates(100, 60, 50, 55, 50, 49, lr=0.01)).findings == ()


def test_a_validation_loss_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    train = (100.0, 60, 50, 45, 42, 40)
    assert [one.disease for one in examine_chart(_rates(*train, val=(100, 70, 65, 68, 72, 75))).findings] == [
        "overfitting"
    ]
    assert examine_chart(_rates(*train, val=(100, 70, 65, 65.5, 66, 66.5))).findings == ()


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"lr": 0.1}, {"lr": 1e-3}),
        ({"beta": 3.0}, {"beta": 1.0}),
        ({}, {"free_bits": 0.5}),
        ({"free_bits": 0.5}, {"beta_schedule": "linear"}),
    ],
)
def test_a_collapse_is_mended_by_its_likeliest_cause(options: dict[str, Any], change: dict[str, Any]) -> None:
    config = Config().updated(**options)
    row = {
        "distortion": 27.3,
        "rate": 0.02,
        "beta": config.objective.beta,
        "learning_rate": config.optimizer.lr,
    }
    chart = Chart(config, [row], shape=(8, 8, 1))
    (found,) = examine_chart(chart).findings
    assert found.disease == "posterior collapse"
    assert found.change == change
    assert examine_chart(dataclasses.replace(chart, history=[{**row, "rate": 0.2}])).findings == ()
    same = np.ones((5, 8, 8, 1), np.float32)  # nothing could be said of such examples
    assert examine_chart(dataclasses.replace(chart, values=same)).findings == ()


def test_of_a_model_composed_in_python_only_the_course_is_judged() -> None:
    row = {"distortion": 27.3, "rate": 0.0, "beta": 1.0, "learning_rate": 1e-3}
    assert examine_chart(Chart(Config(), [row], composed=True)).findings == ()

"""A training as a function of a trial: the number it returns, what it reports, and how it is pruned."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elboroom
from elboroom import Run, Sweep
from elboroom.errors import UsageError

from .runs import build, images, train

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 8, "hidden": [8], "latent_dim": 2}


def test_the_number_is_that_of_the_epoch_that_is_kept() -> None:
    reports: list[dict[str, Any]] = []
    objective = Sweep(images(), report=reports.append, **OPTIONS | {"epochs": 30})
    value = objective({"lr": 0.3})  # so high that the last epoch is not the best
    values = [one["val_elbo"] for one in reports]
    assert [one["epoch"] for one in reports] == list(range(1, 31))
    assert value == max(values) != values[-1]
    of_loss = Sweep(images(), metric="val_loss", **OPTIONS | {"epochs": 30})
    assert of_loss({"lr": 0.3}) == pytest.approx(-value, rel=1e-6)  # the same epoch


def test_it_is_the_training_of_fit() -> None:
    vae = build()
    history = train(vae, None, 3, lr=0.01)
    value = Sweep(images(), **OPTIONS)({"lr": 0.01})
    assert value == max(row["val_elbo"] for row in history)


def test_space_chooses_and_out_keeps(tmp_path: Path) -> None:
    class Trial:
        number = 7

    objective = Sweep(images(), lambda _: {"latent_dim": 3, "beta": 2.0}, out=tmp_path, **OPTIONS)
    value = objective(Trial())
    run = Run(tmp_path / "trial-0007")
    assert (run.config.model.latent_dim, run.config.objective.beta) == (3, 2.0)
    assert value == max(row["val_elbo"] for row in run.history)


def test_it_can_be_sent_to_another_process() -> None:
    objective = Sweep("digits", epochs=1, hidden=[4])
    before = objective({})
    again = pickle.loads(pickle.dumps(objective))
    assert again._loaded is None
    assert again({}) == before


def test_threads_take_turns() -> None:
    objective = Sweep(images(), **OPTIONS)
    alone = [objective({"seed": seed}) for seed in range(4)]
    found: dict[int, float] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: objective({"seed": seed})}))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(4)] == alone


@pytest.mark.parametrize(
    ("make", "trial", "said"),
    [
        (lambda: Sweep(images(), space=3), {}, "space = 3: must be a function"),  # type: ignore[arg-type]
        (lambda: Sweep(images(), epoch=3), {}, "epoch"),
        (lambda: Sweep(images()), 3, "a trial is 3: must be a mapping of options; give space="),
        (lambda: Sweep(images(), lambda _: [1]), 3, "what space returns is"),  # type: ignore[arg-type,return-value]
        (lambda: Sweep(images()), {"lr": -1}, "lr"),
        (lambda: Sweep(images(), out="x"), {}, "needs trials with a number"),
        (lambda: Sweep(images(), epochs=1, validation=0.0), {}, "there are no validation examples"),
        (lambda: Sweep(images(), epochs=1, metric="val_eblo"), {}, "did you mean 'val_elbo'"),
    ],
)
def test_mistakes_are_one_line(make: Any, trial: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()(trial)


def test_optuna_finds_and_prunes(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna", reason="a study needs optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def space(trial: Any) -> Mapping[str, Any]:
        return {"lr": trial.suggest_categorical("lr", [1e-2, 1e-7])}

    class Behind(optuna.pruners.BasePruner):  # type: ignore[misc,name-defined]
        def prune(self, study: Any, trial: Any) -> bool:  # noqa: ARG002
            return trial.last_step >= 3 and trial.params["lr"] < 1e-5

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.GridSampler({"lr": [1e-2, 1e-7]}, seed=1),
        pruner=Behind(),
    )
    objective = Sweep(images(), space, out=tmp_path, **OPTIONS | {"epochs": 6})
    study.optimize(objective, n_trials=2)
    by_rate = {trial.params["lr"]: trial for trial in study.trials}
    good, bad = by_rate[1e-2], by_rate[1e-7]
    assert study.best_trial.number == good.number
    assert bad.state == optuna.trial.TrialState.PRUNED
    assert len(bad.intermediate_values) == 3
    history = Run(tmp_path / f"trial-{good.number:04d}").history
    assert good.intermediate_values == {row["epoch"]: row["val_elbo"] for row in history}
    assert good.value == max(good.intermediate_values.values())
    # What was pruned is a run like any other.
    pruned = tmp_path / f"trial-{bad.number:04d}"
    assert len(elboroom.fit(build(), images(), out=pruned, resume=True, quiet=True)) == 6


def test_ray_tune_takes_it(tmp_path: Path) -> None:
    tune = pytest.importorskip("ray.tune", reason="a tuner needs ray[tune]")
    reports: list[Any] = []
    objective = Sweep(images().astype(np.uint8), report=reports.append, **OPTIONS)
    tuner = tune.Tuner(
        lambda config: {"val_elbo": objective(config)},
        param_space={"lr": tune.grid_search([1e-2, 1e-7])},
        tune_config=tune.TuneConfig(metric="val_elbo", mode="max"),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    assert tuner.fit().get_best_result().config == {"lr": 1e-2}

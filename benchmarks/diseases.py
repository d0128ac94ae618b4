"""Trainings with a known disease, which the tests and the benchmark of the doctor share."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom import Dataset, Run, fit, load_data
from elboroom.config import Config
from elboroom.data.batches import Batches
from elboroom.doctor import Diagnosis, examine
from elboroom.errors import FailureError
from elboroom.evaluation import evaluate
from elboroom.training.prepare import build, prepare

SMALL: dict[str, Any] = {"hidden": [64], "epochs": 20, "batch_size": 50}
_READY = "examined.txt"


@dataclass(frozen=True)
class Planted:
    """A disease, the data on which it is planted and the options that plant it.

    Attributes
    ----------
    name : str
        Of the disease.
    data : callable
        Makes the data from a seed.
    options : dict
        Of the sick training.
    helps : bool
        Whether held-out examples must not lose by the cure, beyond the errors of the two ELBOs.
    """

    name: str
    data: Callable[[int], Dataset]
    options: dict[str, Any]
    helps: bool = False

    def config(self, seed: int) -> Config:
        """Options of the sick training; the layers of a chain are its own."""
        small = {
            name: value for name, value in SMALL.items() if name != "hidden" or "network" not in self.options
        }
        return Config().updated(**{**small, **self.options, "seed": seed})


def digits(_: int = 0) -> Dataset:
    """Small grey digits."""
    return load_data("digits")


def rows(x: NDArray[Any]) -> Dataset:
    """Rows of numbers, the last 80 for validation and test."""
    return Dataset("rows", x.astype(np.float32), split=np.repeat([0, 1, 2], [len(x) - 80, 40, 40]))


def wide(seed: int) -> Dataset:
    """Two factors in six columns, two of them a thousand times larger."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(480, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(480, 6))
    return rows(x * [1, 1, 1, 1, 1000, 1000])


def counts(seed: int) -> Dataset:
    """Poisson counts of one factor."""
    rng = np.random.default_rng(seed)
    return rows(rng.poisson(np.exp(rng.normal(size=(480, 1)) @ rng.normal(size=(1, 8)) * 0.5 + 1)))


def grey(seed: int) -> Dataset:
    """Two factors in sixteen values between 0 and 1."""
    rng = np.random.default_rng(seed)
    return rows(1 / (1 + np.exp(-rng.normal(size=(480, 2)) @ rng.normal(size=(2, 16)))))


def twenty(seed: int) -> Dataset:
    """Binary digits, twenty to learn from."""
    x = load_data("digits").x[70 * seed : 70 * seed + 70] // 9
    return Dataset("twenty", x, split=np.repeat([0, 2, 1], [20, 40, 10]), scale=1.0)


def few(seed: int) -> Dataset:
    """Binary digits, 150 to learn from."""
    x = load_data("digits").x[350 * seed : 350 * seed + 350] // 9
    return Dataset("few", x, split=np.repeat([0, 1], [150, 200]), scale=1.0, published_split=True)


def plane(seed: int) -> Dataset:
    """Two factors in ten columns."""
    rng = np.random.default_rng(seed)
    return rows(rng.normal(size=(480, 2)) @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(480, 10)))


def leaky(seed: int) -> Dataset:
    """Digits, of which most of the test part are training examples."""
    x = load_data("digits").x[350 * seed : 350 * seed + 400].copy()
    x[340:] = x[:60]
    return Dataset("leaky", x, split=np.repeat([0, 1], [320, 80]), scale=16.0)


def eight(seed: int) -> Dataset:
    """Eight different examples, for which a codebook of 512 is too large."""
    rng = np.random.default_rng(seed)
    return rows((rng.random((8, 64)) < 0.5)[rng.integers(0, 8, 480)])


_GAUSSIAN = {"likelihood": "gaussian", "likelihood_scale": 1.0}
_IDLE = {"network": "chain", "chain_dims": (2, 8), "chain_hidden": (16, 16), "lr": 3e-3, "batch_size": 20}
_HOLE = {"beta": 0.05, "hidden": [32], "epochs": 12, "batch_size": 20}
_HOLE_OF_ONE = {"likelihood": "continuous_bernoulli", "batch_size": 20, "epochs": 12}
_BY_HEART = {"hidden": [200], "epochs": 150, "batch_size": 10, "latent_dim": 4, "lr": 2e-3}
_VQ = {
    "posterior": "vq",
    "codebook_size": 2048,
    "penalties": {"commitment": 0.25},
    "epochs": 12,
    "hidden": [32],
}
_TWENTY = {"hidden": [400], "batch_size": 5, "epochs": 100, "lr": 2e-3, "latent_dim": 10, "beta": 0.1}

PLANTED: dict[str, Planted] = {
    "weights not finite": Planted("weights not finite", digits, {"lr": 1e30}),
    "unscaled data": Planted("unscaled data", wide, {"likelihood": "gaussian", "lr": 1e-4}),
    "counts under a density": Planted("counts under a density", counts, {"likelihood": "gaussian"}),
    "grey values under Bernoulli": Planted("grey values under Bernoulli", grey, {"likelihood": "bernoulli"}),
    "learning rate too high": Planted("learning rate too high", digits, {"lr": 1.0}, helps=True),
    "learning rate too high, with a collapse": Planted(
        "learning rate too high", digits, {"lr": 0.3}, helps=True
    ),
    "learning rate too low": Planted("learning rate too low", digits, {"lr": 3e-5}, helps=True),
    "wrong KL weight": Planted("wrong KL weight", digits, {"beta": 1 / 64}, helps=True),
    "wrong KL weight, large": Planted("wrong KL weight", digits, {"beta": 64.0}, helps=True),
    "schedule does not fit": Planted(
        "schedule does not fit", digits, {"beta_schedule": "linear", "beta_ramp": 30.0}
    ),
    "posterior collapse": Planted("posterior collapse", digits, {"beta": 8.0}, helps=True),
    "unused dimensions": Planted(
        "unused dimensions", plane, {**_GAUSSIAN, "latent_dim": 8, "lr": 3e-3, "batch_size": 20, "epochs": 40}
    ),
    "dead codes": Planted("dead codes", eight, _VQ),
    "overfitting": Planted("overfitting", twenty, _TWENTY),
    "hole in the prior": Planted("hole in the prior", digits, _HOLE, helps=True),
    "hole in the prior, beta 1": Planted("hole in the prior", digits, _HOLE_OF_ONE, helps=True),
    "leaked examples": Planted("leaked examples", leaky, {"epochs": 1}),
    "idle layers": Planted("idle layers", plane, {**_GAUSSIAN, **_IDLE, "epochs": 30}),
    "overfit encoder": Planted("overfit encoder", few, _BY_HEART, helps=True),
    "overfit decoder": Planted("overfit decoder", few, _BY_HEART, helps=True),
    "memorised samples": Planted("memorised samples", few, _BY_HEART, helps=True),
}


class Clinic:
    """Trainings in a folder; equal ones are made once, and examined again at every call of a new process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[Path, Diagnosis] = {}

    def examined(self, name: str, data: Dataset, config: Config) -> tuple[Run, Diagnosis]:
        """Train as configured on data of this name, unless that was done, and examine the run."""
        key = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]
        path = self.folder / f"{name}-{key}"
        if not (path / _READY).exists():
            shutil.rmtree(path, ignore_errors=True)
            self._train(path, data, config)
            (path / _READY).touch()
        run = Run(path)
        if path not in self._seen:
            self._seen[path] = examine(run, prepare(data, config))
        return run, self._seen[path]

    @staticmethod
    def _train(path: Path, data: Dataset, config: Config) -> None:
        prepared = prepare(data, config)
        vae = build(config, prepared)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(FailureError):  # of a training that diverges
                fit(vae, data, out=path, config=config, quiet=True)
        run = Run(path)
        part = "test" if len(prepared.indices("test")) else "validation"
        if run.status.state == "trained" and len(vae.layers) > 1:  # as the command line does at its end
            batches = Batches(prepared, torch.device("cpu"), binarize=config.data.binarize)
            run.write_metrics(evaluate(vae, batches, prepared.indices(part), num_samples=0))


def elbo(run: Run, data: Dataset) -> tuple[float, float]:
    """ELBO of the held-out examples in nats, with the error that the draws of codes leave."""
    data = prepare(data, run.config)
    held_out = np.setdiff1d(data.indices("all"), data.indices("train"))
    found = evaluate(run.model(), Batches(data, torch.device("cpu")), held_out, num_samples=0)
    return found["elbo"], found["elbo_stderr"]

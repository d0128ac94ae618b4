"""One run of a comparison: a run folder, trained or resumed, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from elboroom.comparison.variants import folder_name
from elboroom.config import Config, ModelConfig
from elboroom.config.posteriors import POSTERIORS
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation import evaluate
from elboroom.io.files import json_text, read_json, write_atomic
from elboroom.runs.run import Run
from elboroom.training.callbacks import Callback
from elboroom.training.devices import find_device
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.step.engine import Engine
from elboroom.training.together.member import Member
from elboroom.training.together.train import group_of, misfit, too_short, train_together

FILE = "comparison.json"
WITHOUT_RATE = tuple(name for name, row in POSTERIORS.items() if not row.has_rate)
WITHOUT_DENSITY = tuple(name for name, row in POSTERIORS.items() if not row.has_density)
_EVALUATION_SEED = 0  # the default of 'elboroom evaluate', the same for all runs
_VALUES = ("elbo", "distortion", "rate", "nll", "nll_stderr")

Part = Literal["test", "validation"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One recipe with one seed, and its folder."""

    recipe: str
    seed: int
    config: Config
    folder: Path

    @classmethod
    def of(cls, out: Path, recipe: str, config: Config, seed: int) -> Job:
        """Name the run folder of a recipe and a seed."""
        return cls(recipe, seed, config.updated(seed=seed), out / folder_name(recipe) / f"seed-{seed}")

    @property
    def is_done(self) -> bool:
        """Whether it has been trained and evaluated."""
        return (self.folder / FILE).exists()


def measured_part(data: Dataset) -> Part:
    """Choose the part of the data to evaluate on: test, or validation if there is none.

    Raises
    ------
    UsageError
        If there is neither.
    """
    parts: tuple[Part, ...] = ("test", "validation")
    for part in parts:
        if len(data.indices(part)):
            return part
    raise UsageError(
        f"{data.name} has no test and no validation examples to compare on; give data with a split"
    )


def begin(config: Config, data: Dataset, engine: type[Engine] = Engine) -> Training:
    """Build model, objective and engine with the seed of a run, which refuses invalid combinations.

    Raises
    ------
    UsageError
        If data, model, objective and training do not fit each other.
    """
    if config.model.shape not in (None, data.shape):
        raise UsageError(f"model.shape = {config.model.shape}, and {data.name} has examples of {data.shape}")
    return Training(build(config, data), data, config, quiet=True, engine=engine)


def opened(job: Job, data: Dataset, engine: type[Engine] = Engine) -> Training:
    """Begin a run in its folder, or resume what is there."""
    training = begin(job.config, data, engine)
    if any((job.folder / "checkpoints").glob("*/*.safetensors")):
        training.open(Run(job.folder), finish=True)
    else:  # nothing there, or what was killed before its first checkpoint
        training.create(job.folder, overwrite=(job.folder / "config.json").exists())
    return training


def train_at_once(
    jobs: Sequence[Job], data: Dataset, say: Callable[[str], None], on_epochs: Callable[[int], None]
) -> None:
    """Train runs of one recipe with batched steps, where possible; :func:`carry_out` trains the others.

    Parameters
    ----------
    jobs : sequence of Job
        Of one recipe.
    data : Dataset
        As loaded.
    say : callable
        Is given a line on what is done.
    on_epochs : callable
        Called with the number of epochs that the first run has done.

    Raises
    ------
    Stopped
        On Ctrl-C or SIGTERM, after saving.
    """
    trainings = [begin(job.config, data, Member) for job in jobs[:2]]
    if misfit(trainings) is not None or too_short(trainings[0]):
        return
    trainings = [opened(job, data, Member) for job in jobs]
    try:
        group = group_of(trainings, say)
        if isinstance(group, str):
            return
        say(f"{jobs[0].recipe}: training {len(jobs)} seeds together")
        notes: list[Callback | None] = [None] * len(jobs)
        notes[0] = lambda _, row: on_epochs(row["epoch"])
        train_together(trainings, group, notes)
    finally:
        for training in trainings:  # so that the folders are free for what is trained again
            training.tracking.close()
            training.checkpoints.close()


def carry_out(job: Job, data: Dataset, nll_samples: int, on_epochs: Callable[[int], None]) -> Row:
    """Train or resume a run, evaluate it, and write the numbers to its folder.

    Parameters
    ----------
    job : Job
        Not done yet; its folder may hold a run that was stopped.
    data : Dataset
        As loaded.
    nll_samples : int
        Importance samples of each example.
    on_epochs : callable
        Called with the number of epochs done, at the start and after each of them.

    Raises
    ------
    UsageError, FailureError
        As training and evaluation do; FailureError also if a number is not finite.
    Stopped
        On Ctrl-C or SIGTERM, after saving.
    """
    training = opened(job, data)
    on_epochs(training.epochs_done)
    history = training.run(lambda _, row: on_epochs(row["epoch"]))
    try:
        row = _measured(job, training, history, nll_samples)
    finally:
        training.tracking.close()
    write_atomic(job.folder / FILE, json_text(row, indent=2) + "\n")
    return row


def _measured(job: Job, training: Training, history: Sequence[Row], nll_samples: int) -> Row:
    training.workers.close()
    run = Run(job.folder)
    part = measured_part(training.data)
    device = find_device(job.config.training.device)
    # Read again, as any other command would.
    vae = run.model().to(device)
    model = run.config.model
    measured = evaluate(
        vae,
        Batches(
            training.data, device, binarize=run.config.data.binarize, dequantize=run.config.data.dequantize
        ),
        training.data.indices(part),
        num_samples=0 if model.posterior in WITHOUT_DENSITY else nll_samples,
        seed=_EVALUATION_SEED,
    )
    for name in _VALUES:
        if measured[name] is not None and not math.isfinite(measured[name]):
            raise FailureError(f"its {name} on {part} examples is {measured[name]}")
    run.write_metrics({**measured, "split": part, "data": training.data.name})
    if model.posterior in WITHOUT_RATE:
        measured |= {"elbo": None, "rate": None}
    return {
        "recipe": job.recipe,
        "seed": job.seed,
        "status": "ok",
        **measured,
        "latent_dim": vae.latent_dim,
        "weights": sum(p.numel() for p in vae.parameters()),
        "epochs": len(history),
        "seconds": sum(epoch["seconds"] for epoch in history),
        "likelihood": _likelihood_of(model),
        "posterior": model.posterior,
        "beta": run.config.objective.beta,
        "split": part,
    }


def _likelihood_of(model: ModelConfig) -> str:
    """Name of the likelihood; of cells together with which are missing it is another one."""
    ignorable = model.missing_mechanism == "ignorable"
    return model.likelihood if ignorable else f"{model.likelihood}, {model.missing_mechanism}"


def rows_in(out: Path, recipe: str) -> list[Row]:
    """Read the rows of all finished runs of a recipe, by seed.

    Raises
    ------
    UsageError
        If one is damaged.
    """
    rows = []
    for path in (out / folder_name(recipe)).glob(f"seed-*/{FILE}"):
        try:
            row = read_json(path)
            rows.append({**row, "seed": int(row["seed"])})
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{path} is damaged; remove it, and the same command evaluates the run again"
            ) from None
    return sorted(rows, key=lambda row: int(row["seed"]))

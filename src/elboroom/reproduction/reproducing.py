"""One published result trained and measured, or continued where it was stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.picture_features import Features
from elboroom.io.files import json_text, write_atomic
from elboroom.reproduction.entry import TITLES, Entry
from elboroom.reproduction.measuring import (
    MeasuringStoppedError,
    disentanglement_gap,
    distance_of_samples,
    examples_kept,
    likelihood,
)
from elboroom.reproduction.results import figure_of, read_record, record
from elboroom.runs.history import read_history
from elboroom.runs.run import Run
from elboroom.training.devices import find_device
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.signals import Stopped, StopRequest, stop_on_signal


@dataclass(frozen=True)
class Job:
    """One row of an entry with one seed, and where it is kept.

    Attributes
    ----------
    epochs : int or None
        Fewer epochs than the setting has; what comes out is then marked as shortened.
    """

    entry: Entry
    row: str
    seed: int
    out: Path
    epochs: int | None = None
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out / self.entry.name / f"{self.row}-seed-{self.seed}"

    @property
    def record(self) -> Path:
        """The file with the result."""
        return self.out / f"{self.entry.name}-{self.row}-seed-{self.seed}.json"

    @property
    def command(self) -> str:
        """The command line that runs it."""
        name = self.entry.name
        words = [
            "elboroom",
            "reproduce",
            name.removesuffix("-fast"),
            *(["--fast"] if name.endswith("-fast") else []),
        ]
        words += ["--rows", self.row, *([] if self.epochs is None else ["--epochs", str(self.epochs)])]
        return " ".join([*words, "--seed", str(self.seed)])

    @property
    def config(self) -> Config:
        """The configuration of the run."""
        epochs = {} if self.epochs is None else {"epochs": self.epochs}
        return self.entry.config(self.row, seed=self.seed, device=self.device, **epochs)

    @property
    def shortened(self) -> bool:
        """Whether it has other epochs than the setting."""
        return self.config.training.epochs != self.entry.config(self.row).training.epochs


def state_of(job: Job) -> str:
    """Say in a few words how far a job has come."""
    if job.record.exists():
        found = read_record(job.record)
        return f"{figure_of(found).strip('*')} {found['ours']['unit']}, " + (
            "reached" if found["reached"] else "not reached"
        )
    if not (job.folder / "config.json").exists():
        return "not run yet" + ("; needs weights of Inception" if job.entry.kind == "fid" else "")
    run = Run(job.folder)
    done, epochs = len(read_history(job.folder)), run.config.training.epochs
    if run.status.state == "training":
        return f"{done:,} of {epochs:,} epochs trained"
    return f"trained; {examples_kept(job.folder / 'likelihood'):,} test examples measured"


def reproduce(
    job: Job,
    *,
    features: Features | None = None,
    minutes: float | None = None,
    quiet: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any] | None:
    """Train and measure a row, or continue with what its folder holds.

    Parameters
    ----------
    job : Job
        What, and where it is kept.
    features : Features, optional
        What Fréchet distances are measured on, such as `elboroom.evaluation.inception.Inception`.
    minutes : float, optional
        Stop and save after this time.
    quiet : bool
        Show no progress of the training.
    say : callable
        Is given a line on what is done.

    Returns
    -------
    dict or None
        The record, which is also written; None if the time was up before.

    Raises
    ------
    UsageError
        If features are needed and not given, or the folder holds a run of another length.
    Stopped
        On Ctrl-C or SIGTERM, after saving.
    """
    if job.record.exists():
        return read_record(job.record)
    if job.entry.kind == "fid" and features is None:
        raise UsageError(f"{job.entry.name} is measured on features of Inception; give them as features")
    with _limited(minutes) as limit:
        try:
            training = _trained(job, limit, quiet)
            say(f"trained; measuring {TITLES[job.entry.kind]}")
            found = _measured(job, training, features, limit, say)
        except (Stopped, MeasuringStoppedError):
            if limit.time_is_up:
                return None
            number = limit.request.signal_number or signal.SIGTERM
            raise Stopped(f"stopped: {state_of(job)}; the same command continues", number) from None
    result = record(
        job.entry,
        job.row,
        found,
        seed=job.seed,
        epochs=len(training.record.history),
        shortened=job.shortened,
        seconds={
            "training": sum(row["seconds"] for row in training.record.history),
            "measuring": found.details["seconds"],
        },
        device=find_device(job.device),
        command=job.command,
    )
    write_atomic(job.record, json_text(result, indent=2) + "\n")
    return result


class _Limit:
    """A request to stop by a signal, or because the time is up."""

    def __init__(self, request: StopRequest):
        self.request = request
        self.time_is_up = False

    def end(self) -> None:
        """Ask to stop, as SIGTERM would."""
        if self.request.signal_number is None:
            self.time_is_up = True
            self.request.signal_number = signal.SIGTERM


@contextmanager
def _limited(minutes: float | None) -> Iterator[_Limit]:
    """Catch signals, and ask to stop when the time is up."""
    with stop_on_signal() as request:
        limit = _Limit(request)
        timer = threading.Timer(60 * (minutes or 0), limit.end)
        timer.daemon = True
        if minutes is not None:
            timer.start()
        try:
            yield limit
        finally:
            timer.cancel()


def _trained(job: Job, limit: _Limit, quiet: bool) -> Training:
    """Train to the last epoch, beginning or continuing."""
    training = _opened(job, load_data(job.entry.source), quiet)
    try:
        if Run(job.folder).status.state == "training":
            training.run(request=limit.request)
        training.workers.close()
    finally:
        training.tracking.close()
        training.checkpoints.close()
    return training


def _opened(job: Job, data: Dataset, quiet: bool) -> Training:
    """Begin the run, or open what is there."""
    config = job.config
    training = Training(build(config, data), data, config, quiet=quiet)
    if not any((job.folder / "checkpoints").glob("*/*.safetensors")):
        training.create(job.folder, overwrite=(job.folder / "config.json").exists())
        return training
    run = Run(job.folder)
    before = run.config.training.epochs
    if before != config.training.epochs:
        raise UsageError(
            f"{job.folder} was started with epochs = {before}, and epochs = {config.training.epochs}; the "
            "learning rates of the two differ, so take another folder with out"
        )
    training.open(run, finish=True)
    return training


def _measured(
    job: Job, training: Training, features: Features | None, limit: _Limit, say: Callable[[str], None]
) -> Measure:
    run = Run(job.folder)
    where, options = find_device(job.device), run.config.data
    vae = run.model().to(where)
    batches = Batches(training.data, where, binarize=options.binarize, dequantize=options.dequantize)
    if job.entry.kind == "mig":
        return disentanglement_gap(vae, training.data, batches, job.seed)
    if job.entry.kind == "fid":
        assert features is not None
        return distance_of_samples(vae, training.data, batches, features, job.seed)
    indices = training.data.indices("test")

    def on_chunk(done: int) -> bool:
        say(f"measured {done:,} of {len(indices):,} test examples")
        return limit.request.signal_number is not None

    samples = job.entry.samples_of(job.row)
    assert samples is not None
    return likelihood(
        vae,
        batches,
        np.asarray(indices),
        num_samples=samples,
        seed=job.seed,
        folder=job.folder / "likelihood",
        on_chunk=on_chunk,
    )

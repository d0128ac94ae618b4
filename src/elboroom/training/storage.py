"""The run folder of a training: creating it, opening it to resume, and what is written into it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.preparation import Preparation
from elboroom.distributed.processes import Workers
from elboroom.errors import DivergedError, FailureError, UsageError, some
from elboroom.io.files import check_space
from elboroom.io.tensors import first_unusable, misfit
from elboroom.runs import write_status
from elboroom.runs.run import PREPARATION, Run
from elboroom.runs.status import State
from elboroom.tracking import Tracking, tracker_names
from elboroom.training.checkpoints.record import Record
from elboroom.training.checkpoints.saving import Checkpoints
from elboroom.training.checkpoints.state import copy_state
from elboroom.training.notices import Notices
from elboroom.training.prepare import check_same
from elboroom.training.step.engine import Engine


class Storage:
    """What a training remembers, and the run folder in which it is kept, if there is one.

    Parameters
    ----------
    engine : Engine
        Of the training.
    data : Dataset
        As it is trained on.
    preparation : Preparation
        How the examples were made.
    config : Config
        With everything filled in.
    epoch_steps : int
        Steps in an epoch.
    workers : Workers
        The processes that train together; only the first one writes.
    notices : Notices
        For messages.
    custom_objective : bool
        Whether the objective is not the one that ``config`` describes.

    Attributes
    ----------
    folder : Run or None
        The run folder; None without one, and in all processes but the first.
    checkpoints : Checkpoints
        The newest copies of the state, in memory and on the disk.
    record : Record
        History, best epoch and random state.
    tracking : Tracking
        The trackers, in the first process.
    """

    def __init__(
        self,
        engine: Engine,
        data: Dataset,
        preparation: Preparation,
        config: Config,
        epoch_steps: int,
        workers: Workers,
        notices: Notices,
        *,
        custom_objective: bool,
    ):
        self.engine = engine
        self.data = data
        self.preparation = preparation
        self.config = config
        self.epoch_steps = epoch_steps
        self.workers = workers
        self.notices = notices
        self.custom_objective = custom_objective
        self.folder: Run | None = None
        self.checkpoints = Checkpoints(None, notices.fault)
        self.record = Record(engine, custom_objective=custom_objective)
        self.tracking = Tracking(
            tracker_names(config.training.track) if workers.is_first else (), notices.fault
        )

    @property
    def epochs_done(self) -> int:
        """Whole epochs trained."""
        return self.engine.steps // self.epoch_steps

    @property
    def out_of_patience(self) -> bool:
        """Whether the best validation bound is ``patience`` epochs old."""
        patience, best = self.config.training.patience, self.record.best_row
        return patience is not None and best is not None and self.epochs_done - best["epoch"] >= patience

    # Opening a folder.

    def create(
        self, path: str | os.PathLike[str], prepare_model: Callable[[], None], *, overwrite: bool
    ) -> None:
        """Start a run folder; its first checkpoint, written after ``prepare_model``, can be resumed."""
        self.workers.first(lambda: self._make_folder(path, overwrite))
        try:
            prepare_model()
            self.save()
        except BaseException:
            self.checkpoints.close()
            raise

    def _make_folder(self, path: str | os.PathLike[str], overwrite: bool) -> None:
        custom = self.engine.vae.config is None
        # A checkpoint holds the weights, two moments and the best weights. On the disk are the newest
        # checkpoints, the best one, one more while it is written, and the model.
        numbers = sum(p.numel() * p.element_size() for p in self.engine.parameters)
        check_space(Path(path), (4 * (self.config.training.keep_checkpoints + 2) + 1) * numbers)
        folder = Run.create(path, self.config, custom_model=custom, overwrite=overwrite)
        self._adopt(folder)
        self.checkpoints = Checkpoints(folder, self.notices.fault, self.config.training.keep_checkpoints)
        try:
            folder.write_environment(
                data=self.data.describe(),
                data_fingerprint=self._fingerprint(),
                data_range=self.engine.vae.data_range,
                device=str(self.engine.device),
                parameters=sum(p.numel() for p in self.engine.parameters),
            )
            folder.write_preparation(self.preparation)
            write_status(folder.path, "training")
        except BaseException:
            folder.unlock()
            raise

    def _adopt(self, folder: Run | None) -> None:
        self.folder = self.notices.folder = folder

    def open(self, folder: Run, *, finish: bool) -> None:
        """Resume a run from its newest intact checkpoint.

        With ``finish``, a run that has all its epochs is accepted too: it was killed before its last files
        were written.

        Raises
        ------
        UsageError
            If the data are not those it was trained on, another process trains in the folder, or no
            checkpoint is intact.
        FailureError
            If the folder is read-only.
        """
        self.workers.first(folder.lock)
        try:
            self.workers.in_turn(lambda: self._open(folder, finish))
        except BaseException:
            self._adopt(None)
            folder.unlock()
            raise

    def _open(self, folder: Run, finish: bool) -> None:
        self._check_data(folder)
        self._adopt(folder if self.workers.is_first else None)
        self.checkpoints = Checkpoints(folder, self.notices.fault, self.config.training.keep_checkpoints)
        state = self.checkpoints.load()
        if not self.workers.is_first:
            good = self.checkpoints.last_good
            self.checkpoints = Checkpoints(None, self.notices.fault)
            self.checkpoints.last_good = good
        check_same(folder, self.config, custom_objective=self.custom_objective, state=state)
        self._check_frozen(folder, state["engine"])
        before = state["engine"]["updates"][0]
        try:
            self.record.load(state)
        except (RuntimeError, KeyError, ValueError) as error:
            known, wanted = state.get("engine", {}).get("model"), self.engine.vae.state_dict()
            detail = (misfit(known, wanted) if known else None) or str(error)
            raise UsageError(f"the model is not the one that {folder.path} was made with: {detail}") from None
        self._check_more_to_do(folder, finish)
        self._warn_of_another_schedule(before)
        if self.workers.is_first:
            if self.epochs_done < self.config.training.epochs:
                write_status(folder.path, "training")
            folder.write_config(self.config)
            if not (folder.path / PREPARATION).exists():  # begun by version 0.1
                folder.write_preparation(self.preparation)
            folder.write_history(self.record.history)

    def relocate(self, folder: Run) -> None:
        """Record in a run where its data are now.

        Raises
        ------
        UsageError
            If the data are not those it was trained on, or another process trains in the folder.
        FailureError
            If the folder is read-only.
        """
        self._check_data(folder)
        folder.lock()
        try:
            places = {"source": self.config.data.source, "condition_file": self.config.model.condition_file}
            folder.write_config(folder.config.updated(**places))
        finally:
            folder.unlock()

    def _check_data(self, folder: Run) -> None:
        known = folder.environment.get("data_fingerprint")
        if known is not None and known != self._fingerprint():
            what = ", labels" if self.config.model.learns_labels else ""
            raise UsageError(
                f"{self.data.name} is not what {folder.path} was trained on: its contents{what}, split or "
                "validation part differ; resume with the same data, or start a new run"
            )

    def _check_frozen(self, folder: Run, state: dict[str, Any]) -> None:
        """A checkpoint decides what is frozen; a model that is frozen in another way is refused."""
        here, there = self.engine.trainable.frozen, state.get("frozen")
        if there is None or not here or here == list(there):
            return
        names = [name for name in here if name not in there]
        found = (
            f"{some(names)} are trained in {folder.path} and frozen here"
            if names
            else (f"{folder.path} has more parameters frozen than this model")
        )
        raise UsageError(f"{found}; resume with the model as it was built, and freeze it in on_epoch")

    def _fingerprint(self) -> str:
        return self.data.fingerprint(labels=self.config.model.learns_labels)

    def _warn_of_another_schedule(self, before: dict[str, Any]) -> None:
        length, rate = before.get("lr_length"), before["optimizer"]["param_groups"][0]["lr"]
        now = self.engine.update.rates.length
        if length is not None and now != length:
            self.notices.advise(
                f"{self.config.optimizer.lr_schedule} follows the number of epochs, which is now {now} "
                f"instead of {length}: epoch {self.epochs_done + 1} has learning rate "
                f"{self.engine.learning_rate:.3g} instead of {rate:.3g}. An uninterrupted training of {now} "
                "epochs would give another model"
            )

    def _check_more_to_do(self, folder: Run, finish: bool) -> None:
        done, wanted = self.epochs_done, self.config.training.epochs
        if wanted < done or (wanted == done and not finish):
            raise UsageError(
                f"epochs = {wanted}, and {folder.path} has {done} epochs already; "
                f"give epochs = {done + 1} or higher to train further"
            )
        if wanted > done and self.out_of_patience:
            raise UsageError(
                f"{folder.path} stopped after epoch {done}, {self.config.training.patience} epochs after its "
                f"best validation bound; give a higher patience= to train further"
            )

    def begin_tracking(self) -> list[str]:
        """Connect to the trackers; a line for each says how to look at the run.

        Raises
        ------
        UsageError
            If trackers are asked for and there is no run folder.
        """
        track = self.config.training.track
        if track is None or not self.workers.is_first:
            return []
        if self.folder is None:
            raise UsageError(f"track = {track!r} needs out=, a run folder to send from")
        return self.tracking.begin(self.folder.path, self.config)

    # Writing into it.

    def save(self) -> None:
        """Write a checkpoint, the history and the weights to use, and wait until they are written."""
        self.checkpoints.save(self.record.snapshot(self.checkpoints), self.record.usable)

    def usable_weights(self) -> dict[str, Tensor]:
        """Copy the weights of the model that training ends with.

        Raises
        ------
        DivergedError
            If one of them is not finite, or too large to compute with.
        """
        weights: dict[str, Tensor] = copy_state(dict(self.engine.vae.state_dict()))
        found = first_unusable(weights)
        if found is not None:
            raise DivergedError(found, f"so that there is no usable model. {self.checkpoints.kept()}")
        return weights

    def begin_checkpoint(self) -> None:
        """Start to write the same while training continues."""
        self.engine.compiled.is_news = False
        self.checkpoints.begin(self.record.snapshot(self.checkpoints), self.record.usable)

    def is_due(self, now: float) -> bool:
        """Whether it is time for a checkpoint; of several processes, the first one decides."""
        news = self.folder is not None and self.engine.compiled.is_news
        return self.workers.is_first and (news or self.checkpoints.due(now))

    def write_status(self, state: State, reason: str | None = None) -> None:
        """Note how far the run has come."""
        if self.folder is not None:
            with contextlib.suppress(FailureError):  # resuming finds out by itself
                write_status(self.folder.path, state, reason)

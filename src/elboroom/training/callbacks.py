"""The user's functions that a training calls after an epoch or a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elboroom.errors import UsageError, is_lack, reason_of
from elboroom.models.vae import VAE
from elboroom.training.checkpoints.state import random_state, set_random_state
from elboroom.training.step.interventions import hooks_of
from elboroom.training.storage import Storage

Callback = Callable[[VAE, dict[str, Any]], None]
"""A function of (model, row)."""


class StopTraining(Exception):  # noqa: N818 (a wish, not an error)
    """Raised by ``on_epoch`` or ``on_step``: training ends after the present epoch."""


class Callbacks:
    """Calls functions of (model, row) in the first process, so that training goes on as without them.

    Parameters
    ----------
    storage : Storage
        Of the training.
    on_epoch, on_step : callable, optional
        Called after every epoch with its row of the history, and after every step with means so far.

    Attributes
    ----------
    ended : bool
        Whether one of them has raised `StopTraining`.
    """

    def __init__(self, storage: Storage, on_epoch: Callback | None = None, on_step: Callback | None = None):
        for name, value in (("on_epoch", on_epoch), ("on_step", on_step)):
            if value is not None and not callable(value):
                raise UsageError(f"{name} = {value!r}: must be a function of (model, row)")
        self._storage = storage
        self._on_epoch = on_epoch if storage.workers.is_first else None
        self._on_step = on_step if storage.workers.is_first else None
        self.ended = False

    def after_epoch(self, row: dict[str, Any]) -> None:
        """Call ``on_epoch`` with the averaged weights in the model, if they are averaged."""
        if self._on_epoch is None:
            return
        storage, engine, alone = self._storage, self._storage.engine, self._storage.workers.alone
        record, checkpoints = storage.record, storage.checkpoints
        before = None if alone else hooks_of(engine.vae, engine.objective)
        try:
            with engine.averaged():
                self._on_epoch(engine.vae, row)
        except StopTraining:
            self.ended = True
        except Exception as error:
            if is_lack(error):  # no space on the disk or in memory for a picture
                fault = f"after epoch {row['epoch']}: {reason_of(error)}; training continues"
                storage.notices.fault(fault)
                record.restore_random()
                return
            record.snapshot(checkpoints)
            raise
        record.restore_random()
        if before is not None and hooks_of(engine.vae, engine.objective) != before:
            raise UsageError(
                "on_epoch changed hooks or methods of the model, and it runs in the first of "
                f"{storage.workers.size} processes only; add hooks in all processes, before fit"
            )

    def after_step(self) -> None:
        """Call ``on_step`` with the epoch, the step, and the means of the epoch so far, of this process."""
        if self._on_step is None:
            return
        engine = self._storage.engine
        row = {"epoch": self._storage.epochs_done + 1, "step": engine.steps}
        if not engine.steps % self._storage.epoch_steps:
            row["epoch"] -= 1  # the step was the epoch's last
        before = random_state(engine.device)
        try:
            self._on_step(
                engine.vae, {**row, **engine.means(everywhere=False), "learning_rate": engine.learning_rate}
            )
        except StopTraining:
            self.ended = True
        finally:
            set_random_state(before, engine.device)

"""The state of a training and snapshots of it: engine, random generators, history, best epoch."""

from __future__ import annotations

from typing import Any

import torch

from elboroom.runs.best_epoch import can_be_best, quality
from elboroom.training.checkpoints.saving import Checkpoints, Snapshot
from elboroom.training.checkpoints.state import copy_state, random_state, set_random_state
from elboroom.training.step.engine import Engine


class Record:
    """The state of a training between two steps.

    Parameters
    ----------
    engine : Engine
        The engine, whose state is part of the record.
    custom_objective : bool
        Whether the objective was composed in Python, so that no configuration describes it.

    Attributes
    ----------
    history : list of dict
        One row per finished epoch; rows never change.
    best_row : dict or None
        The row with the highest validation bound, the first of equals; see :func:`quality`. None without
        validation examples, and where `can_be_best` says that no row can be chosen by its bound.
    best : dict or None
        Its ``epoch``, its ``model`` (weights) and their moving ``average``, if there is one.
    usable : dict or None
        Weights for model.safetensors: those of the best epoch, or without one of the newest snapshot.
    seconds : float
        Time spent in the current epoch.
    rollbacks : int
        How often training was rolled back.
    """

    def __init__(self, engine: Engine, *, custom_objective: bool):
        self.engine = engine
        self.custom_objective = custom_objective
        self.history: list[dict[str, Any]] = []
        self.best_row: dict[str, Any] | None = None
        self.best: dict[str, Any] | None = None
        self.usable: dict[str, Any] | None = None
        self.seconds = 0.0
        self.rollbacks = 0
        self.random: dict[str, torch.Tensor] = {}

    def note_random(self) -> None:
        """Save the state of the random generators."""
        self.random = random_state(self.engine.device)

    def restore_random(self) -> None:
        """Restore the saved state of the random generators."""
        set_random_state(self.random, self.engine.device)

    def add(self, row: dict[str, Any], checkpoints: Checkpoints) -> None:
        """Add a finished epoch, and take a snapshot if it is the best so far."""
        self.history.append(row)
        self.note_random()
        if not can_be_best(row):
            return
        if self.best_row is None or quality(row) > quality(self.best_row):
            self.best_row = row
            self.best = {
                "epoch": row["epoch"],
                "model": None,
                "average": None,
            }  # filled from the snapshot below
            snapshot = checkpoints.take(lambda: Snapshot(self._copy()), best=True)
            self.best |= _weights(snapshot.state)
            self.usable = self._usable(snapshot)

    def snapshot(self, checkpoints: Checkpoints) -> Snapshot:
        """Take a snapshot, or return the last one if nothing has changed since."""
        last = checkpoints.last_good
        if last is not None and last.position == (self.engine.steps, len(self.history)):
            return last
        snapshot = checkpoints.take(lambda: Snapshot(self._copy()))
        if self.best is None:
            self.usable = self._usable(snapshot)
        return snapshot

    def _copy(self) -> dict[str, Any]:
        return {
            "engine": copy_state(self.engine.state_dict()),
            "random": self.random,
            "history": self.history[:],
            "seconds": self.seconds,
            "rollbacks": self.rollbacks,
            "best": None if self.best is None else dict(self.best),
            "custom_objective": self.custom_objective,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state of a snapshot, which is left unchanged."""
        # Optimisers continue in place in the tensors that they are given.
        self.engine.load_state_dict(copy_state(state["engine"]))
        self.random = state["random"]
        self.history = state["history"][:]
        measured = [row for row in self.history if can_be_best(row)]
        self.best_row = max(measured, key=quality, default=None)
        self.seconds = state["seconds"]
        self.rollbacks = state["rollbacks"]
        self.best = None if state["best"] is None or self.best_row is None else dict(state["best"])
        if self.best is not None and self.best["model"] is None:
            self.best |= _weights(state)

    def _usable(self, snapshot: Snapshot) -> dict[str, Any]:
        """Weights for use from a snapshot just taken: the moving average if there is one."""
        found = _weights(snapshot.state)
        if found["average"] is None:
            model: dict[str, Any] = found["model"]
            return model
        with self.engine.averaged():
            averaged: dict[str, Any] = copy_state(dict(self.engine.vae.state_dict()))
        return averaged


def _weights(state: dict[str, Any]) -> dict[str, Any]:
    return {name: state["engine"][name] for name in ("model", "average")}

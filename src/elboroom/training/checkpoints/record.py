"""What a training has come to, and copies of it: engine, randomness, history, the best so far."""

from __future__ import annotations

from typing import Any

import torch

from elboroom.training.checkpoints.saving import Checkpoints, Snapshot
from elboroom.training.checkpoints.state import copy_state, random_state, set_random_state
from elboroom.training.engine import Engine


class Record:
    """The state of a training between two steps.

    Parameters
    ----------
    engine : Engine
        Whose state belongs to it.
    custom_objective : bool
        Training has an objective that no configuration describes.

    Attributes
    ----------
    history : list of dict
        One row per finished epoch; rows do not change any more.
    best_row : dict or None
        The first of those with the highest validation ELBO.
    best : dict or None
        Its ``epoch``, ``model`` (weights) and their running ``average`` if there is one.
    usable : dict or None
        Weights for model.safetensors: the best, or without validation those of the newest copy.
    seconds : float
        Spent in the epoch under way.
    rollbacks : int
        How often training went back to a good state.
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
        """Remember the generators as they are."""
        self.random = random_state(self.engine.device)

    def restore_random(self) -> None:
        """Put the generators back as they were noted."""
        set_random_state(self.random, self.engine.device)

    def add(self, row: dict[str, Any], checkpoints: Checkpoints) -> None:
        """Take in a finished epoch, and copy everything if it is the best."""
        self.history.append(row)
        self.note_random()
        if "val_elbo" not in row:
            return
        if self.best_row is None or row["val_elbo"] > self.best_row["val_elbo"]:
            self.best_row = row
            self.best = {"epoch": row["epoch"], "model": None, "average": None}  # those of the copy itself
            snapshot = checkpoints.take(lambda: Snapshot(self._copy()), best=True)
            self.best |= _weights(snapshot.state)
            self.usable = self._usable(snapshot)

    def snapshot(self, checkpoints: Checkpoints) -> Snapshot:
        """Copy everything, or find that it was copied just now."""
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
        """Go back to a copy, which stays as it is."""
        # Optimisers would go on in the very tensors that they are given.
        self.engine.load_state_dict(copy_state(state["engine"]))
        self.random = state["random"]
        self.history = state["history"][:]
        measured = [row for row in self.history if "val_elbo" in row]
        self.best_row = max(measured, key=lambda row: row["val_elbo"], default=None)
        self.seconds = state["seconds"]
        self.rollbacks = state["rollbacks"]
        self.best = None if state["best"] is None else dict(state["best"])
        if self.best is not None and self.best["model"] is None:
            self.best |= _weights(state)

    def _usable(self, snapshot: Snapshot) -> dict[str, Any]:
        """Weights to use, of a copy taken just now: the running average if there is one."""
        found = _weights(snapshot.state)
        if found["average"] is None:
            model: dict[str, Any] = found["model"]
            return model
        with self.engine.averaged():
            averaged: dict[str, Any] = copy_state(dict(self.engine.vae.state_dict()))
        return averaged


def _weights(state: dict[str, Any]) -> dict[str, Any]:
    return {name: state["engine"][name] for name in ("model", "average")}

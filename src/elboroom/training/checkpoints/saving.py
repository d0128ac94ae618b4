"""Checkpoints: copied between two steps, written in a thread, with an intact one on the disk at all times.

::

    checkpoints/last/state.safetensors      the newest
    checkpoints/last-1/state.safetensors    the previous one, in case the newest is damaged
    checkpoints/best/state.safetensors      after the epoch with the best validation bound
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from elboroom.errors import FailureError, UsageError
from elboroom.io.files import flush_folder, whole_file
from elboroom.io.tensors import write_tensors
from elboroom.runs.run import Run
from elboroom.training.checkpoints.links import replace_by_link
from elboroom.training.checkpoints.state import load_state, save_state, state_content

KEEP = 2
# Share of the time since training began that copying and writing may take. Writing is counted in full,
# because on a single core it does stop training.
SHARE = 0.02
# Limits, in seconds, of the time between checkpoints, which is otherwise a tenth of the time trained.
PAUSE = (1.0, 30.0)

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Snapshot:
    """An immutable copy in main memory of the state of a training between two steps.

    Attributes
    ----------
    state : dict
        The content of a checkpoint file: engine, random, history, seconds, best, custom_objective.
    """

    state: dict[str, Any]

    @property
    def position(self) -> tuple[int, int]:
        """Steps taken and epochs finished. Training passes each position once."""
        return self.state["engine"]["steps"], len(self.state["history"])


class Checkpoints:
    """Takes snapshots of a training and writes them to the run folder.

    Parameters
    ----------
    run : Run, optional
        The run folder. Without one, snapshots stay in memory.
    say : callable
        Receives a line about each problem, in the training thread.
    keep : int
        Number of the newest checkpoints to keep, at least 1.

    Attributes
    ----------
    last_good : Snapshot or None
        The newest snapshot, taken while all weights were finite; a rollback returns to it.
    """

    def __init__(self, run: Run | None, say: Callable[[str], None], keep: int = KEEP):
        self.run = run
        self.keep = keep
        self.last_good: Snapshot | None = None
        self._say = say
        self._written: tuple[int, int] | None = None  # position of the newest checkpoint on the disk
        self._best: Snapshot | None = None  # the best snapshot, until it is on the disk
        self._weights: Weights | None = None  # the content of model.safetensors
        self._last_is_bad = False
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._warned = False
        self._copy_cost = self._write_cost = 0.0  # seconds that the latest took
        self.start()

    def start(self) -> None:
        """Start measuring time."""
        self._began = time.perf_counter()
        self._copying = self._writing = 0.0
        self.postpone()

    @property
    def spent(self) -> float:
        """Seconds spent on copying and writing since :meth:`start`."""
        return self._copying + self._writing

    def due(self, now: float) -> bool:
        """Whether a checkpoint is due at this time of ``time.perf_counter``; cheap enough for every step."""
        if self._error is not None:
            self._warn(self._error)
        return now >= self._next and not self._is_writing

    @property
    def _is_writing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def postpone(self) -> None:
        """Schedule the next checkpoint."""
        now = time.perf_counter()
        affordable = self._began + (self.spent + self._copy_cost + self._write_cost) / SHARE
        self._next = max(affordable, now + min(max(PAUSE[0], (now - self._began) / 10), PAUSE[1]))

    # In the training thread.

    def take(self, make: Callable[[], Snapshot], *, best: bool = False) -> Snapshot:
        """Take a snapshot while training waits; a ``best`` one is also written as the best checkpoint."""
        started = time.perf_counter()
        self.last_good = snapshot = make()
        if best:
            self._best = snapshot
        self._copy_cost = time.perf_counter() - started
        self._copying += self._copy_cost
        return snapshot

    def begin(self, snapshot: Snapshot, weights: Weights | None) -> None:
        """Write a snapshot in a thread. A failure is reported, and the next checkpoint tries again.

        Parameters
        ----------
        snapshot : Snapshot
            The new last checkpoint.
        weights : mapping of str to Tensor, optional
            For model.safetensors, which is written only if they are other ones; they must not change.
        """
        self._next = math.inf
        self._thread = threading.Thread(
            target=self._write_beside, args=(snapshot, weights), name="checkpoint", daemon=True
        )
        self._thread.start()

    def save(self, snapshot: Snapshot, weights: Weights | None) -> None:
        """Write a snapshot and wait for it, after any write in progress.

        Raises
        ------
        FailureError
            If it cannot be written; the message names the newest checkpoint on the disk.
        """
        self.wait()
        started = time.perf_counter()
        try:
            self._write(snapshot, weights)
            self._write_cost = time.perf_counter() - started
        except FailureError as error:
            raise FailureError(f"{error}; {self.kept()}") from None

    def rescue(self, weights: Weights | None) -> None:
        """Save the newest snapshot if it is not on the disk yet, and ignore failures.

        For use while another error ends the training.
        """
        self.wait()
        if self.last_good is not None and self.last_good.position != self._written:
            with contextlib.suppress(FailureError):
                self._write(self.last_good, weights)

    def wait(self) -> None:
        """Wait for the write in progress."""
        if self._thread is not None:
            self._thread.join()

    def kept(self) -> str:
        """Describe the newest checkpoint on the disk and how to resume from it."""
        if self.run is None or self._written is None:
            return "no checkpoint was written yet"
        steps, epochs = self._written
        return (
            f"{self.run.path} has a checkpoint of step {steps} ({epochs} epochs done); 'elboroom resume "
            f"{self.run.path}' continues from it"
        )

    def close(self, *, wait: bool = True) -> None:
        """Unlock the run folder as soon as no write is in progress.

        Parameters
        ----------
        wait : bool
            Wait for that, instead of unlocking in a thread.
        """
        run = self.run
        if run is None:
            return

        def release() -> None:
            self.wait()
            run.unlock()

        if wait or not self._is_writing:
            release()
        else:
            threading.Thread(target=release, name="unlock", daemon=True).start()

    def _warn(self, error: Exception) -> None:
        self._error = None
        if not self._warned:  # a full disk stays full for a while
            self._say(f"{error}; training continues and will try again. {self.kept()}")
        self._warned = True

    # Files.

    def _write_beside(self, snapshot: Snapshot, weights: Weights | None) -> None:
        started = time.perf_counter()
        try:
            self._write(snapshot, weights)
            self._warned = False
        except Exception as error:  # training continues in any case; the last save raises the error
            self._error = error
        self._write_cost = time.perf_counter() - started
        self._writing += self._write_cost
        self.postpone()

    def _write(self, snapshot: Snapshot, weights: Weights | None) -> None:
        if self.run is None:
            return
        best = self._best
        if best is not None:
            save_state(self._path("best"), best.state)
            if self._best is best:
                self._best = None
        if weights is not None and weights is not self._weights:
            write_tensors(self.run.path / "model.safetensors", weights)
            self._weights = weights
        self.run.write_history(snapshot.state["history"])
        # Written last: a last checkpoint of the final epoch marks the run as complete.
        if snapshot.position != self._written or self._last_is_bad:
            self._replace_last(snapshot)
            self._written = snapshot.position

    def _replace_last(self, snapshot: Snapshot) -> None:
        last = self._path("last")
        with whole_file(last, state_content(snapshot.state)) as temporary:
            if not self._last_is_bad:
                self._shift()
            temporary.replace(last)
            self._last_is_bad = False
            flush_folder(last.parent)

    def _shift(self) -> None:
        """Move each checkpoint one place back; ``last`` exists at every moment."""
        names = ["last", *(f"last-{i}" for i in range(1, self.keep))]
        for newer, older in reversed(list(pairwise(map(self._path, names)))):
            if not newer.exists():
                continue
            older.parent.mkdir(exist_ok=True)
            if newer.parent.name != "last" or not replace_by_link(newer, older):
                newer.replace(older)

    def _path(self, name: str) -> Path:
        assert self.run is not None
        return self.run.path / "checkpoints" / name / "state.safetensors"

    def load(self) -> dict[str, Any]:
        """Read the newest intact checkpoint, and report if that is not the last.

        Raises
        ------
        UsageError
            If none is intact.
        """
        assert self.run is not None
        last = self._path("last")
        older = [path / last.name for path in last.parent.parent.glob("last-*")]
        older.sort(key=lambda path: (len(path.parent.name), path.parent.name))  # last-9 before last-10
        problems: list[str] = []
        for path in [last, *older]:
            started = time.perf_counter()
            try:
                state = load_state(path)
            except UsageError as error:
                problems.append(str(error))
                continue
            self._write_cost = time.perf_counter() - started  # writing takes about as long as reading
            self.last_good = Snapshot(state)
            self._written = self.last_good.position
            self._last_is_bad = bool(problems)
            if problems:
                self._say(f"{_what(problems[0])}; continuing from {_where(path, self.last_good)}")
            self._read_best(state)
            return state
        more = "" if len(problems) == 1 else ", and no older checkpoint is intact"
        raise UsageError(f"{_what(problems[0])}{more}; restore it from a copy, or train again")

    def _read_best(self, state: dict[str, Any]) -> None:
        """Check the best checkpoint; its weights are needed only if ``last`` is of a version without them."""
        path, needed = self._path("best"), "best" not in state
        state.setdefault("best", None)
        if not path.exists():
            return
        try:
            found = load_state(path)
        except UsageError as error:
            if needed:
                raise
            self._say(
                f"{_what(str(error))}; resuming does not need it, and the next better epoch writes it again"
            )
            return
        if needed:
            weights = {name: found["engine"][name] for name in ("model", "average")}
            state["best"] = {"epoch": len(found["history"]), **weights}


def _what(problem: str) -> str:
    return re.split(": (?:restore it|the run cannot)", problem)[0]


def _where(path: Path, snapshot: Snapshot) -> str:
    steps, epochs = snapshot.position
    return f"{path.parent.name}, of step {steps} ({epochs} epochs done)"

"""Checkpoints: copied between two steps, written beside training, and never without a good one on the disk.

::

    checkpoints/last/state.safetensors      the newest
    checkpoints/last-1/state.safetensors    the one before, for the day on which the newest is damaged
    checkpoints/best/state.safetensors      as it was after the epoch of the best validation ELBO
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import secrets
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
from elboroom.training.checkpoints.state import load_state, save_state, state_content

KEEP = 2
# Copying and writing may take this part of the time since training began. Writing is counted as if it
# stopped training, which it does where there is one core.
SHARE = 0.02
# Seconds from one checkpoint to the next: a tenth of the time trained, but no less and no more than these.
PAUSE = (1.0, 30.0)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Snapshot:
    """A copy of a training's state between two steps, in main memory; nothing in it changes any more.

    Attributes
    ----------
    state : dict
        The tree that a checkpoint's file holds: engine, random, history, seconds, best, custom_objective.
    """

    state: dict[str, Any]

    @property
    def position(self) -> tuple[int, int]:
        """Steps taken and epochs finished; training passes each position once."""
        return self.state["engine"]["steps"], len(self.state["history"])


class Checkpoints:
    """What a training keeps of itself on the disk.

    Parameters
    ----------
    run : Run, optional
        Its folder; without one only the copies in memory are made.
    say : callable
        Is given a line on what went wrong, in the training thread.
    keep : int
        How many of the newest checkpoints to keep, at least 1.

    Attributes
    ----------
    last_good : Snapshot or None
        The newest copy, taken when all weights were finite; what a rollback goes back to.
    """

    def __init__(self, run: Run | None, say: Callable[[str], None], keep: int = KEEP):
        self.run = run
        self.keep = keep
        self.last_good: Snapshot | None = None
        self._say = say
        self._written: tuple[int, int] | None = None  # position of the last checkpoint on the disk
        self._best: Snapshot | None = None  # the best so far, until it is on the disk
        self._weights: Weights | None = None  # that model.safetensors holds
        self._last_is_bad = False
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._warned = False
        self._copy_cost = self._write_cost = 0.0  # seconds that the latest one took
        self.start()

    def start(self) -> None:
        """Count the time from here on."""
        self._began = time.perf_counter()
        self._copying = self._writing = 0.0
        self.postpone()

    @property
    def spent(self) -> float:
        """Seconds of copying and of writing beside training since :meth:`start`."""
        return self._copying + self._writing

    def due(self, now: float) -> bool:
        """Whether to begin a checkpoint at this time of ``time.perf_counter``; costs next to nothing."""
        if self._error is not None:
            self._warn(self._error)
        return now >= self._next and not self._is_writing

    @property
    def _is_writing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def postpone(self) -> None:
        """Let the next one be due a while from now."""
        now = time.perf_counter()
        affordable = self._began + (self.spent + self._copy_cost + self._write_cost) / SHARE
        self._next = max(affordable, now + min(max(PAUSE[0], (now - self._began) / 10), PAUSE[1]))

    # In the training thread.

    def take(self, make: Callable[[], Snapshot], *, best: bool = False) -> Snapshot:
        """Copy the state, the only part that training waits for; a ``best`` one is written as such, too."""
        started = time.perf_counter()
        self.last_good = snapshot = make()
        if best:
            self._best = snapshot
        self._copy_cost = time.perf_counter() - started
        self._copying += self._copy_cost
        return snapshot

    def begin(self, snapshot: Snapshot, weights: Weights | None) -> None:
        """Write a snapshot in a thread of its own; a failure is told, and the next one tried when it is due.

        Parameters
        ----------
        snapshot : Snapshot
            Becomes the last checkpoint.
        weights : mapping of str to Tensor, optional
            For model.safetensors, if these very ones are not there already; must not change any more.
        """
        self._next = math.inf
        self._thread = threading.Thread(
            target=self._write_beside, args=(snapshot, weights), name="checkpoint", daemon=True
        )
        self._thread.start()

    def save(self, snapshot: Snapshot, weights: Weights | None) -> None:
        """Write a snapshot before going on, after a write that is under way.

        Raises
        ------
        FailureError
            If it cannot be written; the message says which checkpoint there is instead.
        """
        self.wait()
        started = time.perf_counter()
        try:
            self._write(snapshot, weights)
            self._write_cost = time.perf_counter() - started
        except FailureError as error:
            raise FailureError(f"{error}; {self.kept()}") from None

    def rescue(self, weights: Weights | None) -> None:
        """As :meth:`save` of the newest copy, if the disk does not have it and will take it.

        For when training fails, and has an error of its own to tell.
        """
        self.wait()
        if self.last_good is not None and self.last_good.position != self._written:
            with contextlib.suppress(FailureError):
                self._write(self.last_good, weights)

    def wait(self) -> None:
        """Wait for the write that is under way."""
        if self._thread is not None:
            self._thread.join()

    def kept(self) -> str:
        """Say what could be gone on with."""
        if self.run is None or self._written is None:
            return "no checkpoint was written yet"
        steps, epochs = self._written
        return (
            f"{self.run.path} keeps the checkpoint of step {steps} ({epochs} epochs done): "
            f"'elboroom resume {self.run.path}' goes on from it"
        )

    def close(self, *, wait: bool = True) -> None:
        """Release the run's folder, once nothing is written to it any more.

        Parameters
        ----------
        wait : bool
            Wait for that; else return at once.
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
        if not self._warned:  # a disk that is full stays so for a while
            self._say(f"{error}; training goes on and tries again. {self.kept()}")
        self._warned = True

    # Files.

    def _write_beside(self, snapshot: Snapshot, weights: Weights | None) -> None:
        started = time.perf_counter()
        try:
            self._write(snapshot, weights)
            self._warned = False
        except Exception as error:  # whatever it is, training is worth more; the last save raises it
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
        # After all else: where it is of the last epoch, the run is complete.
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
        """Move each checkpoint one place back, so that ``last`` is there all the time."""
        names = ["last", *(f"last-{i}" for i in range(1, self.keep))]
        for newer, older in reversed(list(pairwise(map(self._path, names)))):
            if not newer.exists():
                continue
            older.parent.mkdir(exist_ok=True)
            if newer.parent.name != "last" or not _link(newer, older):
                newer.replace(older)

    def _path(self, name: str) -> Path:
        assert self.run is not None
        return self.run.path / "checkpoints" / name / "state.safetensors"

    def load(self) -> dict[str, Any]:
        """Read the newest good checkpoint, and say so if that is not the last.

        Raises
        ------
        UsageError
            If there is none.
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
            self._write_cost = time.perf_counter() - started  # about as long as reading
            self.last_good = Snapshot(state)
            self._written = self.last_good.position
            self._last_is_bad = bool(problems)
            if problems:
                self._say(f"{_what(problems[0])}; going on from {_where(path, self.last_good)}")
            self._read_best(state)
            return state
        more = "" if len(problems) == 1 else ", and of the older ones none is good"
        raise UsageError(f"{_what(problems[0])}{more}: restore it from a copy or train again")

    def _read_best(self, state: dict[str, Any]) -> None:
        """Look at the best checkpoint; its weights are needed only if ``last`` is too old to hold them."""
        path, needed = self._path("best"), "best" not in state
        state.setdefault("best", None)
        if not path.exists():
            return
        try:
            found = load_state(path)
        except UsageError as error:
            if needed:
                raise
            self._say(f"{_what(str(error))}; it is not needed, and is written again after a better epoch")
            return
        if needed:
            weights = {name: found["engine"][name] for name in ("model", "average")}
            state["best"] = {"epoch": len(found["history"]), **weights}


def _link(source: Path, target: Path) -> bool:
    """Replace ``target`` by a second name of ``source``; False where files have one name only."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        os.link(source, temporary)
        temporary.replace(target)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    finally:
        # Between two names of one file a rename does nothing.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _what(problem: str) -> str:
    return re.split(": (?:restore it|the run cannot)", problem)[0]


def _where(path: Path, snapshot: Snapshot) -> str:
    steps, epochs = snapshot.position
    return f"{path.parent.name}, of step {steps} ({epochs} epochs done)"

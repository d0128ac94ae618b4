"""Recovery from non-finite steps: find the cause, roll back, and lower the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import DivergedError
from elboroom.training.checkpoints.record import Record
from elboroom.training.checkpoints.saving import Checkpoints
from elboroom.training.step.engine import Engine
from elboroom.training.step.nonfinite import Finding
from elboroom.training.verdict import other_cause

# Steps between two reads of the counters; on a GPU each read synchronises with the device.
LOOK_EVERY = 50
# After this many non-finite steps in a row, the cause is not a single batch.
_PATIENCE = 10
# Factors of the learning rate: at the first rollback, and at each later one.
_SLOWER, _MUCH_SLOWER = 0.25, 0.1
_MOST_ROLLBACKS = 16

Order = Sequence[NDArray[np.int64]]


class Recovery:
    """Watches the non-finite steps that the engine skips.

    A single non-finite step is skipped, counted and explained. Many in a row mean that the weights themselves
    cause them: training then returns to its last good snapshot and continues with a lower learning rate.

    Parameters
    ----------
    engine, record
        The engine and the record of the training.
    say : callable
        Receives a line about each event.
    """

    def __init__(self, engine: Engine, record: Record, say: Callable[[str], None]):
        self.engine = engine
        self.record = record
        self._say = say
        self._explained = -1
        self._named: set[str] = set()  # non-finite tensors that were reported already

    def needed(self, order: Order, epoch_start: int, *, at_end: bool = False) -> str | None:
        """Explain new non-finite steps, and return the reason for a rollback if there is one.

        Parameters
        ----------
        order : sequence of arrays
            The batches of the epoch, as row numbers of the data set.
        epoch_start : int
            Steps taken before the epoch.
        at_end : bool
            Whether the epoch is over. An epoch without a finite step is a reason, too.
        """
        in_a_row, total, first = self.engine.skipped.read()
        if total and first != self._explained:
            self._explained = first
            rows = order[first - epoch_start]
            finding = self.engine.explain(rows)
            if finding is None or not self.record.rollbacks or finding.tensor not in self._named:
                self._say(f"step {first + 1} was not finite and was skipped; {_described(finding, rows)}")
            if finding is not None:
                self._named.add(finding.tensor)
        if in_a_row >= _PATIENCE or (at_end and total == len(order)):
            return f"{in_a_row} steps in a row were not finite"
        return None

    @property
    def sound(self) -> bool:
        """Whether the newest step was finite."""
        return self.engine.skipped.read()[0] == 0

    def go_back(self, reason: str, checkpoints: Checkpoints, indices: NDArray[np.int64]) -> None:
        """Restore the last good snapshot and lower the learning rate.

        Parameters
        ----------
        reason : str
            How the divergence showed.
        checkpoints : Checkpoints
            Hold the snapshot.
        indices : array
            Row numbers of the training examples.

        Raises
        ------
        DivergedError
            If the limit of rollbacks is reached, a rollback cannot help, or there is no snapshot.
        """
        cause = other_cause(self.engine, indices)
        rollbacks = self.record.rollbacks + 1
        good = checkpoints.last_good
        before = self.engine.learning_rate
        if good is None or rollbacks > _MOST_ROLLBACKS or cause is not None:
            cause = cause or (
                f"a lower learning rate (now {before:g}) did not help; set clip=, or start with a lower lr="
            )
            raise DivergedError(f"{reason}: training has diverged", f"and {cause}. {checkpoints.kept()}")
        self.record.load(good.state)
        self.engine.skipped.reset(row_too=True)
        for earlier in range(self.record.rollbacks, rollbacks):  # the snapshot may count fewer
            self.engine.lower_learning_rate(_MUCH_SLOWER if earlier else _SLOWER)
        self.record.rollbacks = rollbacks
        self.record.restore_random()
        self._explained = -1
        self._say(
            f"{reason}; training returns to step {self.engine.steps}, the last good one, with learning rate "
            f"{self.engine.learning_rate:.3g}"
        )

    def explain(self, indices: NDArray[np.int64]) -> str:
        """Compute these examples again, and describe what is not finite."""
        return _described(self.engine.explain(indices), indices)


def _described(finding: Finding | None, indices: NDArray[np.int64]) -> str:
    if finding is None:
        return "computed again with other noise, it is finite"
    return finding.describe(indices.tolist())

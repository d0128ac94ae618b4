"""When numbers are no longer finite: say where it began, go back to the last good state, learn slower."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import DivergedError
from elboroom.training.checkpoints.record import Record
from elboroom.training.checkpoints.saving import Checkpoints
from elboroom.training.engine import Engine
from elboroom.training.nonfinite import Finding
from elboroom.training.verdict import other_cause

# Steps between two looks at the counters; on a GPU a look makes the host wait.
LOOK_EVERY = 50
# So many bad steps in a row are no accident of one batch.
_PATIENCE = 10
# The first time a quarter may do; where that was not enough, the rate is absurd.
_SLOWER, _MUCH_SLOWER = 0.25, 0.1
_MOST_ROLLBACKS = 16

Order = Sequence[NDArray[np.int64]]


class Recovery:
    """Looks after the steps that the engine leaves out.

    One bad step changes nothing, is counted and explained. Many in a row mean that the weights themselves
    lead there: then training goes back to its last good copy and on with a lower learning rate.

    Parameters
    ----------
    engine, record
        Of the training.
    say : callable
        Is given a line on what happened.
    """

    def __init__(self, engine: Engine, record: Record, say: Callable[[str], None]):
        self.engine = engine
        self.record = record
        self._say = say
        self._explained = -1
        self._named: set[str] = set()  # tensors that were bad before training went back

    def needed(self, order: Order, epoch_start: int, *, at_end: bool = False) -> str | None:
        """Explain new bad steps, and give the reason to go back if there is one.

        Parameters
        ----------
        order : sequence of arrays
            The epoch's batches, as rows of the data set.
        epoch_start : int
            Steps taken before the epoch.
        at_end : bool
            The epoch is over; then one without a single good step is a reason, too.
        """
        in_a_row, total, first = self.engine.skipped.read()
        if total and first != self._explained:
            self._explained = first
            rows = order[first - epoch_start]
            finding = self.engine.explain(rows)
            if finding is None or not self.record.rollbacks or finding.tensor not in self._named:
                self._say(f"step {first + 1} was not finite and was left out; {_told(finding, rows)}")
            if finding is not None:
                self._named.add(finding.tensor)
        if in_a_row >= _PATIENCE or (at_end and total == len(order)):
            return f"{in_a_row} steps in a row were not finite"
        return None

    @property
    def sound(self) -> bool:
        """Whether the newest step was good."""
        return self.engine.skipped.read()[0] == 0

    def go_back(self, reason: str, checkpoints: Checkpoints, indices: NDArray[np.int64]) -> None:
        """Put back the last good copy, with a lower learning rate.

        Parameters
        ----------
        reason : str
            How it was seen that training has diverged.
        checkpoints : Checkpoints
            Have the copy.
        indices : array
            Of the training examples.

        Raises
        ------
        DivergedError
            If that was done often enough, would not help, or there is no copy.
        """
        cause = other_cause(self.engine, indices)
        rollbacks = self.record.rollbacks + 1
        good = checkpoints.last_good
        before = self.engine.learning_rate
        if good is None or rollbacks > _MOST_ROLLBACKS or cause is not None:
            cause = cause or (
                f"a lower learning rate (now {before:g}) did not help; set --clip, or begin with a lower --lr"
            )
            raise DivergedError(f"{reason}: training has diverged", f"and {cause}. {checkpoints.kept()}")
        self.record.load(good.state)
        self.engine.skipped.reset(row_too=True)
        for earlier in range(self.record.rollbacks, rollbacks):  # the copy may know of some
            self.engine.lower_learning_rate(_MUCH_SLOWER if earlier else _SLOWER)
        self.record.rollbacks = rollbacks
        self.record.restore_random()
        self._explained = -1
        self._say(
            f"{reason}; back to step {self.engine.steps}, the last good one, with learning rate "
            f"{self.engine.learning_rate:.3g}"
        )

    def explain(self, indices: NDArray[np.int64]) -> str:
        """What is not finite when these examples are looked at again."""
        return _told(self.engine.explain(indices), indices)


def _told(finding: Finding | None, indices: NDArray[np.int64]) -> str:
    if finding is None:
        return "looked at again, with other noise, it is finite"
    return finding.describe(indices.tolist())

"""The most anomalous of many examples, with what their numbers cost."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from elboroom.scoring.calibration import Judged
from elboroom.scoring.contributions import Reason, top_reasons


@dataclass(frozen=True, eq=False, order=False)
class Odd:
    """One of the most anomalous examples.

    Attributes
    ----------
    index : int
        In its data set.
    value, stderr, p_value : float
        Score in nats, its standard error and its conformal p-value.
    anomalous : bool
        The verdict.
    above : numpy.ndarray
        What each number of the example costs beyond the usual, nats (*shape).
    reasons : list of Reason
        The columns that cost most beyond the usual; empty without names of columns.
    """

    index: int
    value: float
    stderr: float
    p_value: float
    anomalous: bool
    above: NDArray[np.float64]
    reasons: list[Reason]


@dataclass
class Oddest:
    """Keeps the ``count`` highest scores of all that are added.

    Examples with infinite scores come first; those without a score are left out.
    """

    count: int
    columns: tuple[str, ...] = ()
    _heap: list[tuple[float, int, Odd]] = field(default_factory=list)

    def add(self, rows: NDArray[np.int64], judged: Judged) -> None:
        """Take in a batch with the indices of its examples."""
        value = judged.scores.value
        for i in np.argsort(-value, kind="stable")[: self.count].tolist():
            least = self._heap[0][0] if len(self._heap) == self.count else -np.inf
            if np.isnan(value[i]) or (len(self._heap) == self.count and value[i] <= least):
                continue
            found = self._odd(int(rows[i]), judged, i)
            (heapq.heappush if len(self._heap) < self.count else heapq.heappushpop)(
                self._heap, (found.value, -found.index, found)
            )

    def _odd(self, index: int, judged: Judged, i: int) -> Odd:
        scores = judged.scores
        one = scores[np.array([i])]
        by_column = one.contributions.by_column[0]
        return Odd(
            index,
            float(scores.value[i]),
            float(scores.stderr[i]),
            float(judged.p_value[i]),
            bool(judged.anomalous[i]),
            by_column - judged.usual[:-1].reshape(by_column.shape),
            top_reasons(one.contributions, self.columns, judged.usual)[0] if self.columns else [],
        )

    def sorted(self) -> list[Odd]:
        """The highest score first."""
        return [odd for *_, odd in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]

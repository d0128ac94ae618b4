"""What is normal: the scores of held-out examples, to which those of others are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import UsageError
from elboroom.scoring.conformal import conformal_p_values, conformal_threshold
from elboroom.scoring.contributions import Reason, top_reasons
from elboroom.scoring.measures import Scores


@dataclass(frozen=True, eq=False)
class Judged:
    """Anomaly scores with verdicts.

    Attributes
    ----------
    scores : Scores
        Of n examples.
    p_value : numpy.ndarray
        Conformal p-value of each, float64 (n,); NaN where the score is.
    anomalous : numpy.ndarray
        bool (n,): the score is above the threshold. A score that is NaN is above nothing.
    threshold : float
        In nats.
    usual : numpy.ndarray
        Mean of each part of the calibration scores, (d + 1,), the latent one last.
    """

    scores: Scores
    p_value: NDArray[np.float64]
    anomalous: NDArray[np.bool_]
    threshold: float
    usual: NDArray[np.float64]

    def reasons(self, columns: Sequence[str], count: int = 3) -> list[list[Reason]]:
        """List for each example the parts of its score that are furthest above the usual; see
        :func:`elboroom.scoring.contributions.top_reasons`.

        Parameters
        ----------
        columns : sequence of str
            Names of the d columns.
        count : int
            Most parts to list.
        """
        return top_reasons(self.scores.contributions, tuple(columns), self.usual, count)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of m examples that are normal and that the model was not trained on.

    Attributes
    ----------
    value : numpy.ndarray
        float64 (m,), nats.
    usual : numpy.ndarray
        Mean of each part of these scores, (d + 1,), the latent one last; see
        :func:`elboroom.scoring.contributions.top_reasons`. Scores that are not finite are left out of it.
    false_alarms : float
        Largest share of normal examples to call anomalous.
    threshold : float
        The score above which an example is called anomalous.
    """

    value: NDArray[np.float64]
    usual: NDArray[np.float64]
    false_alarms: float
    threshold: float

    @classmethod
    def of(cls, batches: Iterable[Scores], false_alarms: float) -> Calibration:
        """Calibrate by the scores of held-out examples, a batch at a time.

        Raises
        ------
        UsageError
            If there are too few of them for the rate, or one is NaN.
        """
        values: list[NDArray[np.float64]] = []
        total, finite = np.zeros(()), 0
        for scores in batches:
            values.append(scores.value)
            known = np.isfinite(scores.value)
            total = total + scores.contributions.parts()[known].sum(0)
            finite += int(known.sum())
        value = np.concatenate([np.empty(0), *values])
        threshold = conformal_threshold(value, false_alarms)
        if not finite:
            raise UsageError(
                f"none of the {len(value)} calibration scores is finite; the model cannot score its own "
                "held-out examples"
            )
        return cls(value, total / finite, false_alarms, threshold)

    def judge(self, scores: Scores) -> Judged:
        """Compare the scores of other examples with these.

        An example that is one of the calibration examples is compared with itself too, which keeps the
        false-alarm rate.
        """
        return Judged(
            scores,
            conformal_p_values(scores.value, self.value),
            scores.value > self.threshold,
            self.threshold,
            self.usual,
        )

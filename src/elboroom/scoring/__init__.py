"""Anomaly scores of examples, in nats, with calibrated thresholds and what each column adds to them."""

from elboroom.scoring.calibration import Calibration, Judged
from elboroom.scoring.conformal import conformal_p_values, conformal_threshold
from elboroom.scoring.contributions import Contributions, top_reasons
from elboroom.scoring.scores import Scores, score

__all__ = [
    "Calibration",
    "Contributions",
    "Judged",
    "Scores",
    "conformal_p_values",
    "conformal_threshold",
    "score",
    "top_reasons",
]

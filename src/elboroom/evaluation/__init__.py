"""Evaluation: numbers with units, sample counts and errors."""

from elboroom.evaluation.columns import evaluate_columns
from elboroom.evaluation.health import active_units
from elboroom.evaluation.likelihood import evaluate
from elboroom.evaluation.mechanism import learned_mechanism

__all__ = ["active_units", "evaluate", "evaluate_columns", "learned_mechanism"]

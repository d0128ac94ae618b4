"""Evaluation: numbers with units, sample counts and errors."""

from elboroom.evaluation.columns import evaluate_columns
from elboroom.evaluation.health import active_units
from elboroom.evaluation.likelihood import evaluate

__all__ = ["active_units", "evaluate", "evaluate_columns"]

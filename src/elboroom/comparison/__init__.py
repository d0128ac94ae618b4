"""Recipes side by side: the same data, split and nets, several seeds, one table."""

from elboroom.comparison.comparing import compare
from elboroom.comparison.report import Comparison

__all__ = ["Comparison", "compare"]

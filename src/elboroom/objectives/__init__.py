"""Objectives: a bound, a scheduled beta and penalties."""

from elboroom.objectives.bounds import elbo
from elboroom.objectives.objective import Objective

__all__ = ["Objective", "elbo"]

"""Has training diverged, and what is the cause where it is not the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.training.engine import Engine, First

# No model that learns gets so much worse than the one that it began as.
_WORSE = 1e3
# Nats per dimension beyond which float32 has no digits left for what a step changes.
_HOPELESS = 1e12
# Data, or a weight in the objective, of this size leave none either.
_HUGE = 1e6
_LOOKED_AT, _CHUNK = 4096, 256


class Loss(NamedTuple):
    """What is judged: distortion + beta · rate, nats per example; penalties may be of any size."""

    distortion: float
    rate: float
    beta: float

    @property
    def value(self) -> float:
        """In nats; a rate that has no weight does not count, however large."""
        return self.distortion + (self.beta * self.rate if self.beta else 0.0)


def diverged(row: Mapping[str, Any], first: First | None, dimensions: int) -> str | None:
    """Say how an epoch's finite numbers show that training has diverged; None if they do not.

    Parameters
    ----------
    row : mapping
        Of the history. Where there is validation, that is judged.
    first : First or None
        Of the first step, before any weight was changed.
    dimensions : int
        Numbers of one example: a sensible loss is of the order of a nat for each.

    Examples
    --------
    >>> row = {"epoch": 2, "distortion": 1e18, "rate": 3.0, "beta": 1.0}
    >>> diverged(row, First(40.0, 1.0), dimensions=64)
    'the loss in epoch 2 is 1e+18 nats per example, and was 41 in the first step'
    >>> diverged({**row, "distortion": 35.0}, First(40.0, 1.0), dimensions=64)
    """
    part = "val_" if "val_distortion" in row else ""
    now = Loss(row[f"{part}distortion"], row[f"{part}rate"], row["beta"]).value
    told = f"the loss in epoch {row['epoch']} is {now:.3g} nats per example"
    if first is not None:
        before = Loss(first.distortion, first.rate, row["beta"]).value
        if now > before + _WORSE * (abs(before) + dimensions):
            return f"{told}, and was {before:.3g} in the first step"
    return told if abs(now) > _HOPELESS * dimensions else None


def other_cause(engine: Engine, indices: NDArray[np.int64]) -> str | None:
    """What makes training diverge whatever the learning rate; None if that may be the cause.

    Parameters
    ----------
    engine : Engine
        As it is when its numbers are found to be bad.
    indices : array
        Of the training examples.
    """
    largest = _largest(engine, indices[:_LOOKED_AT])
    first = engine.first
    if largest >= _HUGE and (first is None or abs(first.distortion) > _HUGE * math.prod(engine.vae.shape)):
        return (
            f"the data are the cause, not the learning rate: they hold numbers up to {largest:.3g}; scale "
            "them, such as to a mean of 0 and a standard deviation of 1"
        )
    for name, weight in zip(
        engine.objective.schedules, engine.objective.coefficients(engine.steps), strict=True
    ):
        if abs(weight) >= _HUGE:
            return f"{name} = {weight:.3g} is the cause, not the learning rate; give a smaller one"
    if engine.steps and engine.skipped.read()[0] == engine.steps:
        return (
            "no learning rate would help, as the loss is not finite with the weights that training begins "
            "with either; look at the data and the objective"
        )
    return None


def _largest(engine: Engine, indices: NDArray[np.int64]) -> float:
    """Size of the largest number in these examples, in the units that the model sees."""
    found = 0.0
    for start in range(0, len(indices), _CHUNK):
        rows = torch.from_numpy(indices[start : start + _CHUNK]).to(engine.device)
        found = max(found, engine.batches[rows].abs().max().item())
    return found

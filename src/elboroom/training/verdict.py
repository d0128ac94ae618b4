"""Whether training has diverged, and the cause if it is not the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.training.step.engine import Engine
from elboroom.training.step.totals import First

# A model that learns never becomes so much worse than it was at the start.
_WORSE = 1e3
# Nats per dimension beyond which float32 cannot represent the change of one step.
_HOPELESS = 1e12
# Data, or a coefficient of the objective, of this size have the same effect.
_HUGE = 1e6
_LOOKED_AT, _CHUNK = 4096, 256


class Loss(NamedTuple):
    """The loss that is judged: distortion + beta · rate, nats per example, without penalties."""

    distortion: float
    rate: float
    beta: float

    @property
    def value(self) -> float:
        """The loss in nats; a rate with beta = 0 does not count."""
        return self.distortion + (self.beta * self.rate if self.beta else 0.0)


def diverged(
    row: Mapping[str, Any], first: First | None, dimensions: int, *, of_bound: bool = False
) -> str | None:
    """Return how the finite numbers of an epoch show that training has diverged, or None.

    Parameters
    ----------
    row : mapping
        Row of the history; if there is a validation part, its loss is judged.
    first : First or None
        Loss of the first step, before any weight was changed.
    dimensions : int
        Numbers in one example: a sensible loss is of the order of one nat for each.
    of_bound : bool
        Judge ``loss`` in place of distortion + beta · rate. A bound that weights several samples is good if
        one of them is, while the distortion, the mean over all of them, may grow without limit.

    Examples
    --------
    >>> row = {"epoch": 2, "distortion": 1e18, "rate": 3.0, "beta": 1.0}
    >>> diverged(row, First(40.0, 1.0), dimensions=64)
    'the loss in epoch 2 is 1e+18 nats per example, and was 41 in the first step'
    >>> diverged({**row, "distortion": 35.0}, First(40.0, 1.0), dimensions=64)
    >>> diverged({**row, "loss": 41.0}, First(40.0, 1.0), dimensions=64, of_bound=True)
    """
    part = "val_" if "val_distortion" in row else ""
    now = Loss(row[f"{part}distortion"], row[f"{part}rate"], row["beta"]).value
    if of_bound:
        now = row[f"{part}loss"]
    found = f"the loss in epoch {row['epoch']} is {now:.3g} nats per example"
    if first is not None:
        before = Loss(first.distortion, first.rate, row["beta"]).value
        if now > before + _WORSE * (abs(before) + dimensions):
            return f"{found}, and was {before:.3g} in the first step"
    return found if abs(now) > _HOPELESS * dimensions else None


def other_cause(engine: Engine, indices: NDArray[np.int64]) -> str | None:
    """Return the cause of divergence if it is not the learning rate, else None.

    Parameters
    ----------
    engine : Engine
        Engine of the training, in the state that was found to be bad.
    indices : array
        Rows of the training examples.
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
    """Return the largest absolute value in these examples, in model units."""
    found = 0.0
    for start in range(0, len(indices), _CHUNK):
        rows = torch.from_numpy(indices[start : start + _CHUNK]).to(engine.device)
        found = max(found, engine.batches[rows].abs().max().item())
    return found

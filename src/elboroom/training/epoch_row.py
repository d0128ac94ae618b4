"""The row that the history gets of a finished epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.training.checkpoints.recovery import Order, Recovery
from elboroom.training.step.engine import Engine, Means
from elboroom.training.validation import measure
from elboroom.training.verdict import diverged


class DivergingError(Exception):
    """The numbers are not finite, or far worse than at the beginning; the text says which and how."""


def finish_epoch(
    engine: Engine,
    recovery: Recovery,
    epoch: int,
    means: Means,
    seconds: float,
    order: Order,
    validation_indices: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Measure an epoch and step the learning-rate schedule.

    Parameters
    ----------
    engine, recovery
        Of the training.
    epoch : int
        Counted from 1.
    means : dict
        Of the epoch, by name.
    seconds : float
        Time that it took to train.
    order : sequence of arrays
        The epoch's batches, as rows of the data set.
    validation_indices : array
        Rows of the validation part; it may be empty.
    seed : int
        Of the noise in validation.

    Raises
    ------
    DivergingError
        If a number is not finite, or the loss far worse than in the first step.
    """
    _check_finite(recovery, epoch, {**means, "weights": engine.largest_norm()}, order[-1])
    row: dict[str, Any] = {"epoch": epoch, "step": engine.steps, **means}
    row |= {
        "beta": engine.objective.coefficients(engine.steps - 1)[0],
        "learning_rate": engine.learning_rate,
    }
    row |= {"images_per_second": sum(map(len, order)) / seconds, "seconds": seconds}
    skipped = engine.skipped.read()[1]
    if skipped:
        row["skipped_steps"] = skipped
    if len(validation_indices):
        measured = measure(engine, validation_indices, seed)
        found = {f"val_{name}": value for name, value in measured.items()}
        _check_finite(recovery, epoch, found, validation_indices[: len(order[-1])])
        row |= found
    several = engine.objective.num_samples > 1
    reason = diverged(row, engine.first, math.prod(engine.vae.shape), of_bound=several)
    if reason is not None:
        raise DivergingError(reason)
    engine.end_epoch(row.get("val_loss", row["loss"]))
    return row


def _check_finite(recovery: Recovery, epoch: int, means: Means, indices: NDArray[np.int64]) -> None:
    for name, value in means.items():
        if value is not None and not math.isfinite(value):
            found = recovery.explain(indices)
            raise DivergingError(f"{name} is {value} in epoch {epoch} ({found})")

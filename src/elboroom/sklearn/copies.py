"""Copies of training rows: with noise against learning few rows by heart, or as often as they weigh."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.data.columns import fitted_columns
from elboroom.errors import UsageError
from elboroom.probability.columns.numbers import NumberColumns
from elboroom.probability.mixed import MixedHead
from elboroom.sklearn.weights import resampled

_ROWS, _FEWEST_EPOCHS = 4_000, 20  # of all copies together; and with these, so that a schedule has steps
_MOST = 0.5


def usual_noise(rows: int) -> float:
    """2/√n, at most 0.5: standard deviation of the noise, in those of the columns, for n training rows.

    Examples
    --------
    >>> usual_noise(100), usual_noise(4)
    (0.2, 0.5)
    """
    return min(_MOST, 2 / math.sqrt(rows))


def check_noise(noise: Any) -> None:
    """Refuse noise that is not a finite number of at least 0."""
    if isinstance(noise, bool) or not isinstance(noise, float | int | np.number) or not 0 <= noise < math.inf:
        raise UsageError(f"noise = {noise!r}: must be a number, 0 or more, or None for the default")


def with_copies(
    data: Dataset,
    config: Config,
    noise: float = 0.0,
    weights: NDArray[np.float64] | None = None,
    adjusted: Callable[[Sequence[Column]], tuple[Column, ...]] = tuple,
) -> tuple[Dataset, Config]:
    """Put copies in the place of the training rows; the epochs are as many passes as before.

    A pass over k copies takes the place of k passes, each with other noise. The columns are those of the rows
    without noise, and so are rows that are held out for validation. With weights, n rows are drawn k n times
    in proportion to them; validation and columns follow the weights too. With neither, k is 1.

    Parameters
    ----------
    data : Dataset
        Rows (n, d), all for training.
    config : Config
        Of the training, with its share for validation.
    noise : float
        Standard deviation of the noise, in those of the columns; see :func:`perturbed`.
    weights : array, optional
        Weights of the rows (n,), above 0.
    adjusted : callable, optional
        Changes the columns after they are fitted to the rows.
    """
    data = data.with_validation(config.data.validation or 0.0, config.training.seed)
    train, held = data.indices("train"), data.indices("validation")
    passes, patience = config.training.epochs, config.training.patience
    differ = bool(noise) or weights is not None
    copies = max(1, min(math.ceil(_ROWS / len(train)), passes // _FEWEST_EPOCHS)) if differ else 1
    rng = np.random.default_rng(config.training.seed)
    basis, chosen = train, np.tile(train, copies)
    if weights is not None:
        chosen, held = (_drawn(part, weights[part], copies, rng) for part in (train, held))
        basis = chosen
    x, columns = (
        np.asarray(data.x, np.float64),
        adjusted(fitted_columns(_of_rows(data, basis, data.x[basis]))),
    )
    moved = perturbed(x[chosen], columns, noise, rng) if noise else x[chosen]
    every = np.concatenate([chosen, held])
    copied = replace(_of_rows(data, every, np.concatenate([moved, x[held]])), columns=columns)
    if patience is not None:
        patience = math.ceil(patience / copies)
    options: dict[str, Any] = {"epochs": math.ceil(passes / copies), "patience": patience, "validation": 0.0}
    if columns:  # of the rows without noise
        options |= {"likelihood": "mixed", "columns": columns}
    return copied, config.updated(**options)


def _of_rows(data: Dataset, rows: NDArray[np.int64], x: NDArray[np.float64]) -> Dataset:
    return replace(data, x=x, split=data.split[rows])


def _drawn(
    rows: NDArray[np.int64], weights: NDArray[np.float64], copies: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of rows, ``copies`` times as many, in proportion to their weights."""
    return rows[resampled(weights, copies * len(rows), rng)] if len(rows) else rows


def perturbed(
    x: NDArray[np.float64], columns: tuple[Column, ...], noise: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Rows (n, d) with normal noise on their real numbers, as the model sees them: standardised, or of log x.

    Counts, categories and missing cells stay as they are. Without ``columns`` all numbers are real.
    """
    drawn = noise * rng.standard_normal(x.shape)
    if not columns:
        return x + x.std(0) * drawn
    head, found = MixedHead((len(columns),), columns=columns).double(), x.copy()
    for family, places in zip(head.families, head.places, strict=True):
        if isinstance(family, NumberColumns):
            cells = torch.from_numpy(x[:, places])
            known = torch.where(cells.isnan(), family.fill, cells)
            moved = family.original(family.standardized(known)[0] + torch.from_numpy(drawn[:, places]))
            found[:, places] = torch.where(cells.isnan(), cells, moved).numpy()
    return found

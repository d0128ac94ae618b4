"""Columns with heavy tails made normal, and scores in units in which columns are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config.columns import Column
from elboroom.probability.mixed import MixedHead
from elboroom.scoring.contributions import Contributions
from elboroom.scoring.measures import Scores

_FEWEST_VALUES = 20  # different ones, from which on the shape of a column is judged
_SKEWED, _HEAVY = 1.0, 5.0  # skewness and kurtosis; those of a normal distribution are 0 and 3


def made_normal(
    columns: Sequence[Column], x: NDArray[np.float64], declared: Collection[str]
) -> tuple[Column, ...]:
    """Give real columns that are skewed or have heavy tails the quantile family; not those ``declared``.

    Parameters
    ----------
    columns : sequence of Column
        Of the d columns.
    x : array
        Training rows (n, d); cells may be nan.
    declared : collection of str
        Names of columns whose family is settled.
    """
    return tuple(
        Column(**{**dict(column), "family": "quantile"})
        if column.family == "gaussian" and column.name not in declared and has_heavy_tails(x[:, i])
        else column
        for i, column in enumerate(columns)
    )


def steep_beyond(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Let quantile columns rise beyond the outermost training cells at least as if they were standardised.

    Between these cells the line through the quantiles is flat along a long tail. Nothing is known of the tail
    beyond them, and a number far outside should not count for less than in a column without a tail.

    Examples
    --------
    >>> tail = Column(name="a", kind="real", family="quantile", scale=2.0, knots=(0, 1, 9), levels=(-1, 0, 1))
    >>> (found,) = steep_beyond([tail])
    >>> found.knots, found.levels  # at 9 the slope of 1/8 becomes 1/2
    ((0.0, 1.0, 9.0, 11.0), (-1.0, 0.0, 1.0, 2.0))
    """
    return tuple(
        _steep(column) if column.family == "quantile" and column.knots else column for column in columns
    )


def _steep(column: Column) -> Column:
    knots, levels, scale = list(column.knots), list(column.levels), column.scale
    if (levels[1] - levels[0]) * scale < knots[1] - knots[0]:
        knots, levels = [knots[0] - scale, *knots], [levels[0] - 1, *levels]
    if (levels[-1] - levels[-2]) * scale < knots[-1] - knots[-2]:
        knots, levels = [*knots, knots[-1] + scale], [*levels, levels[-1] + 1]
    return Column(**{**dict(column), "knots": tuple(knots), "levels": tuple(levels)})


def has_heavy_tails(cells: NDArray[np.float64]) -> bool:
    """Whether numbers (n,) of at least 20 different values have a skewness beyond ±1 or a kurtosis above 5.

    Examples
    --------
    >>> normal = np.random.default_rng(0).normal(size=500)
    >>> has_heavy_tails(normal), has_heavy_tails(np.exp(normal))
    (False, True)
    """
    known = cells[~np.isnan(cells)]
    if len(np.unique(known)) < _FEWEST_VALUES:
        return False
    standard = (known - known.mean()) / known.std()
    return bool(abs((standard**3).mean()) > _SKEWED or (standard**4).mean() > _HEAVY)


def in_normal_units(scores: Scores, head: MixedHead, x: NDArray[np.float64]) -> Scores:
    """Turn −log p(x) of rows (n, d) into −log p(y), of the standardised numbers y that the model sees.

    What a density says of odd rows depends on the units (arXiv:2012.03808): in those of a column with a long
    tail the tail is thin, and each of its values improbable, while other columns hardly count.
    """
    slopes = head.log_slopes(torch.tensor(x)).numpy()
    parts = Contributions(scores.contributions.by_column + slopes, scores.contributions.latent)
    return replace(scores, value=scores.value + slopes.sum(1), contributions=parts)

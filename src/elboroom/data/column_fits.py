"""What the likelihood of a column needs to know of its training data: location, scale, quantiles."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from elboroom.config.columns import COUNTS, MIXTURE_COMPONENTS, WITH_CATEGORIES, Column
from elboroom.data.rows import Array

_QUANTILES, _KNOTS = 513, 33  # looked at, and kept at most
_CLOSE = 0.02  # what a standard normal number may be off between two knots
_LEAST_GAP = 1e-4  # of two knots, as a share of the distance of the outer deciles
_LEAST_SCALE = 1e-6  # as a share of the location, which float32 can tell
_NORMAL_QUARTILES = 1.349  # their distance


def fitted_column(column: Column, cells: Array) -> Column:
    """Return a column with the location and scale of its training cells, and the knots of its family.

    Missing cells (nan) are left out. A column of one value has the scale 1.

    Parameters
    ----------
    column : Column
        Its kind and family.
    cells : array
        Training cells in the column's units, (n,).

    Examples
    --------
    >>> fitted_column(Column(name="age", kind="real"), np.array([20.0, 40.0, np.nan])).location
    30.0
    """
    known = np.sort(cells[~np.isnan(cells)].astype(np.float64))
    if column.kind in WITH_CATEGORIES or not len(known):
        return column
    known = seen_as(column, known)
    location, scale = float(known.mean()), float(known.std())
    if column.family == "student_t":
        low, location, high = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
        scale = (high - low) / _NORMAL_QUARTILES or scale
    scale = (max(scale, _LEAST_SCALE * abs(location)) or 1.0) if scale > 0 else 1.0
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    if column.family == "quantile":
        knots, levels = _normal_quantiles(known)
    elif column.family == "mixture":
        knots = tuple(np.quantile(known, (np.arange(MIXTURE_COMPONENTS) + 0.5) / MIXTURE_COMPONENTS).tolist())
    found = {"location": location, "scale": scale, "knots": knots, "levels": levels}
    return Column(**{**dict(column), **found})


def seen_as(column: Column, cells: Array) -> Array:
    """Return log(1 + x) of counts, log x of positive numbers where the family takes it, otherwise x."""
    if column.family in COUNTS:
        return np.log1p(cells)
    return np.log(cells) if column.logged else cells


def _normal_quantiles(cells: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots and levels of sorted cells: as few as a broken line through their quantiles needs."""
    n = max(2, len(cells))
    outermost = NormalDist().inv_cdf(1 - 0.5 / n)
    y = np.linspace(-outermost, outermost, min(_QUANTILES, n))
    shares = np.array([NormalDist().cdf(level) for level in y])
    # Between the middles of the smallest and the largest cell.
    x = np.interp(shares * n - 0.5, np.arange(len(cells)), cells)
    low, high = np.quantile(cells, (0.1, 0.9))
    x, y = _without_ties(x, y, _LEAST_GAP * ((high - low) or (cells[-1] - cells[0])))
    if len(x) < 2:
        return (), ()
    kept = [0, len(x) - 1]
    while len(kept) < min(_KNOTS, len(x)):
        gap = np.abs(np.interp(x, x[kept], y[kept]) - y)
        worst = int(gap.argmax())
        if gap[worst] <= max(_CLOSE, 1 / np.sqrt(n)):
            break
        kept = sorted([*kept, worst])
    return tuple(x[kept].tolist()), tuple(y[kept].tolist())


def _without_ties(x: Array, y: Array, gap: float) -> tuple[Array, Array]:
    """Points whose x are at least ``gap`` apart; of those that are nearer the first, with their mean y."""
    groups: list[list[int]] = []
    for i, value in enumerate(x):
        if groups and value - x[groups[-1][0]] <= gap:
            groups[-1].append(i)
        else:
            groups.append([i])
    return np.array([x[g[0]] for g in groups]), np.array([y[g].mean() for g in groups])

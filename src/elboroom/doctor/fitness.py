"""Diseases of the data: a likelihood that does not fit them, and numbers that are not scaled."""

from __future__ import annotations

import numpy as np

from elboroom.doctor.chart import Chart
from elboroom.doctor.finding import Finding

_GREY = 0.5
_EDGE = 0.05
_SPREAD = 30.0
_LARGE = 10.0
_OVERDISPERSED = 2.0
_REAL = ("gaussian", "laplace", "student_t")


def grey(chart: Chart) -> Finding | None:
    """Grey pixels under a Bernoulli likelihood, which is for zeros and ones."""
    x = chart.values
    if x is None or chart.config.model.likelihood != "bernoulli" or chart.config.data.binarize != "none":
        return None
    share = float(((x > _EDGE) & (x < 1 - _EDGE)).mean())
    if share <= _GREY:
        return None
    said = (
        f"{share:.0%} of the values lie between {_EDGE:g} and {1 - _EDGE:g}, and the Bernoulli likelihood is "
        "for 0 and 1"
    )
    return Finding(
        said, {"grey": share}, {"likelihood": "continuous_bernoulli"}, "has a density for values in between"
    )


def counts(chart: Chart) -> Finding | None:
    """Counts under a likelihood of real numbers."""
    x = chart.values
    if x is None or chart.config.model.likelihood not in _REAL or x.ndim > 2:
        return None
    if x.min() < 0 or x.max() <= 1 or bool((x != np.round(x)).any()):
        return None
    mean, variance = x.mean(0, dtype=np.float64), x.var(0, dtype=np.float64)
    ratio = float(variance.sum() / mean.sum())
    said = (
        f"all values are whole numbers from {int(x.min())} to {int(x.max())}, with variances {ratio:.3g} "
        f"times the means, and the {chart.config.model.likelihood} likelihood is for real numbers"
    )
    which = "poisson" if ratio < _OVERDISPERSED else "negative_binomial"
    return Finding(said, {"ratio": ratio}, {"likelihood": which}, "is for counts")


def unscaled(chart: Chart) -> Finding | None:
    """Columns of very different size, or far from 0, in a model that takes them as they are."""
    x, model = chart.values, chart.config.model
    if x is None or model.likelihood not in _REAL or model.standardize or x.ndim > 2:
        return None
    means, spreads = np.abs(x.mean(0, dtype=np.float64)), x.std(0, dtype=np.float64)
    spreads, means = spreads[spreads > 0], means[spreads > 0]
    if not len(spreads):
        return None
    ratio, largest = float(spreads.max() / spreads.min()), float(spreads.max())
    offset = float((means / spreads).max())
    if ratio <= _SPREAD and largest <= _LARGE and offset <= _LARGE:
        return None
    said = (
        f"standard deviations of the columns range from {spreads.min():.3g} to {largest:.3g}, and means up "
        f"to {means.max():.3g}"
    )
    known = {"smallest": float(spreads.min()), "largest": largest, "largest_mean": float(means.max())}
    return Finding(
        said, known, {"standardize": True}, "brings all columns to mean 0 and standard deviation 1"
    )

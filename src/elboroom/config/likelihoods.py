"""The likelihoods by name: what their nats measure, and which options each takes.

A new likelihood is a head in ``elboroom.probability``, a line in ``probability/likelihoods.py`` and a row
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elboroom.config.sections import Uses, uses_of

Measure = Literal["binary", "density", "levels", "counts"]


@dataclass(frozen=True)
class LikelihoodRow:
    """What the configuration and the comparison of models know of a likelihood.

    Attributes
    ----------
    measure : {"binary", "density", "levels", "counts"}
        What log p(x|z) is the logarithm of: a probability of zeros and ones, a density, or a probability of
        pixel levels or of counts. Values of two measures cannot be compared.
    options : tuple of str
        The fields of the model's configuration that its head takes.
    """

    measure: Measure
    options: tuple[str, ...] = ()


_SCALED = ("likelihood_scale", "learn_scale", "output", "standardize")

LIKELIHOODS: dict[str, LikelihoodRow] = {
    "bernoulli": LikelihoodRow("binary"),
    "continuous_bernoulli": LikelihoodRow("density"),
    "gaussian": LikelihoodRow("density", _SCALED),
    "laplace": LikelihoodRow("density", _SCALED),
    "student_t": LikelihoodRow("density", (*_SCALED, "df", "learn_df")),
    "categorical": LikelihoodRow("levels", ("levels",)),
    "discretized_logistic": LikelihoodRow("levels", ("levels", "mixtures")),
    "poisson": LikelihoodRow("counts"),
    "negative_binomial": LikelihoodRow("counts", ("dispersion",)),
    "zero_inflated_negative_binomial": LikelihoodRow("counts", ("dispersion",)),
}


def with_measure(measure: Measure) -> tuple[str, ...]:
    """Names of the likelihoods of a measure.

    Examples
    --------
    >>> with_measure("levels")
    ('categorical', 'discretized_logistic')
    """
    return tuple(name for name, row in LIKELIHOODS.items() if row.measure == measure)


def takers_of_options() -> Uses:
    """Which likelihoods take each option, as `elboroom.config.sections.check_in_use` reads it."""
    return uses_of("likelihood", {name: row.options for name, row in LIKELIHOODS.items()})

"""The likelihoods by name: what their nats measure, and which options each takes.

A new likelihood is a head in ``elboroom.probability``, a line in ``probability/likelihoods.py`` and a row
here. Its choice on the command line, its help, how models are compared, and the tests that hold for all
likelihoods follow from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elboroom.config.sections import join

Measure = Literal["binary", "density", "levels", "counts", "cells"]


@dataclass(frozen=True)
class LikelihoodRow:
    """What the configuration and the comparison of models know of a likelihood.

    Attributes
    ----------
    data : str
        What it is for: a phrase for the help, shared by all likelihoods of such data.
    measure : {"binary", "density", "levels", "counts", "cells"}
        What log p(x|z) is the logarithm of: a probability of zeros and ones, a density, a probability of
        pixel levels or of counts, or a product of densities and probabilities of cells. Values of two
        measures cannot be compared.
    options : tuple of str
        The fields of the model's configuration that its head takes.
    """

    data: str
    measure: Measure
    options: tuple[str, ...] = ()


_SCALED = ("likelihood_scale", "learn_scale", "output", "standardize")

LIKELIHOODS: dict[str, LikelihoodRow] = {
    "bernoulli": LikelihoodRow("data in [0, 1]", "binary", ("output_bias",)),
    "continuous_bernoulli": LikelihoodRow("data in [0, 1]", "density"),
    "gaussian": LikelihoodRow("real numbers", "density", _SCALED),
    "laplace": LikelihoodRow("real numbers", "density", _SCALED),
    "student_t": LikelihoodRow("real numbers", "density", (*_SCALED, "df", "learn_df")),
    "categorical": LikelihoodRow("8-bit pixels", "levels", ("levels",)),
    "discretized_logistic": LikelihoodRow("8-bit pixels", "levels", ("levels", "mixtures")),
    "poisson": LikelihoodRow("counts", "counts"),
    "negative_binomial": LikelihoodRow("counts", "counts", ("dispersion",)),
    "zero_inflated_negative_binomial": LikelihoodRow("counts", "counts", ("dispersion",)),
    "mixed": LikelihoodRow("tables", "cells", ("columns",)),
}


def with_measure(measure: Measure) -> tuple[str, ...]:
    """Names of the likelihoods of a measure.

    Examples
    --------
    >>> with_measure("levels")
    ('categorical', 'discretized_logistic')
    """
    return tuple(name for name, row in LIKELIHOODS.items() if row.measure == measure)


def help_of_likelihoods() -> str:
    """Help of the option that chooses the likelihood.

    Examples
    --------
    >>> help_of_likelihoods()[:69]
    'Likelihood p(x|z): bernoulli or continuous_bernoulli for data in [0, '
    """
    of_data: dict[str, list[str]] = {}
    for name, row in LIKELIHOODS.items():
        of_data.setdefault(row.data, []).append(name)
    each = "; ".join(f"{join(names, 'or')} for {data}" for data, names in of_data.items())
    auto = "auto takes gaussian for photos, mixed for tables and bernoulli for all other data."
    return f"Likelihood p(x|z): {each}. {auto}"

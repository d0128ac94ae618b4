"""What a decoder parametrises: p(x|z), and the heads that turn features into it.

A likelihood has ``mean`` (..., *shape), ``log_prob(x)`` summed over the data dimensions (nats, (...))
and ``sample()``. A head is a module with ``in_shape``, what the network must put out for one example,
``support``, the closed interval its data must lie in (None: any real number), ``spacing``, the distance
between the values that its data may take (None: any in the interval), and ``measure``, what exp(log_prob) is:
a "density", the "mass" of each value, or None where it is neither.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from torch import Tensor

from elboroom.probability.bernoulli import BernoulliHead
from elboroom.probability.counts import NegativeBinomialHead, PoissonHead
from elboroom.probability.discretized import CategoricalHead, DiscretizedLogisticHead
from elboroom.probability.location_scale import GaussianHead, LaplaceHead, StudentTHead
from elboroom.probability.parameters import Measure


class Likelihood(Protocol):
    """p(x|z) for codes of any leading shape."""

    @property
    def mean(self) -> Tensor:
        """The picture to show, (..., *shape)."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density or log-mass of x (b, *shape) in nats, summed over its dimensions: (..., b)."""
        ...

    def sample(self) -> Tensor:
        """Draw one observation per code, (..., *shape)."""
        ...


class LikelihoodHead(Protocol):
    """Features (..., *in_shape) → :class:`Likelihood`; a module, which may hold parameters."""

    in_shape: tuple[int, ...]
    support: tuple[float, float] | None
    spacing: float | None
    measure: Measure | None

    def __call__(self, features: Tensor) -> Likelihood:
        """p(x|z) of codes of any leading shape."""
        ...


LIKELIHOODS: dict[str, Callable[..., LikelihoodHead]] = {
    "bernoulli": BernoulliHead,
    "continuous_bernoulli": partial(BernoulliHead, continuous=True),
    "gaussian": GaussianHead,
    "laplace": LaplaceHead,
    "student_t": StudentTHead,
    "categorical": CategoricalHead,
    "discretized_logistic": DiscretizedLogisticHead,
    "poisson": PoissonHead,
    "negative_binomial": NegativeBinomialHead,
    "zero_inflated_negative_binomial": partial(NegativeBinomialHead, zero_inflated=True),
}
"""What a configuration may name: shape of one example, and options → head."""

"""What a decoder parametrises: p(x|z), and the heads that turn features into it.

A likelihood has ``mean`` (..., *shape), ``log_prob(x)`` summed over the data dimensions (nats, (...))
and ``sample()``. A head is a module with ``in_shape``, what the network must put out for one example,
``support``, the closed interval its data must lie in (None: any real number), ``spacing``, the distance
between the values that its data may take (None: any in the interval), and ``measure``, what exp(log_prob) is:
a "density", the "mass" of each value, or None where it is neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from elboroom.probability.bernoulli import BernoulliHead
from elboroom.probability.counts import NegativeBinomialHead, PoissonHead
from elboroom.probability.discretized import CategoricalHead, DiscretizedLogisticHead
from elboroom.probability.location_scale import GaussianHead, LaplaceHead, StudentTHead
from elboroom.probability.mixed import MixedHead
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


def log_prob_by_number(likelihood: Any, x: Tensor) -> Tensor:
    """Log-density or log-mass of each number of x (b, *shape), (..., b, *shape), nats.

    The numbers of an example are independent given the code, so these add up to ``log_prob``. Columns of a
    mixed table may be missing (NaN) and then give 0.

    Parameters
    ----------
    likelihood : Likelihood
        p(x|z) as a head of this package makes it.
    x : Tensor
        Examples.

    Examples
    --------
    >>> import torch
    >>> likelihood = GaussianHead((2,), scale=1.0)(torch.zeros(3, 1, 2))
    >>> x = torch.tensor([[0.0, 2.0]])
    >>> log_prob_by_number(likelihood, x).shape
    torch.Size([3, 1, 2])
    >>> torch.allclose(log_prob_by_number(likelihood, x).sum(-1), likelihood.log_prob(x))
    True
    """
    if hasattr(likelihood, "log_prob_by_column"):
        found: Tensor = likelihood.log_prob_by_column(x)
        return found
    parts: dict[str, Any] = {"event_dims": 0}
    if hasattr(likelihood, "inner"):
        parts["inner"] = dataclasses.replace(likelihood.inner, event_dims=0)
    each: Tensor = dataclasses.replace(likelihood, **parts).log_prob(x)
    return each


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
    "mixed": MixedHead,
}
"""What a configuration may name: shape of one example, and options → head."""

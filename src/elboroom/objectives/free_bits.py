"""Free bits: a minimum rate that costs nothing (arXiv:1606.04934 eq. 14–16)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.objectives.bounds import Bound
from elboroom.probability import DiagonalGaussian, StandardNormal
from elboroom.probability.conditional_prior import GivenNormal


def free_bits(nats: float) -> Bound:
    """−(distortion + beta · Σⱼ max(λ, mean rate of part j)), (b,), nats.

    A part is a dimension of a diagonal Gaussian code, or a layer of a ladder. As in the paper the mean over
    the batch is taken *before* the maximum: a part whose mean rate is below λ gets no gradient from the rate,
    so nothing drives it to 0. With several processes, each takes the mean over its own part of the batch.

    Parameters
    ----------
    nats : float
        λ, the free rate of each part.

    Raises
    ------
    UsageError
        If ``nats`` is not above 0, or, when the bound is called, if the rates of parts have no closed form.

    Examples
    --------
    >>> from elboroom.objectives import Objective
    >>> objective = Objective(bound=free_bits(0.5))
    """
    if not 0 < nats < math.inf:
        raise UsageError(f"free_bits({nats}): give nats above 0, such as 0.5")

    def bound(terms: Terms, beta: Tensor) -> Tensor:
        floored = rates_of_parts(terms).mean(1).clamp(min=nats).sum()
        return -(terms.distortion + beta * floored)

    return bound


def rates_of_parts(terms: Terms) -> Tensor:
    """Rate of each latent dimension, (d, b), or of each layer, (L, b), in nats; their sum is the rate.

    Raises
    ------
    UsageError
        If these rates have no closed form.
    """
    q: Any = terms.posterior
    if terms.rates is not None and q.closed_form_rates:
        return terms.rates
    if isinstance(q, DiagonalGaussian) and isinstance(terms.prior, StandardNormal | GivenNormal):
        mean, scale = q.mean, q.scale
        if isinstance(terms.prior, GivenNormal):
            mean, scale = (mean - terms.prior.mean) / terms.prior.scale, scale / terms.prior.scale
        return (0.5 * (mean.square() + scale.square() - 1) - scale.log()).T
    raise UsageError(
        f"free bits need the rate of each dimension or layer in closed form, and {type(q).__name__} with "
        f"{type(terms.prior).__name__} has none; take a diagonal Gaussian with a normal prior, or a ladder"
    )

"""Free bits: a rate that costs nothing until it is worth something (arXiv:1606.04934 eq. 14–16)."""

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

    A part is a dimension of a diagonal Gaussian code, or a layer of a ladder. As in the paper the mean is
    taken over the batch *before* the maximum: a part whose mean rate is below λ gets no gradient from the
    rate, and so no reason to fall to 0. (The batch is a process's own part of it, where there are several.)

    Parameters
    ----------
    nats : float
        λ, for each part.

    Raises
    ------
    UsageError
        If ``nats`` is not above 0; when called, if there is no closed form of each part's rate.

    Examples
    --------
    >>> from elboroom.objectives import Objective
    >>> objective = Objective(bound=free_bits(0.5))
    """
    if not 0 < nats < math.inf:
        raise UsageError(f"free_bits({nats}): nats above 0, such as 0.5")

    def bound(terms: Terms, beta: Tensor) -> Tensor:
        held = rates_of_parts(terms).mean(1).clamp(min=nats).sum()
        return -(terms.distortion + beta * held)

    return bound


def rates_of_parts(terms: Terms) -> Tensor:
    """Rate of each latent dimension, (d, b), or layer, (L, b), in nats; they add up to the rate.

    Raises
    ------
    UsageError
        If it is not known in closed form.
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
        f"free bits are of dimensions or layers whose rate is known in closed form, and {type(q).__name__} "
        f"with {type(terms.prior).__name__} has none; take a diagonal Gaussian with a normal prior, or a "
        "ladder"
    )

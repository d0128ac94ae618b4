"""KL(q(z|x) ‖ p(z)): in closed form where the pair of types has one, else by Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from elboroom.probability.posteriors import DiagonalGaussian, Posterior
from elboroom.probability.priors import StandardNormal


def _gaussian_to_standard_normal(q: DiagonalGaussian, _p: StandardNormal) -> Tensor:
    variance = q.scale.square()
    return 0.5 * (q.mean.square() + variance - 1.0 - variance.log()).sum(-1)


CLOSED_FORMS: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {
    (DiagonalGaussian, StandardNormal): _gaussian_to_standard_normal,
}


def rate(q: Posterior, p: Any, z: Tensor, log_q: Tensor) -> Tensor:
    """Information the code carries, KL(q ‖ p).

    Parameters
    ----------
    q, p
        Posterior of b examples, and prior.
    z, log_q : Tensor
        Samples (k, b, d) from q with their log-densities (k, b); used only without a closed form.

    Returns
    -------
    Tensor
        (b,), nats per example; ≥ 0 in closed form, unbiased and of either sign by Monte Carlo.

    Examples
    --------
    >>> import torch
    >>> q = DiagonalGaussian(torch.ones(1, 1), torch.ones(1, 1))
    >>> rate(q, StandardNormal(1), *q.rsample_and_log_prob(1)).item()  # ½μ²
    0.5
    """
    closed_form = CLOSED_FORMS.get((type(q), type(p)))
    if closed_form is not None:
        return closed_form(q, p)
    return (log_q - p.log_prob(z)).mean(0)

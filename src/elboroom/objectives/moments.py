"""Penalties on the moments of codes: their covariance (DIP-VAE) and their norm (RAE)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.terms import Terms


def code_norm(terms: Terms) -> Tensor:
    """½‖z‖², mean over codes: replaces the rate of a deterministic posterior (RAE, arXiv:1903.12436).

    Up to a constant it is −log p(z) in nats under the standard normal.
    """
    return 0.5 * terms.z.square().sum(-1).mean()


def decorrelation(
    variant: Literal["I", "II"] = "I", diagonal: float | None = None
) -> Callable[[Terms], Tensor]:
    """Penalty Σᵢ≠ⱼ Cᵢⱼ² + ``diagonal`` · Σᵢ (Cᵢᵢ − 1)² on a covariance (DIP-VAE, arXiv:1711.00848).

    It pushes the covariance C towards the identity. Its weight in the objective is the paper's λ_od, and
    ``diagonal`` is λ_d / λ_od.

    Parameters
    ----------
    variant : {"I", "II"}
        I: C is the covariance of the posterior means. II: C is that of the codes, E[Cov(z|x)] + Cov(E[z|x]).
        Both are averages over the batch, divided by its size b.
    diagonal : float, optional
        Default: the paper's, 10 for I and 1 for II.

    Raises
    ------
    UsageError
        If an argument is out of range, or, when called with II, if the posterior has neither ``covariance``
        (b, d, d) nor, being a product over its dimensions, ``variance`` (b, d).
    """
    if variant not in ("I", "II"):
        raise UsageError(f"variant = {variant!r}: give 'I' (posterior means) or 'II' (codes)")
    weight = {"I": 10.0, "II": 1.0}[variant] if diagonal is None else diagonal
    if weight < 0:
        raise UsageError(f"diagonal = {weight:g}: must be at least 0")

    def penalty(terms: Terms) -> Tensor:
        mean = terms.posterior.mean  # (b, d)
        centred = mean - mean.mean(0)
        covariance = centred.T @ centred / len(mean)
        if variant == "II":
            covariance = covariance + _mean_covariance(terms)
        variances = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variances.square().sum()
        return off_diagonal + weight * (variances - 1).square().sum()

    return penalty


def _mean_covariance(terms: Terms) -> Tensor:
    """E[Cov(z|x)] over the batch, (d, d)."""
    posterior = terms.posterior
    covariance: Tensor | None = getattr(posterior, "covariance", None)
    if covariance is not None:
        return covariance.mean(0)
    # Variances determine the covariance only if the dimensions are independent given x.
    variance: Tensor | None = getattr(posterior, "variance", None)
    if variance is not None and hasattr(posterior, "marginal_log_prob"):
        return torch.diag(variance.mean(0))
    raise UsageError(
        f"decorrelation('II') needs the posterior's covariance, and {type(posterior).__name__} has none; "
        "use 'I', or a Gaussian posterior"
    )

"""The rate KL(q(z|x) ‖ p(z)): in closed form if the pair of types has one, otherwise by Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.probability.codes import AutoregressiveCodes, UniformCodes
from elboroom.probability.conditional_prior import GivenNormal
from elboroom.probability.full_gaussian import FullGaussian
from elboroom.probability.posteriors import Deterministic, DiagonalGaussian, Posterior
from elboroom.probability.priors import StandardNormal, VampPrior
from elboroom.probability.quantized import Quantized
from elboroom.probability.spherical import PowerSpherical, UniformSphere


def _gaussian_to_standard_normal(q: DiagonalGaussian, _p: StandardNormal) -> Tensor:
    # Few and cheap operations: with small networks they take a considerable part of a step.
    squares = torch.addcmul(q.scale.square(), q.mean, q.mean)
    return 0.5 * squares.sum(-1) - q.scale.log().sum(-1) - 0.5 * q.mean.shape[-1]


def _gaussian_to_given_normal(q: DiagonalGaussian | FullGaussian, p: GivenNormal) -> Tensor:
    # The trace against a diagonal covariance needs only q's variances, and |det mixing| = 1.
    squares = (q.variance + (q.mean - p.mean).square()) / p.scale.square()
    return (0.5 * (squares - 1.0) + p.scale.log() - q.scale.log()).sum(-1)


def _full_gaussian_to_standard_normal(q: FullGaussian, _p: StandardNormal) -> Tensor:
    # The trace of the covariance by columns of the mixing, which have length 1 if it is orthogonal.
    variance = q.scale.square()
    spread = variance if q.orthogonal else variance * q.mixing.square().sum(-2)
    return 0.5 * (q.mean.square() + spread - 1.0 - variance.log()).sum(-1)


def _power_spherical_to_uniform(q: PowerSpherical, _p: UniformSphere) -> Tensor:
    return q.rate_to_uniform()


def _nats_of_indices(q: Quantized, p: UniformCodes | AutoregressiveCodes) -> Tensor:
    return -p.log_prob_of(q.indices)


def _zero(q: Deterministic, _p: Any) -> Tensor:
    return q.mean.new_zeros(len(q.mean))


CLOSED_FORMS: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {
    (DiagonalGaussian, StandardNormal): _gaussian_to_standard_normal,
    (FullGaussian, StandardNormal): _full_gaussian_to_standard_normal,
    (DiagonalGaussian, GivenNormal): _gaussian_to_given_normal,
    (FullGaussian, GivenNormal): _gaussian_to_given_normal,
    (PowerSpherical, UniformSphere): _power_spherical_to_uniform,
    (Quantized, UniformCodes): _nats_of_indices,
    (Quantized, AutoregressiveCodes): _nats_of_indices,
}


def rate(q: Posterior, p: Any, z: Tensor, log_q: Tensor) -> Tensor:
    """Rate KL(q ‖ p), the information in the code.

    Parameters
    ----------
    q, p
        Posterior of b examples, and prior.
    z, log_q : Tensor
        Samples (k, b, d) from q with their log-densities (k, b); used only without a closed form.

    Returns
    -------
    Tensor
        (b,), nats per example; ≥ 0 in closed form, unbiased and of either sign by Monte Carlo. By convention
        0 for a :class:`Deterministic` posterior, since a point has no finite KL to a density.

    Raises
    ------
    UsageError
        If the codes of q and of p are not in the same space.

    Examples
    --------
    >>> import torch
    >>> q = DiagonalGaussian(torch.ones(1, 1), torch.ones(1, 1))
    >>> rate(q, StandardNormal(1), *q.rsample_and_log_prob(1)).item()  # ½μ²
    0.5
    """
    closed_form = find_closed_form(q, p)
    if closed_form is not None:
        return closed_form(q, p)
    _check_space(type(q), p)
    return (log_q - p.log_prob(z)).mean(0)


def find_closed_form(q: Posterior, p: Any) -> Callable[[Any, Any], Tensor] | None:
    """Function (q, p) → KL(q ‖ p) for this pair of types, (b,), nats; None without a closed form."""
    if isinstance(q, Deterministic):
        _check_space(type(q), p)
        return _zero
    return CLOSED_FORMS.get((type(q), type(p)))


def check_pair(head: nn.Module, prior: nn.Module) -> None:
    """Refuse a posterior head and a prior that do not go together.

    Parameters
    ----------
    head : nn.Module
        Head of a posterior, with ``latent_dim`` and, if its class is known, ``makes``.
    prior : nn.Module
        With ``latent_dim``.

    Raises
    ------
    UsageError
        If their numbers of dimensions differ; if the codes of only one are on a sphere or in a codebook; if a
        VampPrior gets a posterior without a density.
    """
    if getattr(head, "latent_dim", prior.latent_dim) != prior.latent_dim:
        raise UsageError(
            f"{type(head).__name__} has latent_dim = {head.latent_dim} and {type(prior).__name__} has "
            f"{prior.latent_dim}; build both with the same latent_dim"
        )
    makes = getattr(head, "makes", None)
    if makes is None:
        return
    _check_space(makes, prior)
    if isinstance(prior, VampPrior) and not hasattr(makes, "log_prob"):
        raise UsageError(
            f"a VampPrior is a mean of densities q(z|u), and {makes.__name__} has none at arbitrary z; "
            "take a diagonal, full, householder or power_spherical posterior, or another prior"
        )


def _check_space(posterior: type, prior: Any) -> None:
    if isinstance(prior, VampPrior):
        return  # a mixture of posteriors, on the same space as they
    q_space, p_space = (getattr(part, "space", None) for part in (posterior, prior))
    if q_space == p_space:
        return
    if "codes" in (q_space, p_space):
        raise UsageError(
            f"{posterior.__name__} and {type(prior).__name__}: only one of the two has codes from a "
            "codebook, so there is no rate; a quantiser requires UniformCodes or AutoregressiveCodes"
        )
    if q_space == "sphere":
        raise UsageError(
            f"{posterior.__name__} puts codes on a sphere, where {type(prior).__name__}, a density on all of "
            "R^d, has no mass, so there is no rate; take UniformSphere or a VampPrior"
        )
    raise UsageError(
        f"{type(prior).__name__} has codes on the sphere only, where {posterior.__name__} has no mass, so "
        "there is no rate; take the PowerSpherical posterior, or a prior on all of R^d"
    )

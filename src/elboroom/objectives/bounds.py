"""Bounds on log p(x), computed from the terms of one forward pass.

A bound is a function (terms, beta) → (b,), in nats, higher is better. Its value is always the named bound.
Some bounds replace the gradient of that value by another estimate of it; their docstrings say which.
``beta`` weights the rate. The importance-weighted bounds temper their weights to match,

    log w = log p(x|z) + beta · (log p(z) − log q(z|x)),

so that with one sample their expectation is the ELBO at that beta. They bound log p(x) at ``beta = 1`` only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.objectives.schedules import Schedule

Bound = Callable[..., Tensor]
"""(terms, beta) → (b,). A :class:`ScheduledBound` also receives the values of its own schedules, in order."""


@dataclass(frozen=True)
class ScheduledBound:
    """A bound with further coefficients that change with the step, as beta does.

    Parameters
    ----------
    function : callable
        (terms, beta, *values) → (b,), nats.
    schedules : mapping of str to Schedule
        One for each further value, in order.
    """

    function: Callable[..., Tensor]
    schedules: Mapping[str, Schedule]

    def __call__(self, terms: Terms, beta: Tensor, *values: Tensor) -> Tensor:
        """Compute the bound, (b,), in nats."""
        return self.function(terms, beta, *values)


def elbo(terms: Terms, beta: Tensor) -> Tensor:
    """−(distortion + beta · rate), (b,), nats; a bound on log p(x) at beta = 1 (arXiv:1312.6114 eq. 3)."""
    return -(terms.distortion + beta * terms.rate)


def capacity(target: Schedule) -> Bound:
    """−(distortion + beta · |mean rate − C(step)|), which drives the rate to C (arXiv:1804.03599 eq. 8).

    Here ``beta`` is the paper's γ, often 1000. As in published implementations the rate is the mean over the
    batch: the rates of single examples may differ from C.

    Parameters
    ----------
    target : Schedule
        C in nats per example, such as ``linear(25.0, ramp=100_000)``.
    """

    def bound(terms: Terms, beta: Tensor, target: Tensor) -> Tensor:
        return -(terms.distortion + beta * (terms.rate.mean() - target).abs())

    return ScheduledBound(bound, {"capacity": target})


def iwae() -> Bound:
    """Importance-weighted bound log 1/k Σ w over all k samples (arXiv:1509.00519 eq. 8).

    The bound tightens as k grows.

    Examples
    --------
    >>> from elboroom.objectives import Objective
    >>> objective = Objective(bound=iwae(), num_samples=50)
    """
    return _iwae


def _iwae(terms: Terms, beta: Tensor) -> Tensor:
    return _log_mean(_log_weights(terms, beta, "iwae"))


def miwae(groups: int) -> Bound:
    """Mean of importance-weighted bounds, each over k / groups samples (arXiv:1802.04537).

    ``groups = 1`` gives :func:`iwae`, and ``groups = k`` the ELBO with a sampled rate.

    Raises
    ------
    UsageError
        If ``groups`` < 1, or, when the bound is called, if it does not divide the number of samples.
    """
    _check_groups(groups, "miwae")

    def bound(terms: Terms, beta: Tensor) -> Tensor:
        return _log_mean(_grouped(_log_weights(terms, beta, "miwae"), groups, "miwae")).mean(0)

    return bound


def ciwae(weight: float) -> Bound:
    """``weight`` · elbo + (1 − ``weight``) · iwae over the same samples (arXiv:1802.04537).

    Raises
    ------
    UsageError
        If ``weight`` is outside [0, 1].
    """
    if not 0 <= weight <= 1:
        raise UsageError(f"ciwae(weight={weight}): weight must be between 0 (iwae) and 1 (elbo)")
    importance_weighted = iwae()
    return lambda terms, beta: weight * elbo(terms, beta) + (1 - weight) * importance_weighted(terms, beta)


def piwae(groups: int) -> Bound:
    """:func:`iwae`, with the gradient of :func:`miwae` for the encoder (arXiv:1802.04537).

    The value is that of iwae. More samples in one weighted mean lower the signal-to-noise ratio of the
    encoder's gradient and raise that of the decoder's, so each gets its own grouping. Training decodes each
    code twice.

    Raises
    ------
    UsageError
        As :func:`miwae`.
    """
    _check_groups(groups, "piwae")

    def bound(terms: Terms, beta: Tensor) -> Tensor:
        log_w = _log_weights(terms, beta, "piwae")
        fixed = log_w.detach()
        encoder = _grouped(fixed, groups, "piwae").softmax(0).transpose(0, 1).reshape(fixed.shape) / groups
        return _two_weightings(terms, beta, log_w, encoder=encoder, generator=fixed.softmax(0))

    return bound


def dreg() -> Bound:
    """:func:`iwae` with the doubly reparametrised gradient for the encoder (arXiv:1810.04152).

    The bound and the expectation of its gradient are those of iwae. The encoder's gradient has less variance,
    and its signal-to-noise ratio does not fall as k grows. Encoder: Σ w̃² ∂log w/∂z ∂z/∂φ, with the parameters
    of log q held fixed. Decoder and prior: Σ w̃ ∂log w/∂θ, as in iwae. With tempered weights w̃² becomes
    (1 − beta) w̃ + beta w̃². Training decodes each code twice.

    Raises
    ------
    UsageError
        When the bound is called, if the posterior cannot evaluate log q at given codes.
    """

    def bound(terms: Terms, beta: Tensor) -> Tensor:
        log_w = _path_log_weights(terms, beta, "dreg")
        weights = log_w.detach().softmax(0)
        # E[w̃ ∂log q/∂φ] = E[(w̃ − w̃²) ∂log w/∂z ∂z/∂φ], and log w holds −beta times log q.
        encoder = weights - beta * (weights - weights.square())
        return _two_weightings(terms, beta, log_w, encoder=encoder, generator=weights)

    return bound


def sticking_the_landing() -> Bound:
    """:func:`elbo` with the path gradient: the parameters of log q are held fixed (arXiv:1703.09194).

    The omitted part of the gradient has expectation zero, so the estimate is unbiased. Where q is the exact
    posterior, the gradient is zero in every sample. Several samples contribute the mean of their gradients.
    Within an importance-weighted bound the same omission would be biased; :func:`dreg` corrects that.

    Raises
    ------
    UsageError
        As :func:`dreg`.
    """

    def bound(terms: Terms, beta: Tensor) -> Tensor:
        return _steered(elbo(terms, beta), _path_log_weights(terms, beta, "sticking_the_landing").mean(0))

    return bound


def _log_weights(terms: Terms, beta: Tensor, name: str) -> Tensor:
    """Tempered log-weights (k, b), in nats; at beta = 1 bit-identical to the true ones."""
    _check_stochastic(terms, name)
    log_weights = terms.log_weights
    return torch.lerp(terms.log_likelihood.to(log_weights), log_weights, beta.to(log_weights))


def _path_log_weights(terms: Terms, beta: Tensor, name: str) -> Tensor:
    """Tempered log-weights (k, b) whose gradient reaches the encoder through the codes only."""
    _check_stochastic(terms, name)
    posterior = terms.posterior
    missing = [method for method in ("log_prob", "detached") if not hasattr(posterior, method)]
    if missing:
        raise UsageError(
            f"{name} needs log q at given codes, and {type(posterior).__name__} has no {missing[0]}; "
            "use iwae, or a posterior that has one, such as the diagonal Gaussian"
        )
    log_q: Tensor = posterior.detached().log_prob(terms.z)  # type: ignore[attr-defined]
    log_prior: Tensor = terms.prior.log_prob(terms.z)
    return terms.log_likelihood + beta * (log_prior - log_q)


def _log_mean(log_weights: Tensor) -> Tensor:
    """Log of the mean over the first dimension."""
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def _grouped(log_weights: Tensor, groups: int, name: str) -> Tensor:
    """(k, b) → (k / groups, groups, b)."""
    k = len(log_weights)
    if k % groups:
        raise UsageError(
            f"{name}(groups={groups}) does not divide num_samples = {k}; use a multiple, such as {groups * 8}"
        )
    return log_weights.reshape(groups, k // groups, -1).transpose(0, 1)


def _two_weightings(
    terms: Terms, beta: Tensor, log_w: Tensor, *, encoder: Tensor, generator: Tensor
) -> Tensor:
    """Log-mean (b,) of the weights (k, b), with separate gradient weights for encoder and generator.

    All parameters receive Σ encoder · ∂log w. A second pass at fixed codes, whose gradient reaches only the
    decoder and the prior, adds Σ (generator − encoder) · ∂log w for them. Scaling the gradient at the codes
    would save that pass, but would also scale the gradients that penalties send there.
    """
    value = _log_mean(log_w)
    if not torch.is_grad_enabled():
        return value
    z = terms.z.detach()
    log_joint = terms.generate(z).log_prob(terms.x) + beta * terms.prior.log_prob(z)
    surrogate = (encoder * log_w).sum(0) + ((generator - encoder) * log_joint).sum(0)
    return _steered(value, surrogate)


def _steered(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return exactly ``value``, with the gradient of ``surrogate``."""
    return value.detach() + (surrogate - surrogate.detach())


def _check_stochastic(terms: Terms, name: str) -> None:
    if not getattr(terms.posterior, "stochastic", True):
        raise UsageError(
            f"{name} weights samples by their density, and {type(terms.posterior).__name__} has none; "
            "use elbo with a penalty on the codes"
        )


def _check_groups(groups: int, name: str) -> None:
    if groups < 1:
        raise UsageError(f"{name}(groups={groups}): groups must be at least 1")

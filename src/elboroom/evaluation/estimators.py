"""Estimators of log p(x), from the cheapest to the one that holds where the others fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.evaluation.annealed import annealed_log_weights, path_of
from elboroom.evaluation.reliability import TOO_MANY
from elboroom.latent.arrays import seeded
from elboroom.latent.refinement import can_refine, encoded, refine
from elboroom.models.terms import NLL
from elboroom.models.vae import VAE

Estimator = Literal["importance", "refined", "annealed", "auto"]

STEPS = 100
"""Gradient steps that refine the posterior of each example."""

FINITE = 0.5
"""Above this Pareto k̂ the weights have no variance, and errors computed from them are too small."""

SETTLED = 0.02
"""Nats by which the NLL of ``auto`` may still change when its samples are doubled."""

_DOUBLINGS = 3


@dataclass(frozen=True)
class Plan:
    """How −log p(x) is estimated: by which estimator, from how many importance samples of each example."""

    estimator: Estimator
    num_samples: int


def check_estimator(vae: VAE, estimator: str) -> None:
    """Refuse an estimator that a model cannot have.

    Raises
    ------
    UsageError
        If there is no such estimator, or it needs one stochastic layer whose codes have a density.
    """
    if estimator not in get_args(Estimator):
        raise UsageError(f"estimator = {estimator!r}: must be one of {', '.join(get_args(Estimator))}")
    if estimator in ("refined", "annealed") and not can_refine(vae):
        raise UsageError(
            f"estimator = {estimator!r} needs a model with one stochastic layer whose codes have a density; "
            "take 'importance' or 'auto'"
        )


def planned(vae: VAE, x: Tensor, condition: Tensor | None, plan: Plan, seed: int) -> Plan:
    """Settle ``auto`` on a batch: the cheapest estimator that can be believed for most of its examples.

    It is one for all examples. Chosen for each by its own k̂ it would be the wrong one just where no large
    weight happened to be drawn, and the NLL would be too high. Importance samples are believed where k̂ is
    at most 0.5 for four examples in five, and are then doubled, at most three times, until their NLL changes
    by less than 0.02 nats. If not, posteriors are refined, and if that is not to be believed either,
    annealed.

    Parameters
    ----------
    vae : VAE
        At rest, on the device of ``x``.
    x : Tensor
        Examples (b, *shape) in model units.
    condition : Tensor, optional
        (b, C), of a conditional model.
    plan : Plan
        What was asked for; returned as it is unless it says ``auto``.
    seed : int
        Of the draws; the caller's randomness is left alone.
    """
    if plan.estimator != "auto":
        return plan
    with seeded(vae, seed):
        held = plain_log_weights(vae, x, condition, plan.num_samples)
        if _believed(held) or not can_refine(vae):
            return Plan("importance", _settled(vae, x, condition, held))
        refined = Plan("refined", plan.num_samples)
        if _believed(log_weights(vae, x, condition, refined)):
            return refined
    return Plan("annealed", plan.num_samples)


def log_weights(vae: VAE, x: Tensor, condition: Tensor | None, plan: Plan) -> Tensor:
    """Log-weights whose mean estimates p(x) without bias, float64 (k, b), nats.

    ``importance`` draws from the encoder's posterior. ``refined`` draws from posteriors that are improved for
    each example by gradient steps (arXiv:1801.03558 §2.2), and ``annealed`` moves codes from there to p(z|x)
    (arXiv:1611.04273), 32 of each example.
    """
    if plan.estimator == "importance":
        return plain_log_weights(vae, x, condition, plan.num_samples)
    _, features = encoded(vae, x, condition)
    best = vae.posterior(refine(vae, x, condition, features, STEPS))
    if plan.estimator == "refined":
        return plain_log_weights(vae, x, condition, plan.num_samples, best)
    return annealed_log_weights(path_of(vae, x, best, condition))


def plain_log_weights(
    vae: VAE, x: Tensor, condition: Tensor | None, num_samples: int, posterior: Any = None
) -> Tensor:
    """Log-weights of codes drawn from a posterior, the encoder's if none is given, float64 (k, b), nats."""
    draws = vae.importance(x, num_samples, condition, posterior=posterior)
    weights = torch.cat([some.log_weights for some in draws])
    return (weights.cpu() if weights.device.type == "mps" else weights).double()


def _believed(weights: Tensor) -> bool:
    """Whether k̂ is at most 0.5 for four examples in five; not if too few samples were drawn to know."""
    shape = NLL.from_log_weights(weights).pareto_k
    return bool((shape <= FINITE).double().mean() >= 1 - TOO_MANY)


def _settled(vae: VAE, x: Tensor, condition: Tensor | None, held: Tensor) -> int:
    """Return how many samples it takes until doubling them does not change the mean NLL."""
    before = NLL.from_log_weights(held).value.mean()
    for _ in range(_DOUBLINGS):
        held = torch.cat([held, plain_log_weights(vae, x, condition, len(held))])
        value = NLL.from_log_weights(held).value.mean()
        if abs(float(value - before)) <= SETTLED:
            return len(held) // 2
        before = value
    return len(held)

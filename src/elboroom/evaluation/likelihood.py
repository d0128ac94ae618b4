"""ELBO, distortion, rate and importance-sampled NLL of a data set, each with its error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import estimators
from elboroom.evaluation.annealed import CHAINS
from elboroom.evaluation.bits import bits_per_dim, likelihood_name, quantity
from elboroom.evaluation.estimators import Estimator, Plan, check_estimator, planned
from elboroom.evaluation.health import active_units
from elboroom.evaluation.reliability import reliability
from elboroom.evaluation.support import checked_batches
from elboroom.latent.arrays import seeded
from elboroom.models.terms import NLL
from elboroom.models.vae import VAE, Precision
from elboroom.probability import find_closed_form

_BATCH = 500
# Importance weights of a batch: 32 MB.
_WEIGHTS = 8_000_000
# Without an NLL two draws of each example give the other numbers, and the least that tells their errors.
_FEW = 2


def evaluate(
    vae: VAE,
    batches: Batches,
    indices: NDArray[np.int64],
    *,
    num_samples: int = 1000,
    seed: int = 0,
    precision: Precision = "fp32",
    estimator: Estimator = "importance",
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Measure a model on examples; a conditional one on each example given its condition, log p(x|c).

    The same codes give all numbers, so that where the rate has no closed form, elbo ≤ −nll in each run.

    Parameters
    ----------
    vae : VAE
        On the device of ``batches``.
    batches : Batches
        The data as the model saw them in training.
    indices : array
        Of the examples to measure, (n,).
    num_samples : int
        Importance samples of each example. With 0 no NLL is estimated, and the rest takes two.
    seed : int
        Of the codes drawn; the caller's randomness is left alone.
    precision : {"fp32", "bf16"}
        Of the networks' products; densities and their sums are never lowered.
    estimator : {"importance", "refined", "annealed", "auto"}
        Of the NLL, see `elboroom.evaluation.estimators`; "auto" takes the cheapest that can be believed for
        the first examples.
    on_progress : callable, optional
        Called with the number of examples done.

    Returns
    -------
    dict
        Means over the examples, nats per example: ``elbo distortion rate``, of several stochastic layers a
        list ``rate_of_layers``, the top one first, that adds up to the rate; ``nll``; each with ``*_stderr``,
        the Monte Carlo standard error of that mean (the examples being fixed). An error is None where the
        number is exact, as a rate in closed form, and where one sample does not tell it. Values that
        ``batches`` draws, binarised or dequantised, count as fixed: another seed changes them as well.

        What says how far to believe the NLL: ``nll_estimator``; ``nll_num_samples``; ``nll_bias``, by how
        much it is too high, to first order; ``nll_ess`` and ``nll_pareto_k``, the medians over the examples
        of the effective sample size and of Pareto k̂ (arXiv:1507.02646); ``nll_unreliable``, the share
        of examples with k̂ > 0.7; and ``nll_verdict``, None or a sentence that begins with "not reliable".

        ``likelihood_of`` names what ELBO and NLL are of, such as ``"log p(x)"``, ``"log p(x | label)"`` of a
        conditional model, or ``"log p(observed cells)"`` of a table.

        ``bits_per_dim`` of 8-bit data, with ``bits_per_dim_of``, how the numbers were dequantised; or None
        and ``bits_per_dim_reason``, why there is none.

        ``active_units``, the number of latent dimensions whose mean varies (variance > 0.01,
        arXiv:1509.00519), and ``examples``.

    Raises
    ------
    UsageError
        If there are no examples, ``num_samples`` is negative, or the model cannot have the estimator.
    """
    if not len(indices):
        raise UsageError("there are no examples to evaluate; choose another --split")
    if num_samples < 0:
        raise UsageError(f"num_samples = {num_samples}: 0 (no NLL) or more")
    check_estimator(vae, estimator)
    parts: list[_Measured] = []
    done = 0
    plan: Plan | None = None
    devices = [batches.x.device] if batches.x.device.type == "cuda" else []
    batches.condition_on(vae.condition)
    size = max(1, min(_BATCH, _WEIGHTS // max(1, num_samples)))
    with torch.random.fork_rng(devices=devices), vae.at_rest(precision):
        torch.manual_seed(seed)
        for chosen, x in checked_batches(vae, batches, indices, size):
            condition = batches.conditions(chosen)
            if plan is None:
                asked = Plan(estimator, num_samples)
                plan = planned(vae, x, condition, asked, seed) if num_samples else asked
            parts.append(_measure(vae, x, condition, plan, seed + len(parts)))
            done += len(chosen)
            if on_progress is not None:
                on_progress(done)
    assert plan is not None
    found = _Measured.of(parts)
    distortion, rate = (float(v.mean()) for v in (found.distortion, found.rate))
    nll = None if found.nll is None else float(found.nll.value.mean())
    bits, reason = bits_per_dim(nll, vae, batches)
    return {
        "elbo": -(distortion + rate),
        "elbo_stderr": _error_of_mean(found.elbo_error),
        "distortion": distortion,
        "distortion_stderr": _error_of_mean(found.distortion_error),
        "rate": rate,
        "rate_stderr": _error_of_mean(found.rate_error),
        **({} if found.layers is None else {"rate_of_layers": found.layers.mean(1).tolist()}),
        "likelihood_of": likelihood_name(vae),
        "nll": nll,
        "nll_stderr": None if found.nll is None else _error_of_mean(found.nll.stderr),
        "nll_estimator": plan.estimator if num_samples else None,
        "nll_num_samples": CHAINS if plan.estimator == "annealed" and num_samples else plan.num_samples,
        **reliability(found.nll),
        "bits_per_dim": bits,
        "bits_per_dim_of": None if bits is None else quantity(vae, batches),
        "bits_per_dim_reason": reason,
        "active_units": active_units(found.codes),
        "examples": len(indices),
    }


@dataclass(frozen=True)
class _Measured:
    """Numbers of each of b examples, (b,), in float64; errors are standard errors."""

    codes: Tensor
    distortion: Tensor
    rate: Tensor
    elbo_error: Tensor | None = None
    distortion_error: Tensor | None = None
    rate_error: Tensor | None = None
    layers: Tensor | None = None  # (L, b)
    nll: NLL | None = None

    @classmethod
    def of(cls, parts: list[_Measured]) -> _Measured:
        """Put batches together on the host, for which it waits here; of one model they all know the same."""

        def joined(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            if values[0] is None:
                return None
            if isinstance(values[0], NLL):
                return NLL(*(torch.cat(each).cpu() for each in zip(*values, strict=True)))
            return torch.cat(values, -1 if name == "layers" else 0).cpu()

        return cls(**{name: joined(name) for name in cls.__dataclass_fields__})


def _measure(vae: VAE, x: Tensor, condition: Tensor | None, plan: Plan, seed: int) -> _Measured:
    q, num_samples = vae.infer(x, condition), plan.num_samples
    if num_samples == 0 and not getattr(q, "stochastic", True):
        terms = vae(x, 1, condition)
        return _Measured(_double(q.mean), _double(terms.distortion), _double(terms.rate))
    drawn = list(vae.importance(x, num_samples or _FEW, condition, posterior=q))
    log_likelihood = _double(torch.cat([draws.log_likelihood for draws in drawn]))
    log_weights = _double(torch.cat([draws.log_weights for draws in drawn]))
    layers = [draws.rates for draws in drawn if draws.rates is not None]
    prior = vae.prior_given(vae.condition_vectors(condition, len(x)))
    closed_form = find_closed_form(q, prior)
    if closed_form is not None:
        rates = _double(closed_form(q, prior))[None]
    elif layers:
        rates = _double(torch.cat(layers, 1)).sum(0)
    else:
        rates = log_likelihood - log_weights
    return _Measured(
        _double(q.mean),
        -log_likelihood.mean(0),
        rates.mean(0),
        elbo_error=_error(log_likelihood - rates),
        distortion_error=_error(log_likelihood),
        rate_error=None if closed_form is not None else _error(rates),
        layers=_double(torch.cat(layers, 1)).mean(1) if layers else None,
        nll=_nll(vae, x, condition, plan, log_weights, seed),
    )


def _nll(vae: VAE, x: Tensor, condition: Tensor | None, plan: Plan, drawn: Tensor, seed: int) -> NLL | None:
    """Estimate the NLL from the codes that gave all else, or by another estimator with a seed of its own."""
    if plan.num_samples == 0:
        return None
    if plan.estimator == "importance" and len(drawn) == plan.num_samples:
        return NLL.from_log_weights(drawn)
    with seeded(vae, seed):
        return NLL.from_log_weights(estimators.log_weights(vae, x, condition, plan))


def _double(values: Tensor) -> Tensor:
    return values.cpu().double() if values.device.type == "mps" else values.double()  # which has no float64


def _error(draws: Tensor) -> Tensor | None:
    """Standard error of the mean over k draws (k, b), (b,)."""
    k = len(draws)
    return draws.std(0, correction=1) / math.sqrt(k) if k > 1 else None


def _error_of_mean(errors: Tensor | None) -> float | None:
    """Of the mean over examples (n,) whose errors are independent; None where they are not known."""
    if errors is None or bool(errors.isnan().any()):
        return None
    return math.sqrt(float(errors.square().sum())) / len(errors)

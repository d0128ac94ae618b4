"""ELBO, distortion, rate and importance-sampled NLL of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.health import active_units
from elboroom.model import VAE, Precision
from elboroom.terms import NLL, Terms

_BATCH = 500


def evaluate(
    vae: VAE,
    batches: Batches,
    indices: NDArray[np.int64],
    *,
    num_samples: int = 1000,
    seed: int = 0,
    precision: Precision = "fp32",
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Measure a model on examples; a conditional one on each example given its condition, log p(x|c).

    One pass: the same codes give distortion and NLL.

    Parameters
    ----------
    vae : VAE
        On the device of ``batches``.
    batches : Batches
        The data as the model saw them in training.
    indices : array
        Of the examples to measure, (n,).
    num_samples : int
        Importance samples of each example. With 0 no NLL is estimated, and the distortion takes one sample.
    seed : int
        Of the codes drawn; the caller's randomness is left alone.
    precision : {"fp32", "bf16"}
        Of the networks' products; densities and their sums are never lowered.
    on_progress : callable, optional
        Called with the number of examples done.

    Returns
    -------
    dict
        Means over the examples, nats per example: ``elbo distortion rate``, of several stochastic layers a
        list ``rate_of_layers``, the top one first, that adds up to the rate; ``nll`` with ``nll_stderr``, the
        Monte Carlo standard error of that mean (the examples being fixed), and ``nll_num_samples``; further
        ``active_units``, the number of latent dimensions whose mean varies (variance > 0.01,
        arXiv:1509.00519), and ``examples``. nll values are None without samples.

    Raises
    ------
    UsageError
        If there are no examples, or ``num_samples`` is negative.
    """
    if not len(indices):
        raise UsageError("there are no examples to evaluate; choose another --split")
    if num_samples < 0:
        raise UsageError(f"num_samples = {num_samples}: 0 (no NLL) or more")
    totals = torch.zeros(4, dtype=torch.float64)
    codes, layers = [], []
    devices = [batches.x.device] if batches.x.device.type == "cuda" else []
    batches.tell(vae.condition)
    with torch.random.fork_rng(devices=devices), vae.at_rest(precision):
        torch.manual_seed(seed)
        for start in range(0, len(indices), _BATCH):
            chosen = torch.from_numpy(indices[start : start + _BATCH]).to(batches.x.device)
            condition = batches.conditions(chosen)
            x = batches[chosen]
            vae.check_values(x, scored=True)
            terms = vae(x, 1, condition)
            totals += _sums(vae, terms, condition, num_samples)
            codes.append(terms.posterior.mean.double().cpu())
            if terms.rates is not None:
                layers.append(terms.rates.double().cpu())
            if on_progress is not None:
                on_progress(min(start + _BATCH, len(indices)))
    n = len(indices)
    distortion, rate, nll, variance = (totals / n).tolist()
    return {
        "elbo": -(distortion + rate),
        "distortion": distortion,
        "rate": rate,
        **({"rate_of_layers": torch.cat(layers, 1).mean(1).tolist()} if layers else {}),
        "nll": nll if num_samples else None,
        "nll_stderr": math.sqrt(variance / n) if num_samples > 1 else None,
        "nll_num_samples": num_samples,
        "active_units": active_units(torch.cat(codes)),
        "examples": n,
    }


def _sums(vae: VAE, terms: Terms, condition: Tensor | None, num_samples: int) -> Tensor:
    """Sums over examples of distortion, rate, nll and the squared standard error of each nll."""
    if num_samples == 0:
        zero = terms.rate.new_zeros(())
        return torch.stack((terms.distortion.sum(), terms.rate.sum(), zero, zero)).double().cpu()
    chunks = list(vae.importance(terms.x, num_samples, condition))
    log_likelihood = torch.cat([chunk for chunk, _ in chunks])
    nll = NLL.from_log_weights(torch.cat([weights for _, weights in chunks]))
    squared_error = nll.stderr.square().nan_to_num()
    sums = (-log_likelihood.mean(0).sum(), terms.rate.sum(), nll.value.sum(), squared_error.sum())
    return torch.stack(sums).double().cpu()

"""Means over held-out examples, with the same noise at every call."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.models.terms import Terms
from elboroom.training.step.engine import Engine, Means
from elboroom.training.step.meters import Meters

_BATCH = 1000


def measure(engine: Engine, indices: NDArray[np.int64], seed: int) -> Means:
    """Loss, distortion, rate and bounds of examples, without a change to the random state of the training.

    Parameters
    ----------
    engine : Engine
        Of the training; with a running average of the weights, that is measured.
    indices : array
        Rows of the data set.
    seed : int
        Of the noise.

    Returns
    -------
    dict
        Means per example in nats, by name. With an objective of several samples k, ``bound`` is the
        importance-weighted bound of k samples, log of the mean weight; the ELBO averages over them instead.
    """
    sums = torch.zeros(4, device=engine.device, dtype=engine.totals.values.dtype)
    meters = Meters(engine.workers)
    several = engine.objective.num_samples > 1
    with engine.same_noise(seed), engine.averaged(), engine.vae.at_rest():
        for start in range(0, len(indices), _BATCH):
            whole = indices[start : start + _BATCH]
            (own,), (part,) = engine.workers.share([whole])
            batch = torch.from_numpy(own).to(engine.device)
            with engine.workers.noise_of(part):
                x, condition = engine.batches[batch], engine.batches.conditions(batch)
                terms = engine.vae(x, engine.objective.num_samples, condition)
                loss, _ = engine.losses(terms, part.counted, meters)
            meters.add(part.counted)
            if part.counted:
                found = (
                    loss * part.counted,
                    terms.distortion.sum(),
                    terms.rate.sum(),
                    _bound(terms, several),
                )
                sums += torch.stack(found)
    loss_, distortion, rate, bound = (engine.workers.sum_(sums) / len(indices)).tolist()
    return {
        "loss": loss_,
        "distortion": distortion,
        "rate": rate,
        "rate_per_dim": rate / engine.vae.latent_dim,
        "elbo": -(distortion + rate),
        **({"bound": bound} if several else {}),
        **meters.means(),
    }


def _bound(terms: Terms, several: bool) -> Tensor:
    """Sum of the importance-weighted bounds of the examples; 0 if there are not several samples."""
    if not several:
        return terms.x.new_zeros(())
    return (terms.log_weights.logsumexp(0) - math.log(len(terms.z))).sum()

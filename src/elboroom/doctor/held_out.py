"""How much worse a model is on held-out examples, and where that comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.data.batches import Batches
from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.estimators import plain_log_weights
from elboroom.evaluation.fitting import fit_prior, sampled_codes, score_prior, why_noise, why_not
from elboroom.evaluation.memorisation import nearer_to_training
from elboroom.evaluation.support import checked_batches
from elboroom.latent.arrays import numbers
from elboroom.latent.refinement import can_refine, encoded, refine
from elboroom.models.vae import VAE

_EXAMPLES = 60
_DRAWS = 16
_STEPS = 50
_CODES = 300
_SAMPLES = 300
_COMPARED = 500
_FEWEST = 20
_WORTH = 0.07  # of what training gained
# Penalties that match the codes of all examples to the prior.
_MATCHING = {"mmd_rbf", "mmd_imq", "prior_critic"}


@dataclass(frozen=True)
class Bounds:
    """ELBO of n examples, with the encoder's posteriors and with refined ones, (n,), nats."""

    encoder: NDArray[np.float64]
    refined: NDArray[np.float64] | None

    @property
    def gaps(self) -> NDArray[np.float64]:
        """By how much refinement improves each example, (n,), nats: the amortisation gap."""
        return self.refined - self.encoder if self.refined is not None else np.zeros(0)


@dataclass(frozen=True)
class HeldOut:
    """A model on training and on held-out examples.

    Attributes
    ----------
    train, held_out : Bounds
        Of at most 60 examples each; the refined bounds are None unless they were asked for.
    """

    train: Bounds
    held_out: Bounds

    def worth_refining(self, first: float) -> bool:
        """Whether held-out examples are so much worse that one asks why; ``first`` is the first ELBO."""
        own, other = float(self.train.encoder.mean()), float(self.held_out.encoder.mean())
        return own - other > _WORTH * max(0.0, own - first)


@dataclass(frozen=True)
class Samples:
    """Samples beside the examples.

    Attributes
    ----------
    drawn : array
        Samples from the prior, (n, *shape), in model units.
    nearer, error : float
        Share of them whose nearest neighbour among as many training as held-out examples is of training, and
        its standard error.
    train : array
        Training examples that they were compared with, and as many held-out ones, (m, *shape).
    """

    drawn: NDArray[np.float32]
    nearer: float
    error: float
    train: NDArray[np.float32]


def bounds_of(vae: VAE, batches: Batches, rows: NDArray[np.int64], *, refined: bool, seed: int) -> Bounds:
    """Estimate the ELBO of each example from 16 codes, and again after 50 gradient steps on its posterior."""
    found: list[torch.Tensor] = []
    better: list[torch.Tensor] = []
    with torch.random.fork_rng(devices=_devices(batches)), vae.at_rest():
        torch.manual_seed(seed)
        for chosen, x in checked_batches(vae, batches, rows, _EXAMPLES):
            condition = batches.conditions(chosen)
            q, features = encoded(vae, x, condition)
            found.append(plain_log_weights(vae, x, condition, _DRAWS, q).mean(0))
            if refined:
                best = vae.posterior(refine(vae, x, condition, features, _STEPS))
                better.append(plain_log_weights(vae, x, condition, _DRAWS, best).mean(0))
    return Bounds(torch.cat(found).cpu().numpy(), torch.cat(better).cpu().numpy() if refined else None)


def compare(
    vae: VAE, data: Dataset, batches: Batches, held_out: NDArray[np.int64], *, refined: bool, seed: int
) -> HeldOut | None:
    """Measure the bounds of some training and held-out examples; None if codes have no density."""
    if not can_refine(vae) or min(len(held_out), len(data.indices("train"))) < _FEWEST:
        return None
    parts = (data.indices("train"), held_out)
    some = [evenly(rows, _EXAMPLES) for rows in parts]
    return HeldOut(*(bounds_of(vae, batches, rows, refined=refined, seed=seed) for rows in some))


def hole(vae: VAE, data: Dataset, batches: Batches, held_out: NDArray[np.int64], seed: int) -> float | None:
    """Lower bound on KL(q(z) ‖ p(z)) in nats: what a density fitted to codes gains on held-out codes.

    As E log g(z) ≤ E log q(z) for any density g, the gain of g over the prior never exceeds the divergence of
    the aggregate posterior q(z) from the prior.
    """
    train = data.indices("train")
    if why_not(vae, "gmm") is not None or min(len(held_out), len(train)) < _FEWEST:
        return None
    try:
        codes = sampled_codes(vae, batches, evenly(train, _CODES), seed=seed)
        unseen = sampled_codes(vae, batches, evenly(held_out, _CODES), seed=seed)
        scores = score_prior(vae, fit_prior(codes, seed=seed), unseen, seed=seed)
    except UsageError:  # a posterior that has collapsed to a point
        return None
    gain = scores.get("gain_over_model_prior", scores.get("gain_over_standard_normal"))
    return None if gain is None else gain.value - 2 * (gain.error or 0.0)


def why_unfit(vae: VAE, config: Config) -> str | None:
    """Say why draws from a model's own prior decode to noise, by its parts; None if that does not follow."""
    objective = config.objective
    weighs_rate = objective.beta_unit == "sum" and BOUNDS[objective.bound].beta_weighs == "the rate"
    beta = objective.beta if weighs_rate else 1.0
    return why_noise(vae, beta, matched=any(objective.penalties.get(name) for name in _MATCHING))


def samples_near(vae: VAE, data: Dataset, held_out: NDArray[np.int64], seed: int) -> Samples | None:
    """Compare samples with as many training as held-out examples; None for tables and conditional models."""
    train = data.indices("train")
    count = min(len(train), len(held_out), _COMPARED)
    if data.columns or vae.condition is not None or vae.conditioning is not None or count < _FEWEST:
        return None
    device = next(vae.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        drawn = numbers(vae.sample(_SAMPLES)).astype(np.float32)
    own, other = (data.values(evenly(rows, count)) for rows in (train, held_out))
    share, error = nearer_to_training(_flat(drawn), _flat(own), _flat(other), np.random.default_rng(seed))
    return Samples(drawn, share, error, own)


def evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Choose at most so many rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most), dtype=np.int64))]


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _devices(batches: Batches) -> list[torch.device]:
    return [batches.x.device] if batches.x.device.type == "cuda" else []

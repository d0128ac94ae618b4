"""Likelihood regret: how much the bound of one example gains when its posterior is fitted to it alone.

A likelihood alone does not tell images of another kind: it rates simple ones higher than those of the
training data, whatever they show (arXiv:1810.09136). The encoder, though, was fitted to the training data,
and its posterior for such an image is far from the best one (arXiv:2003.02977).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from elboroom.distributed.noise import SharedNoise, noise_from
from elboroom.errors import UsageError
from elboroom.latent.arrays import seeded
from elboroom.latent.refinement import can_refine, encoded, refine
from elboroom.models.vae import VAE
from elboroom.scoring.contributions import Contributions
from elboroom.scoring.measures import Scores, draw

STEPS = 100
"""Gradient steps for each example."""


def regret(
    vae: VAE, x: Tensor, condition: Tensor | None, num_samples: int, *, steps: int = STEPS, seed: int = 0
) -> Scores:
    """Likelihood regret of a batch, ELBO(best posterior) − ELBO(encoder's posterior) ≥ 0 (arXiv:2003.02977).

    The parameters of q(z|x), which are the encoder's outputs for an example, are refined by Adam for that
    example alone, with the decoder and the prior as they are. Both bounds are then estimated with the same
    noise, other than that of the refinement. Where the encoder's own posterior turns out to be the better
    one the regret is 0.

    Parameters
    ----------
    vae : VAE
        At rest, see :meth:`elboroom.VAE.at_rest`; its weights and gradients are left as they are.
    x : Tensor
        Examples (b, *shape) in model units, on the model's device.
    condition : Tensor, optional
        (b, C), of a conditional model.
    num_samples : int
        Codes drawn for each of the two bounds.
    steps : int
        Gradient steps. More find a better posterior, and the regret grows towards its limit.
    seed : int
        Of the noise, which is the same in every call and for every example.

    Returns
    -------
    Scores
        In nats. A contribution is by how much the distortion of a number falls, and ``latent`` by how much
        the rate falls; single ones may be negative.

    Raises
    ------
    UsageError
        If the model has several stochastic layers, or a posterior without density, or ``steps`` < 1.
    """
    if steps < 1:
        raise UsageError(f"steps = {steps}: must be at least 1")
    q, features = encoded(vae, x, condition)
    if len(vae.layers) > 1 or not getattr(q, "stochastic", True):
        what = f"{len(vae.layers)} stochastic layers" if len(vae.layers) > 1 else "codes without a density"
        raise UsageError(
            f"score = 'regret' refines the posterior of a model with one stochastic layer, and this one has "
            f"{what}; take 'elbo' or 'reconstruction'"
        )
    with seeded(vae, seed), noise_from(SharedNoise(seed)):
        refined = refine(vae, x, condition, features, steps)
    found = []
    for posterior in (q, vae.posterior(refined)):
        with seeded(vae, seed + 1):
            found.append(draw(vae, x, condition, posterior, num_samples, seed=seed + 1))
    own, best = found
    gains = (best.log_likelihood - best.rates) - (own.log_likelihood - own.rates)
    gain = gains.mean(0)
    better = (gain > 0).numpy()  # False for nan
    of_columns = (best.by_number - own.by_number).numpy()
    of_rate = (own.rates.mean(0) - best.rates.mean(0)).numpy()
    parts = Contributions(np.where(_beside(better, x.ndim), of_columns, 0.0), np.where(better, of_rate, 0.0))
    value = np.where(torch.isnan(gain).numpy(), np.nan, parts.total)
    stderr = np.where(better, own.error(gains), 0.0) if num_samples > 1 else own.error(gains)
    return Scores("regret", value, stderr, parts, np.zeros(len(x), bool))


def has_regret(vae: VAE) -> bool:
    """Whether the likelihood regret of a model is defined: one stochastic layer, codes with a density."""
    return can_refine(vae)


def _beside(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape(-1, *[1] * (ndim - 1))

"""A linear-Gaussian model with a poor encoder, of which the exact evidence, ELBO and regret are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, distributions, nn

from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal

SIGMA = 0.6
_RNG = np.random.default_rng(3)
# Orthogonal columns, so that the exact posterior is a diagonal Gaussian.
WEIGHT = np.linalg.qr(_RNG.normal(size=(6, 2)))[0] * [2.0, 0.7]
BIAS = _RNG.normal(size=6)
SCALE = (1 + (WEIGHT**2).sum(0) / SIGMA**2) ** -0.5  # of the exact posterior
RAW = np.log(np.expm1(SCALE - 1e-6))  # what the head's softplus + 1e-6 undoes
OFFSET = np.array([0.1, -0.2, 0.5, 0.4])
MARGINAL = stats.multivariate_normal(BIAS, WEIGHT @ WEIGHT.T + SIGMA**2 * np.eye(6))


def make_vae(error: float = 1.0) -> VAE:
    """x = W z + b + σ noise with an encoder that misses the posterior by more or less, depending on x."""
    encoder, decoder = nn.Linear(6, 4), nn.Linear(2, 6)
    noise = 0.1 * error * np.random.default_rng(4).normal(size=(4, 6))
    exact = np.concatenate([(WEIGHT / SIGMA**2 * SCALE**2).T, np.zeros((2, 6))])
    with torch.no_grad():
        encoder.weight.copy_(torch.from_numpy(exact + noise))
        encoder.bias.copy_(torch.from_numpy(error * OFFSET + [*(-exact @ BIAS)[:2], *RAW]))
        decoder.weight.copy_(torch.from_numpy(WEIGHT))
        decoder.bias.copy_(torch.from_numpy(BIAS))
    head, likelihood = DiagonalGaussianHead(2), GaussianHead((6,), scale=SIGMA)
    return VAE(encoder, decoder, StandardNormal(2), shape=(6,), posterior=head, likelihood=likelihood)


def observe(n: int) -> np.ndarray[Any, Any]:
    """Draw examples (n, 6)."""
    return np.reshape(MARGINAL.rvs(n, random_state=5), (n, 6))


def gap(q: Any, x: np.ndarray[Any, Any]) -> Tensor:
    """log p(x) − ELBO = KL(q ‖ p(z|x)) of each example, (b,): what the best posterior gains."""
    mean = (x - BIAS) @ WEIGHT / SIGMA**2 * SCALE**2
    exact = distributions.Normal(torch.from_numpy(mean), torch.from_numpy(SCALE))
    return distributions.kl_divergence(distributions.Normal(q.mean, q.scale), exact).sum(-1)

"""Scores of rows that depend on nothing but the row: not on the others, on their order or on the call."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from elboroom.models.vae import VAE

_NUMBERS = 1_000_000  # in one layer's output at a time


def shared_noise(seed: int, num_samples: int, latent_dim: int) -> Tensor:
    """Standard normal noise (k, d), float64, that every row's codes are made of."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_samples, latent_dim, generator=generator, dtype=torch.float64)


def chunked(vae: VAE, x: Tensor, samples: int) -> Iterator[Tensor]:
    """Rows of x (n, d) in chunks, of which ``samples`` copies fit into memory."""
    widest = max(sum(weight.shape[0] for weight in vae.parameters() if weight.ndim == 2), *x.shape[1:], 1)
    return iter(torch.split(x, max(1, _NUMBERS // (samples * widest))))


def log_likelihoods(vae: VAE, x: Tensor, noise: Tensor) -> Tensor:
    """Estimates of log p(x) of rows (n, d) by importance samples from q(z|x), (n,), nats.

    log (1/k) Σ p(x, zₖ)/q(zₖ|x) with zₖ = μ(x) + σ(x) εₖ (arXiv:1509.00519 eq. 8). The k draws of ε are those
    of ``noise`` (k, d') for every row, so that a row's estimate is a function of the row alone; its
    distribution over the noise is that of independent draws.
    """
    found = []
    log_noise = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)
    with vae.at_rest():
        for rows in chunked(vae, x, len(noise)):
            q = vae.infer(rows)
            mean, scale = q.mean, q.scale  # type: ignore[attr-defined]
            z = torch.addcmul(mean, scale, noise[:, None, :])
            log_q = log_noise[:, None] - scale.log().sum(-1)
            log_weights = vae.generate(z).log_prob(rows) + vae.prior.log_prob(z) - log_q
            found.append(torch.logsumexp(log_weights, 0) - math.log(len(noise)))
    return torch.cat(found)

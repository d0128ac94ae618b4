"""p(z): what a code looks like before any data are seen.

A prior is a module (it may hold parameters) with ``latent_dim``, ``log_prob(z)`` over the last
dimension in nats, ``sample(n)`` and ``quantile(u)``, which maps [0, 1]^d to the latent space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StandardNormal(nn.Module):
    """N(0, I) in d dimensions.

    Examples
    --------
    >>> StandardNormal(2).log_prob(torch.zeros(2)).item()  # -log 2π
    -1.8378...
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        # Follows the model's device and dtype, and is not a weight to save.
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        zero = self._zero
        assert isinstance(zero, Tensor)
        return torch.randn(n, self.latent_dim, dtype=zero.dtype, device=zero.device)

    def quantile(self, u: Tensor) -> Tensor:
        """Inverse distribution function of each dimension, u (..., d) in (0, 1) → z (..., d)."""
        return torch.special.ndtri(u)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"

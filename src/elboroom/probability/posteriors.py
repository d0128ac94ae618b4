"""What an encoder parametrises: q(z|x), and the heads that turn features into it.

A posterior has ``mean`` of shape (b, d) and ``rsample_and_log_prob(k)``, which gives k samples
z (k, b, d), differentiable in the parameters, with their log-densities (k, b) in nats.
A head is a module with ``in_shape`` (what the network must put out for one example) and ``latent_dim``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LOG_2PI = math.log(2 * math.pi)


class Posterior(Protocol):
    """q(z|x) for a batch of b examples."""

    @property
    def mean(self) -> Tensor:
        """The code of each example, (b, d)."""
        ...

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d), differentiably, and its log-density (k, b) in nats."""
        ...


@dataclass(frozen=True)
class DiagonalGaussian:
    """Independent normals, one per latent dimension.

    Parameters
    ----------
    mean, scale : Tensor
        Both (b, d); ``scale`` is the standard deviation, > 0.
    """

    mean: Tensor
    scale: Tensor

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw by reparametrisation (arXiv:1312.6114 §2.4) and share the noise with the density.

        Returns
        -------
        z : Tensor
            (k, b, d).
        log_q : Tensor
            (k, b), nats.
        """
        noise = torch.randn(num_samples, *self.mean.shape, dtype=self.mean.dtype, device=self.mean.device)
        z = self.mean + self.scale * noise
        log_q = -0.5 * (noise.square() + _LOG_2PI).sum(-1) - self.scale.log().sum(-1)
        return z, log_q

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., b, d) in nats, (..., b)."""
        standardised = (z - self.mean) / self.scale
        return -0.5 * (standardised.square() + _LOG_2PI).sum(-1) - self.scale.log().sum(-1)


class DiagonalGaussianHead(nn.Module):
    """Features (b, 2d) → :class:`DiagonalGaussian`; the first d are the mean, the rest the raw scale.

    Parameters
    ----------
    latent_dim : int
        d.
    scale : {"softplus", "exp"}
        σ = softplus(raw), or σ = exp(raw / 2), in which raw is the log-variance.
    min_scale : float
        Added to σ so that its logarithm stays finite.
    """

    def __init__(
        self, latent_dim: int, *, scale: Literal["softplus", "exp"] = "softplus", min_scale: float = 1e-6
    ):
        super().__init__()
        self.latent_dim = latent_dim
        self.scale = scale
        self.min_scale = min_scale
        self.in_shape: tuple[int, ...] = (2 * latent_dim,)

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """Split the features (b, 2d) into mean and scale."""
        mean, raw = features.chunk(2, dim=-1)
        scale = F.softplus(raw) if self.scale == "softplus" else torch.exp(0.5 * raw)
        return DiagonalGaussian(mean, scale + self.min_scale)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}, scale={self.scale!r}, min_scale={self.min_scale}"

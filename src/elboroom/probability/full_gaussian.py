"""Gaussian posteriors with a full covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from elboroom.probability.posteriors import (
    LOG_2PI,
    DiagonalGaussianHead,
    Scale,
    at_least,
    changed,
    noise_like,
    unit_vector,
)


@dataclass(frozen=True)
class FullGaussian:
    """Normals with a full covariance: z = mean + mixing · (scale ⊙ ε), with |det mixing| = 1.

    Parameters
    ----------
    mean, scale : Tensor
        Both (b, d); ``scale`` > 0.
    mixing : Tensor
        (b, d, d), either lower triangular with ones on the diagonal or orthogonal.
    orthogonal : bool
        Whether ``mixing`` is orthogonal.
    """

    stochastic: ClassVar[bool] = True
    mean: Tensor
    scale: Tensor
    mixing: Tensor
    orthogonal: bool = False

    @property
    def covariance(self) -> Tensor:
        """Σ of each example, (b, d, d)."""
        factor = self.mixing * self.scale[..., None, :]
        return factor @ factor.mT

    @property
    def variance(self) -> Tensor:
        """Diagonal of the covariance, (b, d)."""
        return (self.mixing * self.scale[..., None, :]).square().sum(-1)

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d) by reparametrisation, with its log-density (k, b) in nats."""
        noise, log_noise = noise_like(self.mean, num_samples)
        mixed = torch.einsum("bij,kbj->kbi", self.mixing, self.scale * noise)
        return self.mean + mixed, log_noise - self.scale.log().sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., b, d) in nats, (..., b)."""
        mixed = z - self.mean
        columns = mixed.reshape(-1, *self.mean.shape).permute(1, 2, 0)  # (b, d, n), solved for together
        if self.orthogonal:
            unmixed = self.mixing.mT @ columns
        else:
            unmixed = torch.linalg.solve_triangular(self.mixing, columns, upper=False, unitriangular=True)
        noise = unmixed.permute(2, 0, 1).reshape(mixed.shape) / self.scale
        return -0.5 * (noise.square() + LOG_2PI).sum(-1) - self.scale.log().sum(-1)

    def detached(self) -> Self:
        """The same posterior with its parameters detached from the graph."""
        return changed(self, Tensor.detach)


class FullGaussianHead(nn.Module):
    """Features → :class:`FullGaussian` of any covariance: 2d for mean and raw scale, d(d − 1)/2 for mixing.

    The mixing is unit lower triangular: the linear inverse autoregressive flow of arXiv:1606.04934.

    Parameters
    ----------
    latent_dim, scale, min_scale
        As of :class:`DiagonalGaussianHead`.
    """

    makes = FullGaussian

    def __init__(self, latent_dim: int, *, scale: Scale = "softplus", min_scale: float = 1e-6):
        super().__init__()
        d = self.latent_dim = latent_dim
        self.diagonal = DiagonalGaussianHead(d, scale=scale, min_scale=min_scale)
        self.in_shape: tuple[int, ...] = (2 * d + d * (d - 1) // 2,)
        # Follows the device; recomputed from d, so not saved.
        row, column = torch.tril_indices(d, d, -1)
        self.register_buffer("_place", row * d + column, persistent=False)

    def forward(self, features: Tensor) -> FullGaussian:
        """Split the features; those of the mixing fill its lower triangle row by row."""
        d = self.latent_dim
        base = self.diagonal(features[..., : 2 * d])
        flat = torch.eye(d, dtype=features.dtype, device=features.device).flatten().expand(len(features), -1)
        place = self._place
        assert isinstance(place, Tensor)
        mixing = flat.index_copy(1, place, features[..., 2 * d :]).reshape(-1, d, d)
        return FullGaussian(base.mean, base.scale, mixing)


class HouseholderHead(nn.Module):
    """Features (b, 2d + K d) → :class:`FullGaussian` rotated by K reflections (arXiv:1611.09630).

    The mixing is H_K ⋯ H_1 with H = I − 2 v vᵀ/‖v‖². It is orthogonal, so it preserves volume, and needs
    fewer features than a full covariance if K < (d − 1)/2.

    Parameters
    ----------
    latent_dim, scale, min_scale
        As of :class:`DiagonalGaussianHead`.
    steps : int
        K.
    """

    makes = FullGaussian

    def __init__(
        self, latent_dim: int, *, steps: int = 4, scale: Scale = "softplus", min_scale: float = 1e-6
    ):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("steps", steps, 1)
        self.latent_dim = latent_dim
        self.steps = steps
        self.diagonal = DiagonalGaussianHead(latent_dim, scale=scale, min_scale=min_scale)
        self.in_shape: tuple[int, ...] = ((2 + steps) * latent_dim,)

    def forward(self, features: Tensor) -> FullGaussian:
        """Split the features into mean, raw scale, and the normals v_1 to v_K of the reflections."""
        d = self.latent_dim
        base = self.diagonal(features[..., : 2 * d])
        mixing = torch.eye(d, dtype=features.dtype, device=features.device).expand(len(features), d, d)
        for mirror in features[..., 2 * d :].chunk(self.steps, -1):
            normal = unit_vector(mirror)[..., None]
            mixing = mixing - 2 * normal @ (normal.mT @ mixing)
        return FullGaussian(base.mean, base.scale, mixing, orthogonal=True)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"steps={self.steps}"

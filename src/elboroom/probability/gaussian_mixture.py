"""A Gaussian mixture with full or diagonal covariances, as a prior that is fitted instead of trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError

# Numbers in memory at a time when codes are compared with all components.
_COMPARED_NUMBERS = 8_000_000


class GaussianMixture(nn.Module):
    """Σ_k weight_k N(z; mean_k, L_k L_kᵀ) over d dimensions.

    Parameters
    ----------
    log_weights : Tensor
        (k,); their exponentials sum to 1.
    mean : Tensor
        (k, d).
    factor : Tensor
        Lower Cholesky factors L of the covariances, (k, d, d), or standard deviations, (k, d), if these
        are diagonal.

    Raises
    ------
    UsageError
        If the shapes do not fit together.

    Examples
    --------
    >>> GaussianMixture(torch.zeros(1), torch.zeros(1, 2), torch.ones(1, 2)).log_prob(torch.zeros(2)).item()
    -1.8378...
    """

    log_weights: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(self, log_weights: Tensor, mean: Tensor, factor: Tensor):
        super().__init__()
        k, d = mean.shape
        if log_weights.shape != (k,) or factor.shape not in ((k, d), (k, d, d)):
            raise UsageError(
                f"means of shape {tuple(mean.shape)} need {k} log-weights and factors of shape ({k}, {d}) or "
                f"({k}, {d}, {d}); got {tuple(log_weights.shape)} and {tuple(factor.shape)}"
            )
        self.latent_dim = d
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        k, d = self.mean.shape
        flat = z.reshape(-1, d)
        pieces = torch.split(flat, max(1, _COMPARED_NUMBERS // (k * d)))
        return torch.cat([self._log_prob(piece) for piece in pieces]).reshape(z.shape[:-1])

    def _log_prob(self, z: Tensor) -> Tensor:
        away = z[:, None] - self.mean  # (n, k, d)
        if self.factor.ndim == 2:
            noise, log_det = away / self.factor, self.factor.log().sum(-1)
        else:
            noise = torch.linalg.solve_triangular(self.factor, away.permute(1, 2, 0), upper=False)
            noise = noise.permute(2, 0, 1)
            log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        each = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1) - log_det
        return torch.logsumexp(self.log_weights + each, -1)

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        with torch.no_grad():
            if n == 0:
                return self.mean[:0]
            chosen = torch.multinomial(self.log_weights.exp(), n, replacement=True)
            noise = torch.randn(n, self.latent_dim, dtype=self.mean.dtype, device=self.mean.device)
            if self.factor.ndim == 2:
                return self.mean[chosen] + self.factor[chosen] * noise
            z = torch.empty_like(noise)
            for component in range(len(self.mean)):  # a factor for each draw would fill the memory
                own = chosen == component
                z[own] = self.mean[component] + noise[own] @ self.factor[component].T
            return z

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        covariances = "diagonal" if self.factor.ndim == 2 else "full"
        return f"latent_dim={self.latent_dim}, components={len(self.mean)}, covariances={covariances!r}"

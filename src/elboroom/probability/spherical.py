"""Codes on the unit sphere: the power spherical posterior and the uniform prior.

A code of d numbers is a point on S^(d−1), the sphere in R^d. Densities are with respect to the sphere's
surface, so they can be compared with each other, but not with densities on all of R^d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet
from torch.nn import functional as F

from elboroom.distributed import noise
from elboroom.probability.parameters import in_double
from elboroom.probability.posteriors import at_least, changed, unit_vector

# At this concentration codes are within about 1e-3 of their direction, which float32 still resolves well.
_MOST_CONCENTRATED = 1e6


def log_area(d: int) -> float:
    """Logarithm of the surface area of the unit sphere in R^d, log 2π^(d/2)/Γ(d/2).

    Examples
    --------
    >>> round(math.exp(log_area(3)) / math.pi, 9)
    4.0
    """
    return math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)


@dataclass(frozen=True)
class PowerSpherical:
    """Density on the sphere in R^d, proportional to (1 + μ·z)^κ (arXiv:2006.04437).

    Parameters
    ----------
    mean : Tensor
        The direction μ of each example, (b, d), of length 1, which is its code. The mean in R^d would lie
        inside the sphere, where there are no codes.
    concentration : Tensor
        κ ≥ 0, (b,); 0 is uniform.
    """

    stochastic: ClassVar[bool] = True
    space: ClassVar[str] = "sphere"
    mean: Tensor
    concentration: Tensor

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d), differentiably (implicitly in κ), and its log-density (k, b) in nats.

        A height t = μ·z is drawn from a beta distribution stretched to [−1, 1], the rest uniformly around μ.
        """
        alpha, beta = self._alpha_beta()
        # The shares (1 + t)/2 and (1 − t)/2 are drawn together: a subtraction would lose the smaller one.
        pair = torch.stack([alpha, beta.expand_as(alpha)], -1)
        near, far = Dirichlet(pair, validate_args=False).rsample((num_samples,)).unbind(-1)
        aside = F.normalize(
            noise.normal(num_samples, *self.mean[..., 1:].shape, batch_dim=1, like=self.mean), dim=-1
        )
        height = (near - far)[..., None]
        width = 2 * (near * far).clamp_min(torch.finfo(near.dtype).tiny).sqrt()[..., None]
        # Drawn around the first axis, pointing away from μ, then reflected onto μ: a distance of at least √2
        # between the two keeps the reflection and its gradient well defined.
        away = -torch.where(self.mean[..., :1] < 0, -1.0, 1.0).to(self.mean.dtype)
        upright = torch.cat([away * height, width * aside], -1)
        first = torch.cat([away, torch.zeros_like(self.mean[..., 1:])], -1)
        normal = F.normalize(first - self.mean, dim=-1)
        z = upright - 2 * normal * (normal * upright).sum(-1, keepdim=True)
        return z, self._log_normalizer() + self.concentration * _log_share(near, far)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of points z (..., b, d) on the sphere in nats per unit of surface, (..., b)."""
        near, far = ((z + sign * self.mean).square().sum(-1) / 4 for sign in (1, -1))
        return self._log_normalizer() + self.concentration * _log_share(near, far)

    def rate_to_uniform(self) -> Tensor:
        """KL to the uniform distribution on the sphere, log area − entropy: (b,), nats, in closed form."""
        alpha, beta = in_double(*self._alpha_beta())
        (concentration,) = in_double(self.concentration)
        expected = concentration * (torch.digamma(alpha) - torch.digamma(alpha + beta))
        rate = log_area(self.mean.shape[-1]) + _log_normalizer(alpha, beta) + expected
        return rate.clamp_min(0).to(self.mean.dtype)  # rounding could make it negative near κ = 0

    def detached(self) -> Self:
        """The same posterior with its parameters detached from the graph."""
        return changed(self, Tensor.detach)

    def _alpha_beta(self) -> tuple[Tensor, Tensor]:
        beta = torch.full_like(self.concentration, 0.5 * (self.mean.shape[-1] - 1))
        return beta + self.concentration, beta

    def _log_normalizer(self) -> Tensor:
        """Log-density at μ: log(C · 2^κ) in eq. 4 of the paper."""
        return _log_normalizer(*in_double(*self._alpha_beta())).to(self.mean.dtype)


def _log_normalizer(alpha: Tensor, beta: Tensor) -> Tensor:
    gammas = torch.lgamma(alpha + beta) - torch.lgamma(alpha)
    return gammas - beta * (math.log(4 * math.pi))


def _log_share(near: Tensor, far: Tensor) -> Tensor:
    """Logarithm of ``near`` = 1 − ``far``, precise at both endpoints and with finite gradients."""
    close = torch.log1p(-far.clamp_max(0.5))
    return torch.where(far < 0.5, close, near.clamp_min(torch.finfo(near.dtype).tiny).log())


class PowerSphericalHead(nn.Module):
    """Features (b, d + 1) → :class:`PowerSpherical`: a vector whose direction is μ, and the raw κ.

    κ = softplus(raw), smoothly limited to 1e6.

    Parameters
    ----------
    latent_dim : int
        d ≥ 2; codes are points on the sphere S^(d−1) in R^d.

    Raises
    ------
    UsageError
        If ``latent_dim`` < 2: a sphere in one dimension is two points.
    """

    makes = PowerSpherical

    def __init__(self, latent_dim: int):
        super().__init__()
        at_least("latent_dim", latent_dim, 2)
        self.latent_dim = latent_dim
        self.in_shape: tuple[int, ...] = (latent_dim + 1,)

    def forward(self, features: Tensor) -> PowerSpherical:
        """Split the features (b, d + 1) into direction and concentration."""
        concentration = F.softplus(features[..., -1])
        concentration = concentration / (1 + concentration / _MOST_CONCENTRATED)
        return PowerSpherical(unit_vector(features[..., :-1]), concentration)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"


class UniformSphere(nn.Module):
    """The uniform distribution on the sphere in R^d, the prior of spherical codes (arXiv:1804.00891).

    Parameters
    ----------
    latent_dim : int
        d ≥ 2.

    Raises
    ------
    UsageError
        If ``latent_dim`` < 2.

    Examples
    --------
    >>> UniformSphere(2).log_prob(torch.tensor([0.6, 0.8])).item()  # -log 2π
    -1.8378...
    """

    space = "sphere"

    def __init__(self, latent_dim: int):
        super().__init__()
        at_least("latent_dim", latent_dim, 2)
        self.latent_dim = latent_dim
        # For the model's device and dtype; not saved.
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of points z (..., d) on the sphere in nats per unit of surface, (...)."""
        return torch.full_like(z[..., 0], -log_area(self.latent_dim))

    def sample(self, n: int) -> Tensor:
        """Draw n codes of length 1, (n, d)."""
        zero = self._zero
        assert isinstance(zero, Tensor)
        return F.normalize(torch.randn(n, self.latent_dim, dtype=zero.dtype, device=zero.device), dim=-1)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"

"""p(z|c): a normal prior whose mean and scale depend on a condition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elboroom.probability.parameters import in_turn
from elboroom.probability.posteriors import at_least

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class GivenNormal:
    """N(mean, diag scale²) for each of m conditions: a :class:`ConditionalNormal` with its conditions given.

    Parameters
    ----------
    mean, scale : Tensor
        Both (m, d); ``scale`` is the standard deviation, > 0.
    """

    mean: Tensor
    scale: Tensor

    @property
    def latent_dim(self) -> int:
        """Length of a code, d."""
        return self.mean.shape[-1]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., m, d) in nats, (..., m); with a single condition, of any z (..., d)."""
        mean, scale = (self.mean[0], self.scale[0]) if len(self.mean) == 1 else (self.mean, self.scale)
        standard = (z - mean) / scale
        return -(0.5 * (standard.square() + _LOG_2PI) + scale.log()).sum(-1)

    def standardize(self, z: Tensor) -> Tensor:
        """Codes (m, d) in units of the prior, (z − mean)/scale."""
        return (z - self.mean) / self.scale

    def place(self, standard: Tensor) -> Tensor:
        """Codes (m, d) from codes in units of the prior.

        Of all maps from one such prior to another, ``q.place(p.standardize(z))`` moves codes the least.
        """
        return self.mean + self.scale * standard

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d), for the conditions in turn: k · m draws are (k, m, d) flattened."""
        mean, scale = (in_turn(each.detach(), n) for each in (self.mean, self.scale))
        return mean + scale * torch.randn_like(mean)

    def quantile(self, u: Tensor) -> Tensor:
        """Inverse distribution function of each dimension for one condition, u (..., d) → z (..., d)."""
        return self.mean + self.scale * torch.special.ndtri(u)


class ConditionalNormal(nn.Module):
    """N(μ(c), diag σ(c)²), with μ and log σ affine in the condition; it starts as N(0, I).

    With labels as conditions, each class has its own normal prior.

    Parameters
    ----------
    latent_dim : int
        d.
    size : int
        C, length of a condition.

    Examples
    --------
    >>> prior = ConditionalNormal(2, 3)
    >>> prior.given(torch.eye(3)).sample(6).shape
    torch.Size([6, 2])
    """

    def __init__(self, latent_dim: int, size: int):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("size", size, 1)
        self.latent_dim = latent_dim
        self.size = size
        self.mean = nn.Linear(size, latent_dim)
        self.log_scale = nn.Linear(size, latent_dim)
        for weight in self.parameters():
            nn.init.zeros_(weight)

    def given(self, c: Tensor) -> GivenNormal:
        """The prior of each of the conditions c (m, C)."""
        # Networks may run in lower precision; densities never do.
        return GivenNormal(self.mean(c).to(c.dtype), self.log_scale(c).to(c.dtype).exp())

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}, size={self.size}"

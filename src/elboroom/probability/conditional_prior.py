"""p(z|c): a normal prior whose mean and scale follow from a condition."""

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
    """N(mean, diag scale²) of each of m conditions; what a :class:`ConditionalNormal` is given them.

    Parameters
    ----------
    mean, scale : Tensor
        Both (m, d); ``scale`` is the standard deviation, > 0.
    """

    mean: Tensor
    scale: Tensor

    @property
    def latent_dim(self) -> int:
        """Numbers in a code, d."""
        return self.mean.shape[-1]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., m, d) in nats, (..., m); with one condition of any z (..., d)."""
        mean, scale = (self.mean[0], self.scale[0]) if len(self.mean) == 1 else (self.mean, self.scale)
        standard = (z - mean) / scale
        return -(0.5 * (standard.square() + _LOG_2PI) + scale.log()).sum(-1)

    def standardize(self, z: Tensor) -> Tensor:
        """Codes (m, d) in units of the prior, (z − mean)/scale."""
        return (z - self.mean) / self.scale

    def place(self, standard: Tensor) -> Tensor:
        """Codes (m, d) of those in units of the prior.

        Of all maps that bring one such prior onto another, ``q.place(p.standardize(z))`` moves codes least.
        """
        return self.mean + self.scale * standard

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d), the conditions taken in turn: k · m draws are (k, m, d) side by side."""
        mean, scale = (in_turn(each.detach(), n) for each in (self.mean, self.scale))
        return mean + scale * torch.randn_like(mean)

    def quantile(self, u: Tensor) -> Tensor:
        """Inverse distribution function of each dimension given one condition, u (..., d) → z (..., d)."""
        return self.mean + self.scale * torch.special.ndtri(u)


class ConditionalNormal(nn.Module):
    """N(μ(c), diag σ(c)²): μ and log σ are affine in the condition, and start at 0, as N(0, I).

    Given labels, each class has a normal prior of its own.

    Parameters
    ----------
    latent_dim : int
        d.
    size : int
        C, numbers in a condition.

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
        """Give the prior of each of the conditions c (m, C)."""
        # Networks may work in lower precision; densities never do.
        return GivenNormal(self.mean(c).to(c.dtype), self.log_scale(c).to(c.dtype).exp())

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}, size={self.size}"

"""A custom posterior: a head that turns the encoder's output into a distribution; here Laplaces."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import elboroom
from elboroom.networks import MLP
from elboroom.probability import DiagonalGaussianHead, StandardNormal


@dataclass(frozen=True)
class LaplacePosterior:
    """q(z|x) of b examples: Laplace distributions with mean and scale (b, d)."""

    stochastic: ClassVar[bool] = True
    mean: Tensor
    scale: Tensor

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Codes z (k, b, d), differentiable in mean and scale, and log q(z|x) (k, b), nats."""
        laplace = torch.distributions.Laplace(self.mean, self.scale)
        z = laplace.rsample((num_samples,))
        return z, laplace.log_prob(z).sum(-1)

    def detached(self) -> "LaplacePosterior":
        """Copy without gradients, which some bounds need."""
        return LaplacePosterior(self.mean.detach(), self.scale.detach())


class LaplaceHead(nn.Module):
    """Features (b, 2d) → LaplacePosterior: means, then raw scales."""

    makes = LaplacePosterior

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.in_shape = (2 * latent_dim,)  # output of the encoder for one example

    def forward(self, features: Tensor) -> LaplacePosterior:
        """Features (b, 2d)."""
        mean, raw = features.chunk(2, -1)
        return LaplacePosterior(mean, F.softplus(raw) + 1e-6)


def train(posterior: nn.Module) -> float:
    """Train and return the validation ELBO with this posterior, in nats."""
    torch.manual_seed(0)
    data = elboroom.load_data("digits")
    encoder = MLP(data.shape, posterior.in_shape, hidden=[128])
    decoder = MLP((posterior.latent_dim,), data.shape, hidden=[128])
    prior = StandardNormal(posterior.latent_dim)
    vae = elboroom.VAE(encoder, decoder, prior, shape=data.shape, scale=data.scale, posterior=posterior)
    return elboroom.fit(vae, data, epochs=8, lr=3e-3, quiet=True)[-1]["val_elbo"]


laplace, normal = train(LaplaceHead(4)), train(DiagonalGaussianHead(4))
print(f"validation ELBO {laplace:.2f} nats with Laplace posteriors, {normal:.2f} with normal ones")

"""A custom likelihood: a head that turns the decoder's output into a distribution; here a binomial.

A pixel of the digits is the number of black cells, 0 to 16, in a 4×4 block of a scanned page: a count out
of 16. With a binomial likelihood, the ELBO therefore bounds the log-probability of the integers themselves.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import elboroom
from elboroom.networks import MLP
from elboroom.probability import StandardNormal


@dataclass(frozen=True)
class Binomial:
    """Counts out of `total` as fractions x in [0, 1], with the logits (..., *shape) of a single cell."""

    logits: Tensor
    total: int
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Image to show, (..., *shape)."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """Summed over the dimensions of an example, nats, (...)."""
        hits, misses = self.total * x, self.total * (1 - x)
        ways = torch.lgamma(hits + misses + 1) - torch.lgamma(hits + 1) - torch.lgamma(misses + 1)
        each = ways + hits * F.logsigmoid(self.logits) + misses * F.logsigmoid(-self.logits)
        return each.flatten(-self.event_dims).sum(-1)

    def sample(self) -> Tensor:
        """One observation, (..., *shape)."""
        total = torch.full_like(self.logits, self.total)
        return torch.binomial(total, self.mean) / self.total


class BinomialHead(nn.Module):
    """Features of the shape of the data, used as logits → Binomial."""

    support = (0.0, 1.0)  # data outside this range are refused before training

    def __init__(self, shape: tuple[int, ...], total: int):
        super().__init__()
        self.in_shape = shape  # output of the decoder for one example
        self.total = total
        self.spacing = 1 / total  # between possible values of x

    def forward(self, features: Tensor) -> Binomial:
        """Features (..., *in_shape)."""
        return Binomial(features, self.total, len(self.in_shape))


torch.manual_seed(0)
data = elboroom.load_data("digits")  # the model sees 16 as 1
vae = elboroom.VAE(
    MLP(data.shape, (8,), hidden=[128]),
    MLP((4,), data.shape, hidden=[128]),
    StandardNormal(4),
    shape=data.shape,
    scale=data.scale,
    likelihood=BinomialHead(data.shape, total=16),
)
elboroom.fit(vae, data, epochs=8, lr=3e-3, quiet=True)
nll = vae.nll(data.x[data.indices("test")], num_samples=100)
print(f"-log p(integers) is {nll.value.mean():.1f} nats, {nll.value.mean() / 64:.2f} a pixel")

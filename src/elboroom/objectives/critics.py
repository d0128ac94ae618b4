"""Critics: classifiers of codes that train against the model (FactorVAE, adversarial autoencoder).

A penalty that implements :class:`Opponent` trains against the model in the same step. The loss of the model
gives it no gradient and its own loss gives the model none, so one backward pass computes both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.models.terms import Terms


class Opponent(Protocol):
    """A penalty module that trains against the model; ``lr`` and ``betas`` configure its own Adam."""

    lr: float
    betas: tuple[float, float]

    def __call__(self, terms: Terms) -> Tensor:
        """Compute the penalty of the model, a scalar that must give the opponent no gradient."""
        ...

    def own_loss(self, terms: Terms) -> Tensor:
        """Compute the scalar that the opponent minimises, which must give the model no gradient."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Weights that ``own_loss`` trains."""
        ...


def permuted(z: Tensor) -> Tensor:
    """Permute each dimension of codes (k, b, d) over the batch: draws from the product of the marginals.

    The batch is shuffled once and dimension j is rotated by j rows. While d ≤ b, no row then holds two
    numbers of the same example; under independent permutations one pair in b would.

    Examples
    --------
    >>> z = torch.arange(3.0)[None, :, None].expand(1, 3, 2)  # row number as code
    >>> first, second = permuted(z)[0].T
    >>> bool((first != second).all())
    True
    """
    _, b, d = z.shape
    order = torch.rand(b, device=z.device).argsort()
    rows = (torch.arange(b, device=z.device)[:, None] + torch.arange(d, device=z.device)) % b
    return z.gather(1, order[rows].expand_as(z))


def _permuted_codes(terms: Terms) -> Tensor:
    return permuted(terms.z)


def _prior_codes(terms: Terms) -> Tensor:
    z = terms.z
    draws: Tensor = terms.prior.sample(z.shape[0] * z.shape[1])
    return draws.reshape(z.shape)


class Critic(nn.Module):
    """A classifier that distinguishes codes of q from codes of a reference distribution.

    Parameters
    ----------
    network : nn.Module
        Codes (..., d) → logits (..., 1), high for codes of q.
    reference : callable
        Terms → codes (k, b, d) of the distribution that q should match.
    cost : callable
        Logits at the codes of q → the model's penalty, elementwise. The logit of an optimal critic is
        log q(z) / reference(z), and its mean is a KL divergence in nats.
    lr, betas
        Settings of the critic's own Adam.
    """

    def __init__(
        self,
        network: nn.Module,
        reference: Callable[[Terms], Tensor],
        cost: Callable[[Tensor], Tensor],
        *,
        lr: float,
        betas: tuple[float, float],
    ):
        super().__init__()
        self.network = network
        self.reference = reference
        self.cost = cost
        self.lr = lr
        self.betas = betas

    def forward(self, terms: Terms) -> Tensor:
        """Compute the penalty of the model; its gradient reaches the codes but not the critic."""
        fixed = {name: weight.detach() for name, weight in self.network.named_parameters()}
        logits: Tensor = functional_call(self.network, fixed, (terms.z,))
        return self.cost(logits).mean()

    def own_loss(self, terms: Terms) -> Tensor:
        """Compute the critic's cross-entropy in nats, which is log 2 at chance level."""
        with torch.no_grad():
            codes, reference = terms.z.detach(), self.reference(terms)
        logits: Tensor = self.network(torch.stack([codes, reference]))
        return 0.5 * (F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean())

    def extra_repr(self) -> str:
        """Shown by ``print(objective)``."""
        return f"lr={self.lr:g}, betas={self.betas}"


def total_correlation_critic(
    latent_dim: int,
    hidden: Sequence[int] = (1000,) * 5,
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.5, 0.9),
) -> Critic:
    """Penalty KL(q(z) ‖ Πⱼ q(zⱼ)) in nats, from the log-ratio of a critic (FactorVAE, arXiv:1802.05983).

    The paper draws the permuted codes from a second batch. Here they come from the same batch: the critic's
    loss is the sum of a mean over each set, so dependence between the sets adds no bias, and neither a second
    pass nor half a batch is needed. The network, its slope of 0.2 and the settings of Adam are the paper's.

    Parameters
    ----------
    latent_dim : int
        d, at least 2: one dimension has no total correlation.
    hidden : sequence of int
        Widths of the critic's layers.
    lr, betas
        Settings of the critic's own Adam.

    Raises
    ------
    UsageError
        If ``latent_dim`` < 2.
    """
    if latent_dim < 2:
        raise UsageError(f"latent_dim = {latent_dim}: total correlation needs at least 2 dimensions")
    network = _leaky_mlp(latent_dim, hidden, slope=0.2)
    return Critic(network, _permuted_codes, _identity, lr=lr, betas=betas)


def prior_critic(
    latent_dim: int,
    hidden: Sequence[int] = (1000, 1000),
    *,
    lr: float = 5e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> Critic:
    """Penalty on codes that a critic distinguishes from draws of the prior (AAE, arXiv:1511.05644).

    The penalty is −log of the critic's probability that a code came from the prior (the non-saturating loss,
    which keeps a gradient where the critic is certain); at chance level it is log 2. It replaces the rate, so
    use ``beta = 0``. Also known as WAE-GAN (arXiv:1711.01558).

    Parameters
    ----------
    latent_dim : int
        Number of latent dimensions.
    hidden : sequence of int
        Widths of the critic's layers.
    lr, betas
        Settings of the critic's own Adam.
    """
    network = _leaky_mlp(latent_dim, hidden, slope=0.2)
    return Critic(network, _prior_codes, F.softplus, lr=lr, betas=betas)


def _identity(logits: Tensor) -> Tensor:
    return logits


def _leaky_mlp(inputs: int, hidden: Sequence[int], slope: float) -> nn.Sequential:
    widths = [inputs, *hidden]
    layers = [
        layer
        for before, after in itertools.pairwise(widths)
        for layer in (nn.Linear(before, after), nn.LeakyReLU(slope))
    ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1))

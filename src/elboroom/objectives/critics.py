"""Critics: classifiers of codes that train against the model (FactorVAE, adversarial autoencoder).

Any penalty of the form of :class:`Opponent` trains against the model in the same step. Its two losses share
no weights, so that one backward pass serves both.
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
    """A penalty, as a module, that trains against the model; ``lr`` and ``betas`` are of its own Adam."""

    lr: float
    betas: tuple[float, float]

    def __call__(self, terms: Terms) -> Tensor:
        """Scalar that the model pays; must give no gradient to the opponent."""
        ...

    def own_loss(self, terms: Terms) -> Tensor:
        """Scalar that the opponent minimises; must give no gradient to the model."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Weights that ``own_loss`` trains."""
        ...


def permuted(z: Tensor) -> Tensor:
    """Give each dimension of codes (k, b, d) to another example: draws from the product of the marginals.

    The batch is shuffled once and dimension j moved on by j rows, so that no row has two numbers of one
    example as long as d ≤ b; with a free permutation of each dimension one pair in b would.

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
    """A classifier that tells codes of q from codes of a reference; the model pays for being told apart.

    Parameters
    ----------
    network : nn.Module
        Codes (..., d) → logits (..., 1), high for codes of q.
    reference : callable
        Terms → codes (k, b, d) that q's should look like.
    cost : callable
        Logits at q's codes → what the model pays, elementwise. At the best critic the logit is
        log q(z) / reference(z), so its mean is a KL in nats.
    lr, betas
        Of the critic's own Adam.
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
        """Scalar that the model pays; its gradient goes to the codes and not to the critic."""
        fixed = {name: weight.detach() for name, weight in self.network.named_parameters()}
        logits: Tensor = functional_call(self.network, fixed, (terms.z,))
        return self.cost(logits).mean()

    def own_loss(self, terms: Terms) -> Tensor:
        """Scalar that the critic minimises: cross-entropy in nats, log 2 where it can tell nothing."""
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
    """Penalty KL(q(z) ‖ Πⱼ q(zⱼ)) in nats by a critic's log-ratio (FactorVAE, arXiv:1802.05983).

    The paper draws the permuted codes from a second batch. Here they come from the same one: the critic's
    loss is a sum of one mean over each set, so that their dependence adds no bias, and no second pass and
    no halved batch is needed. The network, its slope of 0.2 and Adam's settings are the paper's.

    Parameters
    ----------
    latent_dim : int
        d, at least 2: one dimension has no total correlation.
    hidden : sequence of int
        Widths of the critic's layers.
    lr, betas
        Of the critic's own Adam.

    Raises
    ------
    UsageError
        If ``latent_dim`` < 2.
    """
    if latent_dim < 2:
        raise UsageError(f"latent_dim = {latent_dim}: total correlation is between 2 or more dimensions")
    network = _leaky_mlp(latent_dim, hidden, slope=0.2)
    return Critic(network, _permuted_codes, _as_it_is, lr=lr, betas=betas)


def prior_critic(
    latent_dim: int,
    hidden: Sequence[int] = (1000, 1000),
    *,
    lr: float = 5e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> Critic:
    """Penalty for codes that a critic tells from the prior's (AAE, arXiv:1511.05644; WAE-GAN, 1711.01558).

    The model pays −log of the probability that its code is the prior's, which has a gradient where the
    critic is sure too. It stands in place of the rate, so it goes with ``beta = 0``; where the critic can
    tell nothing it is log 2.

    Parameters
    ----------
    latent_dim : int
        d.
    hidden : sequence of int
        Widths of the critic's layers.
    lr, betas
        Of the critic's own Adam.
    """
    network = _leaky_mlp(latent_dim, hidden, slope=0.2)
    return Critic(network, _prior_codes, F.softplus, lr=lr, betas=betas)


def _as_it_is(logits: Tensor) -> Tensor:
    return logits


def _leaky_mlp(inputs: int, hidden: Sequence[int], slope: float) -> nn.Sequential:
    widths = [inputs, *hidden]
    layers = [
        layer
        for before, after in itertools.pairwise(widths)
        for layer in (nn.Linear(before, after), nn.LeakyReLU(slope))
    ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1))

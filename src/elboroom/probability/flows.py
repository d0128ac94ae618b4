"""Posteriors transformed by a chain of invertible steps with exact log-determinants (normalising flows).

A step maps z (k, b, d) to (z' (k, b, d), log|det dz'/dz| (k, b)). It depends on the example: the encoder
gives its parameters, or a context for its network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from elboroom.probability.posteriors import DiagonalGaussian, DiagonalGaussianHead, Scale, at_least, changed

# Least slope of a planar step along its direction, so that the log-determinant stays above −7 nats.
_LEAST_SLOPE = 1e-3
# softplus(x + _SHIFT) is 1 at x = 0, which makes a planar step without a direction the identity.
_SHIFT = math.log(math.e - 1)
# ‖w‖² below this counts as no direction.
_NO_DIRECTION = 1e-8
# The gates of an autoregressive step start mostly open, at sigmoid(2) = 0.88 (arXiv:1606.04934 §4).
_OPEN_GATE = 2.0


class Step(Protocol):
    """One invertible map of codes, for a batch of b examples."""

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z (k, b, d) to z' and log|det dz'/dz| (k, b)."""
        ...

    def detached(self) -> Step:
        """The same step with its parameters detached from the graph."""
        ...


@dataclass(frozen=True)
class FlowPosterior:
    """A diagonal Gaussian transformed by steps (arXiv:1505.05770).

    The log-density of its own samples is exact. The density at any other z would need the inverses of the
    steps, which are expensive, so there is no ``log_prob``.

    Parameters
    ----------
    base : DiagonalGaussian
        Distribution before the steps, of b examples.
    steps : sequence of Step
        In the order of application.
    """

    stochastic: ClassVar[bool] = True
    base: DiagonalGaussian
    steps: tuple[Step, ...]

    @property
    def mean(self) -> Tensor:
        """Image of the base's mean under the steps, (b, d): the code. The true mean has no closed form."""
        z = self.base.mean[None]
        for step in self.steps:
            z, _ = step(z)
        return z[0]

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d), differentiably, and its log-density (k, b) in nats."""
        z, log_q = self.base.rsample_and_log_prob(num_samples)
        for step in self.steps:
            z, log_det = step(z)
            log_q = log_q - log_det
        return z, log_q

    def detached(self) -> Self:
        """The same posterior with its parameters detached from the graph."""
        return type(self)(self.base.detached(), tuple(step.detached() for step in self.steps))


@dataclass(frozen=True)
class Planar:
    """z + û tanh(wᵀz + b): stretches or compresses across one plane (arXiv:1505.05770 eq. 10).

    û is u moved along w to wᵀû = m(wᵀu) > −1, which makes the map invertible (appendix A.1). Unlike the
    paper's, m(x) = softplus(x + log(e − 1)) − 1 has m(0) = 0, so û stays finite as w vanishes.

    Parameters
    ----------
    u, w : Tensor
        (b, d).
    bias : Tensor
        (b, 1).
    """

    u: Tensor
    w: Tensor
    bias: Tensor

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z (k, b, d) to z' and log|det dz'/dz| (k, b)."""
        dot = (self.w * self.u).sum(-1, keepdim=True)
        square = self.w.square().sum(-1, keepdim=True) + _NO_DIRECTION
        slope = (1 - _LEAST_SLOPE) * F.softplus(dot + _SHIFT) + _LEAST_SLOPE  # 1 + m
        u = self.u + (slope - 1 - dot) / square * self.w
        # 1 + wᵀû without cancellation: almost equal to the slope.
        share = _NO_DIRECTION / square
        stretch = (1 - share) * slope + share * (1 + dot)
        height = torch.tanh((self.w * z).sum(-1, keepdim=True) + self.bias)
        # 1 + (1 − tanh²) wᵀû, as a sum of positive terms
        det = height.square() + (1 - height.square()) * stretch
        return z + u * height, det[..., 0].log()

    def detached(self) -> Self:
        """The same step with its parameters detached from the graph."""
        return changed(self, Tensor.detach)


@dataclass(frozen=True)
class InverseAutoregressive:
    """g ⊙ z + (1 − g) ⊙ m, where gate and offset of each dimension depend on those before (arXiv:1606.04934).

    Parameters
    ----------
    network : nn.Module
        (k, b, d + c) → (k, b, 2d): raw gate and offset of each dimension in turn.
    context : Tensor
        (b, c), the encoder's output for the network.
    frozen : bool
        Whether the network's weights are detached from the graph.
    """

    network: nn.Module
    context: Tensor
    frozen: bool = False

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z (k, b, d) to z' and log|det dz'/dz| (k, b)."""
        joined = torch.cat([z, self.context.expand(*z.shape[:-1], -1)], -1)
        if self.frozen:
            weights = {name: weight.detach() for name, weight in self.network.named_parameters()}
            out: Tensor = torch.func.functional_call(self.network, weights, (joined,))
        else:
            out = self.network(joined)
        # Networks may run in lower precision; densities never do.
        raw, offset = out.to(z.dtype).reshape(*z.shape, 2).unbind(-1)
        raw = raw + _OPEN_GATE
        return torch.lerp(offset, z, torch.sigmoid(raw)), F.logsigmoid(raw).sum(-1)

    def detached(self) -> Self:
        """The same step with its context and weights detached from the graph."""
        return type(self)(self.network, self.context.detach(), frozen=True)


class PlanarHead(nn.Module):
    """Features → :class:`FlowPosterior` of K planar steps: 2d for the base, then u, w and bias of each step.

    Parameters
    ----------
    latent_dim, scale, min_scale
        As of :class:`DiagonalGaussianHead`.
    steps : int
        K.
    """

    makes = FlowPosterior

    def __init__(
        self, latent_dim: int, *, steps: int = 8, scale: Scale = "softplus", min_scale: float = 1e-6
    ):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("steps", steps, 1)
        self.latent_dim = latent_dim
        self.steps = steps
        self.base = DiagonalGaussianHead(latent_dim, scale=scale, min_scale=min_scale)
        self.in_shape: tuple[int, ...] = (2 * latent_dim + steps * (2 * latent_dim + 1),)

    def forward(self, features: Tensor) -> FlowPosterior:
        """Split the features (b, 2d + K(2d + 1))."""
        d = self.latent_dim
        each = features[..., 2 * d :].chunk(self.steps, -1)
        steps = [Planar(p[..., :d], p[..., d : 2 * d], p[..., 2 * d :]) for p in each]
        return FlowPosterior(self.base(features[..., : 2 * d]), tuple(steps))

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"steps={self.steps}"


class InverseAutoregressiveHead(nn.Module):
    """Features → :class:`FlowPosterior` of K inverse autoregressive steps: 2d for the base, c of context.

    Each step has its own masked network, shared by all examples. Steps take the dimensions in ascending and
    descending order alternately. Before training a step only scales codes by 0.88.

    Parameters
    ----------
    latent_dim, scale, min_scale
        As of :class:`DiagonalGaussianHead`.
    steps : int
        K.
    context : int
        c ≥ 1, length of the context.
    hidden : sequence of int
        Widths of each network's hidden layers.
    """

    makes = FlowPosterior

    def __init__(
        self,
        latent_dim: int,
        *,
        steps: int = 4,
        context: int = 32,
        hidden: Sequence[int] = (64, 64),
        scale: Scale = "softplus",
        min_scale: float = 1e-6,
    ):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("steps", steps, 1)
        at_least("context", context, 1)
        self.latent_dim = latent_dim
        self.base = DiagonalGaussianHead(latent_dim, scale=scale, min_scale=min_scale)
        orders = [torch.arange(latent_dim), torch.arange(latent_dim).flip(0)]
        self.networks = nn.ModuleList(masked_mlp(orders[i % 2], context, hidden) for i in range(steps))
        self.in_shape: tuple[int, ...] = (2 * latent_dim + context,)

    def forward(self, features: Tensor) -> FlowPosterior:
        """Split the features (b, 2d + c)."""
        own = 2 * self.latent_dim
        steps = [InverseAutoregressive(network, features[..., own:]) for network in self.networks]
        return FlowPosterior(self.base(features[..., :own]), tuple(steps))


def masked_mlp(order: Tensor, context: int, hidden: Sequence[int]) -> nn.Module:
    """Make a network (..., d + c) → (..., 2d) whose outputs 2i and 2i + 1 depend only on dimensions before i.

    Its outputs start at zero.

    Parameters
    ----------
    order : Tensor
        (d,), position of each dimension in the order.
    context : int
        c numbers on which all outputs may depend.
    hidden : sequence of int
        Widths.
    """
    before = torch.cat([order[:, None] > order, torch.ones(len(order), context, dtype=torch.bool)], 1)
    network: nn.Module = zuko().nn.MaskedMLP(before.repeat_interleave(2, 0), list(hidden), activation=nn.ELU)
    zero_last_layer(network)
    return network


def zero_last_layer(network: nn.Module) -> None:
    """Make a network's outputs start at zero."""
    last = list(network.children())[-1]
    for weight in last.parameters():
        nn.init.zeros_(weight)


def zuko() -> Any:
    """Import zuko and restore the argument checks of ``torch.distributions``, which it turns off."""
    checks = Distribution._validate_args
    import zuko

    Distribution.set_default_validate_args(checks)
    return zuko

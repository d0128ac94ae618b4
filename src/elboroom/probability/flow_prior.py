"""A flexible prior: noise transformed by a chain of invertible layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.probability.flows import zero_last_layer, zuko
from elboroom.probability.posteriors import at_least
from elboroom.probability.priors import StandardNormal


class FlowPrior(nn.Module):
    """A neural spline flow with coupling layers (arXiv:1906.04032), which starts as N(0, I).

    Codes are shifted and scaled, then transformed by splines in each layer: those of one half are fixed,
    those of the other half depend on the first. A density needs one pass through each layer's network and a
    sample two, in any number of dimensions; a sample of an autoregressive flow needs one for each dimension.

    Parameters
    ----------
    latent_dim : int
        d.
    steps : int
        Coupling layers.
    hidden : sequence of int
        Widths of each layer's network.
    bins : int
        Pieces of each spline, which acts within ±5 after shift and scale and is the identity beyond.
    """

    def __init__(self, latent_dim: int, *, steps: int = 4, hidden: Sequence[int] = (64, 64), bins: int = 8):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("steps", steps, 1)
        at_least("bins", bins, 2)
        self.latent_dim = latent_dim
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        layers = [_spline_coupling(first, hidden, bins) for first in _halves(latent_dim, steps)]
        self.layers: Any = zuko().lazy.LazyComposedTransform(*layers)
        self.base = StandardNormal(latent_dim)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        if not z.numel():  # zuko cannot sum over empty tensors
            return z.sum(-1)
        standardised = (z - self.shift) * (-self.log_scale).exp()
        noise, log_det = self.layers().call_and_ladj(standardised)
        return self.base.log_prob(noise) + log_det - self.log_scale.sum()

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        with torch.no_grad():
            return self._code(self.base.sample(n))

    def quantile(self, u: Tensor) -> Tensor:
        """Map u (..., d) in (0, 1) to z (..., d), such that uniform u give codes of the prior."""
        return self._code(self.base.quantile(u))

    def _code(self, noise: Tensor) -> Tensor:
        standardised: Tensor = self.layers().inv(noise)
        return self.shift + self.log_scale.exp() * standardised

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"


def _halves(d: int, steps: int) -> list[Tensor]:
    """Which dimensions each layer reads first, (d,): front, back, even and odd in turn, so that all mix."""
    index = torch.arange(d)
    front, even = index < (d + 1) // 2, index % 2 == 0
    turns = [front, ~front, even, ~even]
    return [turns[step % 4] for step in range(steps)]


def _spline_coupling(first: Tensor, hidden: Sequence[int], bins: int) -> nn.Module:
    """Make a coupling layer of rational-quadratic splines (arXiv:1906.04032), a lazy transform of zuko.

    It starts as the identity.

    Parameters
    ----------
    first : Tensor
        (d,), true for the dimensions on which the splines of the others depend.
    hidden : sequence of int
        Widths of the network that computes those splines.
    bins : int
        Pieces of each spline.
    """
    layer: nn.Module = zuko().flows.autoregressive.MaskedAutoregressiveTransform(
        len(first),
        adjacency=(~first[:, None] & first) | torch.eye(len(first), dtype=torch.bool),
        univariate=zuko().transforms.MonotonicRQSTransform,
        shapes=[(bins,), (bins,), (bins - 1,)],
        hidden_features=list(hidden),
    )
    if isinstance(getattr(layer, "hyper", None), nn.Module):
        zero_last_layer(layer.hyper)  # type: ignore[arg-type]
    else:  # in one dimension nothing is read, and zuko uses parameters instead of a network
        for weight in layer.parameters():
            nn.init.zeros_(weight)
    return layer

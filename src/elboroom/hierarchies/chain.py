"""A Markov chain of latent layers, inferred from the bottom up: the deep nets of arXiv:1509.00519."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.hierarchies.vae import HierarchicalVAE
from elboroom.networks import MLP
from elboroom.networks.ladder import Draw
from elboroom.noise import normal
from elboroom.probability import DiagonalGaussian, DiagonalGaussianHead, StandardNormal, rate


class Chain(nn.Module):
    """p(z_1) p(z_2|z_1) … p(x|z_L) from the top z_1 ~ N(0, I) down, and q(z_L|x) q(z_{L−1}|z_L) … back up.

    All conditionals are diagonal Gaussians. The top layer's rate is the mean over the draws of a closed
    form, KL(q(z_1|z_2) ‖ N(0, I)). Those below have none, as what their prior hangs on is drawn *after*
    them: they are the unbiased log q − log p of the draws, of either sign.

    Parameters
    ----------
    latent_dims : sequence of int
        Numbers in each layer, top first.
    inference : sequence of nn.Module
        (n, d_{l+1}) → (n, 2 d_l) for all layers but the lowest, top first. The lowest is the encoder's.
    generation : sequence of nn.Module
        (n, d_l) → (n, 2 d_{l+1}) for all layers but the top, downwards.
    decoder : nn.Module
        (n, d_L) → (n, *out_shape).

    Attributes
    ----------
    layers : tuple of slice
        Which part of a code belongs to which layer, top first.
    """

    def __init__(
        self,
        latent_dims: Sequence[int],
        inference: Sequence[nn.Module],
        generation: Sequence[nn.Module],
        decoder: nn.Module,
        *,
        peak: int = 1,
    ):
        super().__init__()
        if not len(inference) == len(generation) == len(latent_dims) - 1:
            raise UsageError(
                f"{len(latent_dims)} layers need {len(latent_dims) - 1} networks up and as many down; got "
                f"{len(inference)} and {len(generation)}"
            )
        ends = [0, *itertools.accumulate(latent_dims)]
        self.layers = tuple(slice(a, b) for a, b in itertools.pairwise(ends))
        self.latent_dim = ends[-1]
        self.peak = peak
        self.inference = nn.ModuleList(inference)
        self.generation = nn.ModuleList(generation)
        self.decoder = decoder
        self.top = StandardNormal(latent_dims[0])
        self.heads = nn.ModuleList(DiagonalGaussianHead(d, scale="exp") for d in latent_dims)

    def forward(self, z: Tensor) -> Tensor:
        """Features (n, *out_shape) of codes (n, d): the lowest layer's alone."""
        return self.decoder(z[:, self.layers[-1]])

    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z_l | z_{l−1}) of each layer for codes (n, d): (L, n), nats."""
        parts = [z[:, layer] for layer in self.layers]
        below = [self._below(i, above).log_prob(part) for i, (above, part) in enumerate(_pairs(parts))]
        return torch.stack([self.top.log_prob(parts[0]), *below])

    def complete(self, n: int, above: Tensor | None = None, *, temperature: float = 0.0) -> Tensor:
        """Codes (n, d) of which the upper layers (n, d') are given and the lower ones follow from the prior.

        At ``temperature`` 0 by their conditional means, at 1 by draws.
        """
        given = 0 if above is None else above.shape[1]
        parts = [above[:, s] for s in self.layers if s.stop <= given] if above is not None else []
        if not parts:
            parts = [temperature * self.top.sample(n)]
        for i in range(len(parts) - 1, len(self.generation)):
            p = self._below(i, parts[-1])
            parts.append(p.mean + temperature * p.scale * torch.randn_like(p.mean))
        return torch.cat(parts, 1)

    def infer(self, features: Tensor, num_samples: int, *, temperature: float = 1.0) -> Draw:
        """Draw k codes for each of b examples, from the encoder's features (b, 2 d_L) up.

        ``temperature`` is 1, or 0 for the means.
        """
        k, b = num_samples, len(features)
        q: DiagonalGaussian = self.heads[-1](features)
        z, log_q = _draw(q, k, b, temperature)
        parts, log_qs, posterior = [z], [log_q], q
        for i in reversed(range(len(self.inference))):
            posterior = self.heads[i](self.inference[i](parts[0]).to(features.dtype))
            z, log_q = _draw(posterior, k, b, temperature)
            parts, log_qs = [z, *parts], [log_q, *log_qs]
        whole = torch.cat(parts, 1)
        log_p = self.log_prior(whole)
        rates = torch.stack(log_qs) - log_p
        # of b examples with one layer, of k·b codes with more
        top = rate(posterior, self.top, parts[0][None], log_qs[0][None])
        rates = torch.cat([top.repeat(k if posterior is q else 1)[None], rates[1:]])
        out = self.decoder(parts[-1])
        return Draw(
            whole.reshape(k, b, self.latent_dim),
            torch.stack(log_qs).sum(0).reshape(k, b),
            log_p.sum(0).reshape(k, b),
            rates.reshape(len(rates), k, b).mean(1),
            out.reshape(k, b, *out.shape[1:]),
        )

    def _below(self, i: int, above: Tensor) -> DiagonalGaussian:
        """p(z_{i+1} | z_i)."""
        # Networks may work in lower precision; densities never do.
        p: DiagonalGaussian = self.heads[i + 1](self.generation[i](above).to(above.dtype))
        return p


def _pairs(parts: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(itertools.pairwise(parts))


def _draw(q: DiagonalGaussian, k: int, b: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Codes (k·b, d) of b examples, or of each of k·b codes below, and their log-density (k·b,), nats."""
    mean, scale = (v.expand(k, *v.shape).flatten(0, 1) if len(v) == b else v for v in (q.mean, q.scale))
    noise = torch.zeros_like(mean)
    if temperature:
        noise = normal(k, b, mean.shape[-1], batch_dim=1, like=mean).flatten(0, 1)
    log_q = -(0.5 * (noise.square() + math.log(2 * math.pi)) + scale.log()).sum(-1)
    return mean + scale * noise, log_q


def make_chain(
    shape: Sequence[int],
    *,
    latent_dims: Sequence[int] = (50, 100),
    hidden: Sequence[Sequence[int]] = ((100, 100), (200, 200)),
    activation: str = "tanh",
    likelihood: nn.Module | None = None,
    scale: float = 255.0,
) -> HierarchicalVAE:
    """A chain of multilayer perceptrons; by default the two-layer nets of arXiv:1509.00519 §5.

    Those are x – 200 – 200 – **100** – 100 – 100 – **50** upwards, stochastic layers in bold, and the same
    downwards, with tanh between.

    Parameters
    ----------
    shape : tuple of int
        Of one example.
    latent_dims : sequence of int
        Numbers in each stochastic layer, top first.
    hidden : sequence of sequences of int
        Widths between each layer and what lies below it, seen from above: the lowest is next to the data.
    activation : str
        Between hidden layers.
    likelihood, scale
        As in :class:`VAE`.

    Raises
    ------
    UsageError
        If there are not as many lists of widths as layers.

    Examples
    --------
    >>> vae = make_chain((28, 28, 1))
    >>> vae.layers, vae(torch.zeros(3, 28, 28, 1), 5).log_weights.shape
    ((slice(0, 50, None), slice(50, 150, None)), torch.Size([5, 3]))
    """
    if len(hidden) != len(latent_dims) or not latent_dims:
        raise UsageError(
            f"hidden = {hidden!r}: one list of widths for each of the {len(latent_dims)} stochastic layers"
        )
    out_shape = tuple(shape) if likelihood is None else tuple(likelihood.in_shape)  # type: ignore[arg-type]
    down = list(zip(itertools.pairwise(latent_dims), hidden, strict=False))
    chain = Chain(
        latent_dims,
        [MLP((below,), (2 * above,), widths[::-1], activation=activation) for (above, below), widths in down],
        [MLP((above,), (2 * below,), widths, activation=activation) for (above, below), widths in down],
        MLP((latent_dims[-1],), out_shape, hidden[-1], activation=activation),
        peak=max(sum(latent_dims), math.prod(out_shape), *(max(widths, default=1) for widths in hidden)),
    )
    encoder = MLP(shape, (2 * latent_dims[-1],), hidden[-1][::-1], activation=activation)
    return HierarchicalVAE(encoder, chain, shape=shape, likelihood=likelihood, scale=scale)

"""A Markov chain of latent layers, inferred from the bottom up: the deep nets of arXiv:1509.00519."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import normal
from elboroom.errors import UsageError
from elboroom.models.conditioning import Conditioning, Part
from elboroom.models.hierarchical import HierarchicalVAE, layer_log_prior
from elboroom.networks import MLP
from elboroom.networks.ladder import Draw
from elboroom.networks.ladder_parts import consecutive
from elboroom.probability import (
    ConditionalNormal,
    DiagonalGaussian,
    DiagonalGaussianHead,
    GivenNormal,
    StandardNormal,
    rate,
)
from elboroom.probability.parameters import in_turn


class Chain(nn.Module):
    """p(z_1) p(z_2|z_1) … p(x|z_L) from the top z_1 ~ N(0, I) down, and q(z_L|x) q(z_{L−1}|z_L) … back up.

    All conditionals are diagonal Gaussians. The top layer's rate is the mean over the draws of a closed
    form, KL(q(z_1|z_2) ‖ N(0, I)). The layers below have no closed form, because their prior depends on codes
    that are drawn *after* theirs: their rates are the unbiased estimate log q − log p, of either sign.

    Parameters
    ----------
    latent_dims : sequence of int
        Latent dimensions of each layer, top first.
    inference : sequence of nn.Module
        (n, d_{l+1}) → (n, 2 d_l) for all layers but the lowest, top first. The encoder infers the lowest.
    generation : sequence of nn.Module
        (n, d_l) → (n, 2 d_{l+1}) for all layers but the top, in order from the top down.
    decoder : nn.Module
        (n, d_L) → (n, *out_shape).
    conditioned_parts : sequence of {"encoder", "decoder", "prior"}
        Parts that read a condition c (C numbers) beside their input: "encoder" the networks of
        ``inference``, "decoder" the ``decoder``, and "prior" those of ``generation`` and the top layer, whose
        prior is then N(μ(c), diag σ(c)²).
    condition_dim : int
        C, or 0 without conditions.

    Attributes
    ----------
    layers : tuple of slice
        The part of a code that belongs to each layer, top first.

    Raises
    ------
    UsageError
        If the numbers of networks and of layers do not match.
    """

    def __init__(
        self,
        latent_dims: Sequence[int],
        inference: Sequence[nn.Module],
        generation: Sequence[nn.Module],
        decoder: nn.Module,
        *,
        peak: int = 1,
        conditioned_parts: Sequence[str] = (),
        condition_dim: int = 0,
    ):
        super().__init__()
        if not len(inference) == len(generation) == len(latent_dims) - 1:
            raise UsageError(
                f"got {len(inference)} inference and {len(generation)} generation networks for "
                f"{len(latent_dims)} layers; give {len(latent_dims) - 1} of each"
            )
        self.layers = consecutive(latent_dims)
        self.latent_dim = sum(latent_dims)
        self.peak = peak
        self.inference = nn.ModuleList(inference)
        self.generation = nn.ModuleList(generation)
        self.decoder = decoder
        self.conditioned_parts = tuple(conditioned_parts)
        self.top: StandardNormal | ConditionalNormal = (
            ConditionalNormal(latent_dims[0], condition_dim)
            if "prior" in conditioned_parts
            else StandardNormal(latent_dims[0])
        )
        self.heads = nn.ModuleList(DiagonalGaussianHead(d, scale="exp") for d in latent_dims)

    def forward(self, z: Tensor) -> Tensor:
        """Decode the lowest layer of codes (n, d), with any conditions after it, to (n, *out_shape)."""
        return self.decoder(torch.cat([z[:, self.layers[-1]], z[:, self.latent_dim :]], 1))

    def standardize(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes in units of each layer's prior given those above, and the priors' log-scales, (n, d) both."""
        above = z[:, :0]
        standard, log_scales = [], []
        for i, layer in enumerate(self.layers):
            mean, scale = self._prior_of(i, above, z, c)
            above = z[:, layer]
            standard.append((above - mean) / scale)
            log_scales.append(scale.log())
        return torch.cat(standard, 1), torch.cat(log_scales, 1)

    def place(self, standard: Tensor, c: Tensor | None = None, *, above: Tensor | None = None) -> Tensor:
        """Codes (n, d) from codes in units of the priors; ``above`` (n, d') fixes the upper layers."""
        given = 0 if above is None else above.shape[1]
        parts: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            if above is not None and layer.stop <= given:
                parts.append(above[:, layer])
                continue
            mean, scale = self._prior_of(i, parts[-1] if parts else standard[:, :0], standard, c)
            parts.append(mean + scale * standard[:, layer])
        return torch.cat(parts, 1)

    def infer(
        self, features: Tensor, num_samples: int, c: Tensor | None = None, *, temperature: float = 1.0
    ) -> Draw:
        """Draw k codes of each of b examples bottom-up, from the encoder's features (b, 2 d_L).

        ``temperature`` is 1, or 0 for the means; c (b, C) are the examples' conditions.
        """
        k, b = num_samples, len(features)
        q: DiagonalGaussian = self.heads[-1](features)
        z, log_q = _draw(q, k, b, temperature)
        parts, log_qs, posterior = [z], [log_q], q
        for i in reversed(range(len(self.inference))):
            seen = self._beside("encoder", parts[0], c)
            posterior = self.heads[i](self.inference[i](seen).to(features.dtype))
            z, log_q = _draw(posterior, k, b, temperature)
            parts, log_qs = [z, *parts], [log_q, *log_qs]
        whole = torch.cat(parts, 1)
        log_p = layer_log_prior(self, whole, c)
        rates = torch.stack(log_qs) - log_p
        # The top posterior is that of b examples if there is one layer, of k·b codes if there are more.
        top = rate(posterior, self._top(len(posterior.mean), c), parts[0][None], log_qs[0][None])
        rates = torch.cat([top.repeat(k if posterior is q else 1)[None], rates[1:]])
        out = self.decoder(self._beside("decoder", parts[-1], c))
        return Draw(
            whole.reshape(k, b, self.latent_dim),
            torch.stack(log_qs).sum(0).reshape(k, b),
            log_p.sum(0).reshape(k, b),
            rates.reshape(len(rates), k, b),
            out.reshape(k, b, *out.shape[1:]),
        )

    def _prior_of(self, i: int, above: Tensor, like: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and scale (n, d_i) of p(z_i | z_{i−1}, c), for as many codes as ``like`` (n, d) has."""
        if i:
            # Networks may run in lower precision; densities never do.
            p = self.heads[i](self.generation[i - 1](self._beside("prior", above, c)).to(above.dtype))
            return p.mean, p.scale
        top = self._top(len(like), c)
        if isinstance(top, GivenNormal):
            return top.mean, top.scale
        zeros = torch.zeros_like(like[:, self.layers[0]])
        return zeros, torch.ones_like(zeros)

    def _top(self, n: int, c: Tensor | None) -> StandardNormal | GivenNormal:
        """p(z_1 | c) for n codes."""
        if isinstance(self.top, StandardNormal):
            return self.top
        assert c is not None
        return self.top.given(in_turn(c, n))

    def _beside(self, part: str, z: Tensor, c: Tensor | None) -> Tensor:
        """Input of a network: codes (n, d), joined by conditions (m, C) in turn if that part takes them."""
        if part not in self.conditioned_parts:
            return z
        assert c is not None
        return torch.cat([z, in_turn(c, len(z)).to(z.dtype)], 1)


def _draw(q: DiagonalGaussian, k: int, b: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw k codes of each of b examples, or one above each of k·b codes; log-densities are (k·b,), nats."""
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
    init: str = "torch",
    likelihood: nn.Module | None = None,
    scale: float = 255.0,
    conditioning: Conditioning | None = None,
) -> HierarchicalVAE:
    """Make a chain of multilayer perceptrons; by default the two-layer networks of arXiv:1509.00519 §5.

    These are x – 200 – 200 – **100** – 100 – 100 – **50** upwards, stochastic layers in bold, and the same
    downwards, with tanh between.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    latent_dims : sequence of int
        Latent dimensions of each stochastic layer, top first.
    hidden : sequence of sequences of int
        Widths of the hidden layers below each stochastic layer, in top-down order; the last are next to the
        data.
    activation : str
        Activation function of the hidden layers.
    init : str
        Initial weights, as in :class:`MLP`.
    likelihood, scale, conditioning
        As in :class:`VAE`.

    Raises
    ------
    UsageError
        If the numbers of lists of widths and of layers differ.

    Examples
    --------
    >>> vae = make_chain((28, 28, 1))
    >>> vae.layers, vae(torch.zeros(3, 28, 28, 1), 5).log_weights.shape
    ((slice(0, 50, None), slice(50, 150, None)), torch.Size([5, 3]))
    """
    if len(hidden) != len(latent_dims) or not latent_dims:
        raise UsageError(
            f"hidden = {hidden!r}: give one list of widths for each of the {len(latent_dims)} layers of "
            f"latent_dims = {tuple(latent_dims)!r}"
        )
    out_shape = tuple(shape) if likelihood is None else tuple(likelihood.in_shape)  # type: ignore[arg-type]
    conditioned_parts = () if conditioning is None else conditioning.parts
    size = 0 if conditioning is None else conditioning.size
    more = {part: size if part in conditioned_parts else 0 for part in get_args(Part)}

    def net(reads: int, puts_out: Sequence[int], widths: Sequence[int]) -> MLP:
        return MLP((reads,), puts_out, widths, activation=activation, init=init)

    down = list(zip(itertools.pairwise(latent_dims), hidden, strict=False))
    chain = Chain(
        latent_dims,
        [net(below + more["encoder"], (2 * above,), widths[::-1]) for (above, below), widths in down],
        [net(above + more["prior"], (2 * below,), widths) for (above, below), widths in down],
        net(latent_dims[-1] + more["decoder"], out_shape, hidden[-1]),
        conditioned_parts=conditioned_parts,
        condition_dim=size,
        peak=max(sum(latent_dims), math.prod(out_shape), *(max(widths, default=1) for widths in hidden)),
    )
    encoder = MLP(shape, (2 * latent_dims[-1],), hidden[-1][::-1], activation=activation, init=init)
    return HierarchicalVAE(
        encoder, chain, shape=shape, likelihood=likelihood, scale=scale, conditioning=conditioning
    )

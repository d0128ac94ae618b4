"""A ladder of latent variables for images: bottom-up encoder, top-down stochastic layers with residual cells.

A small relative of NVAE (arXiv:2007.03898) and VDVAE (arXiv:2011.10650). Every layer's prior and posterior
are read from one top-down state, which each layer's z then moves; grids grow from coarse to fine.
Inside, grids are (n, channels, h, w), channels last in memory; a code z is flat, (n, d), top layer first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import normal
from elboroom.errors import UsageError
from elboroom.networks.ladder_parts import StochasticLayer, pixels, rise
from elboroom.networks.levels import check_count, plan_levels

_LOG_2PI = math.log(2 * math.pi)
# Numbers of z in a cell: one for so many features.
_FEATURES_PER_LATENT = 16
# Stochastic layers of each grid if none are given, coarsest first; finer grids have none.
_LAYERS = (2, 2, 2)


class Draw(NamedTuple):
    """k draws from the posterior of b examples, with all that was computed on the way down.

    Attributes
    ----------
    z : Tensor
        Codes of all L layers side by side, (k, b, d).
    log_q, log_p : Tensor
        log q(z|x) and log p(z), (k, b), nats.
    rates : Tensor
        Of each layer, (L, k, b), nats per example, given the draws of the layers above.
    features : Tensor
        What the likelihood reads, (k, b, *out_shape).
    """

    z: Tensor
    log_q: Tensor
    log_p: Tensor
    rates: Tensor
    features: Tensor


Pick = Callable[[int, StochasticLayer, Tensor], Tensor]
"""(number of the layer, the layer, state) → its z (n, z_channels, h, w)."""


class Ladder(nn.Module):
    """Top-down half: codes (n, d) to features (n, *out_shape), the prior of each layer, and its posterior.

    q is a shift and a scaling of p (residual normals, arXiv:2007.03898 §3.2; the shift here in units of
    p's scale), so KL(q ‖ p) per number is ½(shift² + ratio² − 1) − log ratio, whatever p is.

    Parameters
    ----------
    shape : tuple of int
        Of one image, (h, w, c).
    out_shape : tuple of int, optional
        What the likelihood reads, (h, w, c·p); the image's if not given.
    layers : sequence of int, optional
        Stochastic layers of each grid, coarsest first; 2, 2, 2 and then none if not given.
    z_channels : int, optional
        Numbers of z in a cell; a sixteenth of the grid's features if not given.
    width, levels : int, optional
        As in :func:`elboroom.networks.levels.plan_levels`; must be the encoder's.
    blocks : int
        Residual blocks of each stochastic layer.
    condition_dim : int
        C: numbers in a condition c, which a learned map that starts at 0 adds to the state at the top; so all
        below hears of it, p(z|c), q(z|x, c) and p(x|z, c). 0 for none.

    Attributes
    ----------
    layers : tuple of slice
        Which part of a code belongs to which layer, top first.
    latent_dim : int
        d, all of it.
    conditioned_parts : tuple of str
        Parts of a VAE that this is and that hear of the condition.
    peak : int
        Most numbers that a hidden grid holds for one code, for choosing how many fit in memory.

    Raises
    ------
    UsageError
        If the shape is no image's, or the layers do not fit the grids.

    Examples
    --------
    >>> ladder = Ladder((28, 28, 1), width=8, layers=(1, 2), z_channels=2)
    >>> ladder.layers
    (slice(0, 32, None), slice(32, 130, None), slice(130, 228, None))
    >>> ladder(ladder.place(torch.randn(5, ladder.latent_dim))).shape
    torch.Size([5, 28, 28, 1])
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_shape: Sequence[int] | None = None,
        *,
        layers: Sequence[int] | None = None,
        z_channels: int | None = None,
        width: int | None = None,
        levels: int | None = None,
        blocks: int = 1,
        condition_dim: int = 0,
    ):
        super().__init__()
        check_count("blocks", blocks, 0)
        check_count("ladder_z_channels", z_channels, 1)
        plan = plan_levels(shape, width=width, levels=levels)[::-1]
        counts = _counts(layers, len(plan))
        self.out_shape = tuple(shape if out_shape is None else out_shape)
        self.peak = max(level.numbers for level in plan)
        self.start = nn.Parameter(torch.zeros(plan[0].height, plan[0].width, plan[0].channels))
        self.conditioned_parts = ("decoder", "prior") if condition_dim else ()
        self.of_condition = (
            nn.Linear(condition_dim, self.start.numel(), bias=False) if condition_dim else None
        )
        if self.of_condition is not None:
            nn.init.zeros_(self.of_condition.weight)
        self.stochastic = nn.ModuleList()
        self.rises = nn.ModuleList()
        self.plan = plan
        self.grids: list[tuple[int, int, int]] = []  # (h, w, z_channels) of each layer
        self.level_of: list[int] = []
        before: list[nn.Module] = []  # what leads from the layer before to this one
        for number, (level, count) in enumerate(zip(plan, counts, strict=True)):
            if number:
                before += rise(plan[number - 1], level)
            per_cell = z_channels or max(1, level.channels // _FEATURES_PER_LATENT)
            for _ in range(count):
                self.rises.append(nn.Sequential(*before))
                before = []
                self.stochastic.append(StochasticLayer(level.channels, per_cell, blocks))
                self.grids.append((level.height, level.width, per_cell))
                self.level_of.append(number)
        self.image = nn.Sequential(*before, *pixels(plan[-1], self.out_shape))
        ends = [0]
        for grid in self.grids:
            ends.append(ends[-1] + math.prod(grid))
        self.layers = tuple(slice(a, b) for a, b in itertools.pairwise(ends))
        self.latent_dim = ends[-1]

    def descend(self, n: int, pick: Pick, c: Tensor | None = None) -> Tensor:
        """Go down with the z that ``pick`` gives for each layer; features (n, *out_shape).

        Conditions c (m, C) are those of the n codes in turn.
        """
        start = self.start.expand(n, -1, -1, -1)
        if self.of_condition is not None:
            assert c is not None
            beside = self.of_condition(c)
            start = start + beside.repeat(n // max(1, len(c)), 1).reshape(start.shape)
        state = start.permute(0, 3, 1, 2)  # channels last, as all that follows
        for i, (step, layer) in enumerate(zip(self.rises, self.stochastic, strict=True)):
            assert isinstance(layer, StochasticLayer)
            state = step(state)
            state = layer(state, pick(i, layer, state).to(state.dtype))
        return self.image(state)

    def forward(self, z: Tensor) -> Tensor:
        """Features (n, *out_shape) of codes (n, d), or of codes and conditions side by side (n, d + C)."""
        c = z[:, self.latent_dim :] if self.conditioned_parts else None
        return self.descend(len(z), lambda i, _layer, _state: self._grid(z, i), c)

    def standardize(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes in units of each layer's prior given those above, and the priors' log-scales, (n, d) both."""
        standard, log_scales = [], []

        def pick(i: int, layer: StochasticLayer, state: Tensor) -> Tensor:
            here = self._grid(z, i)
            mean, log_scale = layer.prior_of(state)
            standard.append(_flat((here - mean) * torch.exp(-log_scale)))
            log_scales.append(_flat(log_scale))
            return here

        self.descend(len(z), pick, c)
        return torch.cat(standard, 1), torch.cat(log_scales, 1)

    def place(self, standard: Tensor, c: Tensor | None = None, *, above: Tensor | None = None) -> Tensor:
        """Codes (n, d) of those in units of the priors; the upper layers are ``above`` (n, d') if given."""
        given = 0 if above is None else above.shape[1]
        parts = []

        def pick(i: int, layer: StochasticLayer, state: Tensor) -> Tensor:
            if above is not None and self.layers[i].stop <= given:
                here = self._grid(above, i)
            else:
                mean, log_scale = layer.prior_of(state)
                here = mean + log_scale.exp() * self._grid(standard, i)
            parts.append(_flat(here))
            return here

        self.descend(len(standard), pick, c)
        return torch.cat(parts, 1)

    def infer(
        self, features: Tensor, num_samples: int, c: Tensor | None = None, *, temperature: float = 1.0
    ) -> Draw:
        """Draw k codes for each of b examples from q(z|x), in one pass down.

        Parameters
        ----------
        features : Tensor
            What the encoder made of them, (b, numbers).
        num_samples : int
            k.
        c : Tensor, optional
            Conditions (b, C) of the examples.
        temperature : float
            0 takes the posterior mean of each layer, given the means above it.
        """
        b, k = len(features), num_samples
        images = self._images(features)
        parts: list[Tensor] = []
        log_p: list[Tensor] = []
        log_q: list[Tensor] = []
        rates: list[Tensor] = []

        def pick(i: int, layer: StochasticLayer, state: Tensor) -> Tensor:
            mean, log_scale = layer.prior_of(state)
            shift, log_ratio = layer.posterior_of(state, images[self.level_of[i]])
            noise = temperature * normal(k, b, *shift.shape[1:], batch_dim=1, like=shift).flatten(0, 1)
            ratio = log_ratio.exp()
            standard = shift + ratio * noise  # z in units of the prior
            z = mean + log_scale.exp() * standard
            parts.append(_flat(z))
            log_p.append(_log_normal(standard, log_scale))
            log_q.append(_log_normal(noise, log_scale + log_ratio))
            rate = 0.5 * (shift.square() + ratio.square() - 1) - log_ratio
            rates.append(rate.flatten(1).sum(1).reshape(k, b))
            return z

        out = self.descend(k * b, pick, c)
        return Draw(
            torch.cat(parts, 1).reshape(k, b, self.latent_dim),
            torch.stack(log_q).sum(0).reshape(k, b),
            torch.stack(log_p).sum(0).reshape(k, b),
            torch.stack(rates),
            out.reshape(k, b, *self.out_shape),
        )

    def _grid(self, z: Tensor, i: int) -> Tensor:
        """Layer i of codes (n, d), (n, z_channels, h, w)."""
        return z[:, self.layers[i]].reshape(len(z), *self.grids[i]).permute(0, 3, 1, 2)

    def _images(self, features: Tensor) -> list[Tensor]:
        """The encoder's features of each level, (b, channels, h, w)."""
        parts = features.split([level.numbers for level in self.plan], 1)  # type: ignore[no-untyped-call]
        return [
            part.reshape(len(part), level.height, level.width, level.channels).permute(0, 3, 1, 2)
            for part, level in zip(parts, self.plan, strict=True)
        ]


def _counts(layers: Sequence[int] | None, grids: int) -> list[int]:
    """Stochastic layers of each grid, coarsest first."""
    counts = list(_LAYERS[:grids] if layers is None else layers)
    if len(counts) > grids or min(counts, default=0) < 0 or not sum(counts):
        raise UsageError(
            f"ladder_layers = {tuple(counts)}: the number of stochastic layers of each grid, coarsest first; "
            f"there are {grids} grids, and at least one layer is needed"
        )
    return counts + [0] * (grids - len(counts))


def _flat(grid: Tensor) -> Tensor:
    return grid.permute(0, 2, 3, 1).flatten(1)


def _log_normal(standard: Tensor, log_scale: Tensor) -> Tensor:
    """Log N(z; mean, scale²) summed over a grid, from (z − mean)/scale: (n,), nats."""
    return -(0.5 * (standard.square() + _LOG_2PI) + log_scale).flatten(1).sum(1)

"""A ladder VAE for images: a bottom-up encoder, and top-down stochastic layers with residual cells.

A small relative of NVAE (arXiv:2007.03898) and VDVAE (arXiv:2011.10650). Each layer's prior and posterior
are computed from one top-down state, to which its z is then added; grids grow from coarse to fine.
Inside, grids are (n, channels, h, w), channels last in memory; a code z is flat, (n, d), top layer first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import normal
from elboroom.errors import UsageError
from elboroom.networks.ladder_parts import StochasticLayer, consecutive, pixels, rise
from elboroom.networks.levels import check_count, plan_levels
from elboroom.networks.recompute import RecomputableSequential

_LOG_2PI = math.log(2 * math.pi)
# One latent channel for so many feature channels.
_FEATURES_PER_LATENT = 16
# Default number of stochastic layers at each grid, coarsest first; finer grids have none.
_LAYERS = (2, 2, 2)


class Draw(NamedTuple):
    """k draws from the posterior of b examples, with everything that the top-down pass computes.

    Attributes
    ----------
    z : Tensor
        Codes of all L layers, concatenated, (k, b, d).
    log_q, log_p : Tensor
        log q(z|x) and log p(z), (k, b), nats.
    rates : Tensor
        Rate of each layer given the draws of the layers above, (L, k, b), nats per example.
    features : Tensor
        Input of the likelihood's head, (k, b, *out_shape).
    """

    z: Tensor
    log_q: Tensor
    log_p: Tensor
    rates: Tensor
    features: Tensor


Pick = Callable[[int, StochasticLayer, Tensor], Tensor]
"""(number of the layer, the layer, state) → its z (n, z_channels, h, w)."""


class Ladder(nn.Module):
    """The top-down half: codes (n, d) → features (n, *out_shape), with each layer's prior and posterior.

    q shifts and scales p (residual normal distributions, arXiv:2007.03898 §3.2; here the shift is in units of
    p's scale), so KL(q ‖ p) per dimension is ½(shift² + ratio² − 1) − log ratio, whatever p is.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, (h, w, c).
    out_shape : tuple of int, optional
        Shape of the features, the input of the likelihood's head, (h, w, c·p). Default: the image's.
    layers : sequence of int, optional
        Stochastic layers at each grid, coarsest first. Default: 2, 2, 2, then none.
    z_channels : int, optional
        Latent channels at each grid. Default: a sixteenth of its feature channels.
    width, levels : int, optional
        As in :func:`elboroom.networks.levels.plan_levels`, and the same as the encoder's.
    blocks : int
        Residual blocks of each stochastic layer.
    condition_dim : int
        C: length of a condition c. A learned linear map of c, which starts at 0, is added to the top state,
        and p(z|c), q(z|x, c) and p(x|z, c) all depend on it. 0 for none.

    Attributes
    ----------
    layers : tuple of slice
        The part of a code that belongs to each layer, top first.
    latent_dim : int
        d, the length of a whole code.
    conditioned_parts : tuple of str
        Which of a VAE's parts take the condition here.
    peak : int
        Numbers in the largest hidden grid of one code, for choosing how many codes fit in memory.

    Raises
    ------
    UsageError
        If the shape is not that of an image, or the layers do not fit the grids.

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
        before: list[nn.Module] = []  # from the previous stochastic layer to the next
        for number, (level, count) in enumerate(zip(plan, counts, strict=True)):
            if number:
                before += rise(plan[number - 1], level)
            per_cell = z_channels or max(1, level.channels // _FEATURES_PER_LATENT)
            for _ in range(count):
                self.rises.append(RecomputableSequential(*before))
                before = []
                self.stochastic.append(StochasticLayer(level.channels, per_cell, blocks))
                self.grids.append((level.height, level.width, per_cell))
                self.level_of.append(number)
        self.image = RecomputableSequential(*before, *pixels(plan[-1], self.out_shape))
        self.layers = consecutive(math.prod(grid) for grid in self.grids)
        self.latent_dim = self.layers[-1].stop

    def descend(self, n: int, pick: Pick, c: Tensor | None = None) -> Tensor:
        """Run the top-down pass with the z that ``pick`` gives for each layer; features (n, *out_shape).

        The n codes take the conditions c (m, C) in turn.
        """
        start = self.start.expand(n, -1, -1, -1)
        if self.of_condition is not None:
            assert c is not None
            moved = self.of_condition(c)
            start = start + moved.repeat(n // max(1, len(c)), 1).reshape(start.shape)
        state = start.permute(0, 3, 1, 2)  # channels last, from here on
        for i, (step, layer) in enumerate(zip(self.rises, self.stochastic, strict=True)):
            assert isinstance(layer, StochasticLayer)
            state = step(state)
            state = layer(state, pick(i, layer, state).to(state.dtype))
        return self.image(state)

    def forward(self, z: Tensor) -> Tensor:
        """Features (n, *out_shape) of codes (n, d), or of codes joined by conditions (n, d + C)."""
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
        """Codes (n, d) from codes in units of the priors; ``above`` (n, d') fixes the upper layers."""
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
        """Draw k codes of each of b examples from q(z|x), in one top-down pass.

        Parameters
        ----------
        features : Tensor
            The encoder's features of the examples, (b, numbers).
        num_samples : int
            k.
        c : Tensor, optional
            Conditions (b, C) of the examples.
        temperature : float
            1 draws; 0 takes the posterior mean of each layer given the means above it.
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
            noise = torch.zeros_like(shift)  # no draw where none is wanted, as export needs
            if temperature:
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
        """Layer i of codes (n, d) as a grid (n, z_channels, h, w)."""
        return z[:, self.layers[i]].reshape(len(z), *self.grids[i]).permute(0, 3, 1, 2)

    def _images(self, features: Tensor) -> list[Tensor]:
        """The encoder's features (b, numbers) as one grid (b, channels, h, w) for each level."""
        parts = features.split([level.numbers for level in self.plan], 1)  # type: ignore[no-untyped-call]
        return [
            part.reshape(len(part), level.height, level.width, level.channels).permute(0, 3, 1, 2)
            for part, level in zip(parts, self.plan, strict=True)
        ]


def _counts(layers: Sequence[int] | None, grids: int) -> list[int]:
    """Number of stochastic layers at each grid, coarsest first."""
    counts = list(_LAYERS[:grids] if layers is None else layers)
    if len(counts) > grids or min(counts, default=0) < 0 or not sum(counts):
        raise UsageError(
            f"ladder_layers = {tuple(counts)}: give the number of stochastic layers at each grid, coarsest "
            f"first; there are {grids} grids, and at least one layer is needed"
        )
    return counts + [0] * (grids - len(counts))


def _flat(grid: Tensor) -> Tensor:
    return grid.permute(0, 2, 3, 1).flatten(1)


def _log_normal(standard: Tensor, log_scale: Tensor) -> Tensor:
    """Log N(z; mean, scale²) summed over a grid, from (z − mean)/scale: (n,), nats."""
    return -(0.5 * (standard.square() + _LOG_2PI) + log_scale).flatten(1).sum(1)

"""Parts of a ladder: the bottom-up encoder, one stochastic layer, and the way from grid to grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from elboroom.networks.conv import CONV_NORMALIZATIONS, ResidualBlock, Shuffle
from elboroom.networks.levels import Level, check_count, plan_levels

# Bound of every log-scale, by 5 · tanh(x / 5): deviations stay within e^±5 (arXiv:2007.03898,
# the authors' soft_clamp5), and gradients never quite vanish.
_BOUND = 5.0


class LadderEncoder(nn.Module):
    """Images (b, h, w, c) to the features of every level, flat and side by side, coarsest first.

    Parameters
    ----------
    shape : tuple of int
        Of one image, (h, w, c).
    width, levels : int, optional
        As in :func:`elboroom.networks.levels.plan_levels`; must be the ladder's.
    blocks : int
        Residual blocks of each level.

    Examples
    --------
    >>> LadderEncoder((28, 28, 1), width=8)(torch.zeros(5, 28, 28, 1)).shape  # 4·4·32 + 7·7·16 + 14·14·8
    torch.Size([5, 2864])
    """

    def __init__(
        self, shape: Sequence[int], *, width: int | None = None, levels: int | None = None, blocks: int = 1
    ):
        super().__init__()
        check_count("blocks", blocks, 0)
        channels = shape[-1]
        self.levels = nn.ModuleList()
        for level in plan_levels(shape, width=width, levels=levels):
            down = _conv(channels, level.channels, 3, stride=level.stride)
            self.levels.append(nn.Sequential(down, *_cells(level.channels, blocks)))
            channels = level.channels

    def forward(self, x: Tensor) -> Tensor:
        """Features of every level, (b, numbers)."""
        h, features = x.permute(0, 3, 1, 2), []
        for level in self.levels:
            h = level(h)
            features.append(h.permute(0, 2, 3, 1).flatten(1))
        return torch.cat(features[::-1], 1)


class StochasticLayer(nn.Module):
    """One layer of a ladder: p(z | above), q(z | above, x) relative to it, and what z does to the state.

    At the start both are N(0, 1), so that the rate starts at 0.

    Parameters
    ----------
    channels : int
        Of the state and of the encoder's features.
    z_channels : int
        Numbers of z in each cell of the grid.
    blocks : int
        Residual blocks after z has joined.
    """

    def __init__(self, channels: int, z_channels: int, blocks: int):
        super().__init__()
        half = max(1, channels // 2)
        self.prior = nn.Sequential(_norm(channels), nn.SiLU(), _conv(channels, 2 * z_channels, 3, gain=0))
        self.from_state = nn.Sequential(_norm(channels), nn.SiLU(), _conv(channels, half, 1))
        self.from_image = nn.Sequential(_norm(channels), nn.SiLU(), _conv(channels, half, 3))
        self.posterior = nn.Sequential(nn.SiLU(), _conv(half, 2 * z_channels, 3, gain=0))
        self.join = _conv(z_channels, channels, 1)
        self.cells = nn.Sequential(*_cells(channels, blocks))

    def prior_of(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of p(z | above), (n, z_channels, h, w) each."""
        mean, log_scale = _precise(self.prior(state)).chunk(2, 1)
        return mean, _bounded(log_scale)

    def posterior_of(self, state: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log-ratio of q against p, in units of p's scale.

        The state is that of k·b codes, the features of the image those of b examples; the k are expanded
        only after the features' own convolution.
        """
        b = len(image)
        mixed = self.from_state(state)
        k = len(mixed) // max(b, 1)
        mixed = (mixed.reshape(k, b, *mixed.shape[1:]) + self.from_image(image)).flatten(0, 1)
        shift, log_ratio = _precise(self.posterior(mixed)).chunk(2, 1)
        return shift, _bounded(log_ratio)

    def forward(self, state: Tensor, z: Tensor) -> Tensor:
        """The state after z (n, z_channels, h, w)."""
        return self.cells(state + self.join(z))


def _norm(channels: int) -> nn.Module:
    return CONV_NORMALIZATIONS["group"](channels)


def _cells(channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(channels, _norm, nn.SiLU) for _ in range(count)]


def _conv(
    fan_in: int, fan_out: int, size: int, *, stride: Sequence[int] = (1, 1), gain: float = 1.0
) -> nn.Conv2d:
    """Normal weights of variance gain² / fan-in, which keep signals at their size, as torch's do not."""
    layer = nn.Conv2d(fan_in, fan_out, size, stride=tuple(stride), padding=size // 2)  # type: ignore[arg-type]
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def rise(coarse: Level, fine: Level) -> list[nn.Module]:
    """From one grid to the next: the channels on the coarse one, then nearest neighbours."""
    return [
        _norm(coarse.channels),
        nn.SiLU(),
        _conv(coarse.channels, fine.channels, 3),
        nn.Upsample((fine.height, fine.width), mode="nearest"),
    ]


def pixels(finest: Level, out_shape: tuple[int, ...]) -> list[nn.Module]:
    """From the finest grid to the image, each pixel of a block by a filter of its own."""
    height, width, channels = out_shape
    numbers = channels * math.prod(finest.stride)
    return [
        _norm(finest.channels),
        nn.SiLU(),
        _conv(finest.channels, numbers, 3, gain=0.1),
        Shuffle((height, width, channels), finest.stride),
    ]


def _bounded(log_scale: Tensor) -> Tensor:
    return _BOUND * torch.tanh(log_scale / _BOUND)


def _precise(parameters: Tensor) -> Tensor:
    """Half precision is for convolutions: sums over thousands of numbers need at least float32."""
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))

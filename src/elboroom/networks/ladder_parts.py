"""Parts of a ladder: the bottom-up encoder, one stochastic layer, and the steps between grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from elboroom.networks.conv_parts import CONV_NORMALIZATIONS, ResidualBlock, Shuffle
from elboroom.networks.levels import Level, check_count, plan_levels
from elboroom.networks.recompute import Recomputable, RecomputableSequential

# Log-scales are bounded by 5 · tanh(x / 5): standard deviations stay within e^±5 (arXiv:2007.03898, the
# authors' soft_clamp5), and gradients never quite vanish.
_BOUND = 5.0


class LadderEncoder(nn.Module):
    """Images (b, h, w, c) → the features of every level, flattened and concatenated, coarsest first.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, (h, w, c).
    width, levels : int, optional
        As in :func:`elboroom.networks.levels.plan_levels`, and the same as the ladder's.
    blocks : int
        Residual blocks at each level.

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
            self.levels.append(RecomputableSequential(down, *_cells(level.channels, blocks)))
            channels = level.channels

    def forward(self, x: Tensor) -> Tensor:
        """Features of every level, (b, numbers)."""
        h, features = x.permute(0, 3, 1, 2), []
        for level in self.levels:
            h = level(h)
            features.append(h.permute(0, 2, 3, 1).flatten(1))
        return torch.cat(features[::-1], 1)


class StochasticLayer(Recomputable):
    """One layer of a ladder: p(z | above), q(z | above, x) relative to it, and the update of the state by z.

    Both start as N(0, 1), so the rate starts at 0.

    Parameters
    ----------
    channels : int
        Channels of the state and of the encoder's features.
    z_channels : int
        Channels of z.
    blocks : int
        Residual blocks after z is added.
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
        return self.light(self._prior_of, state)

    def _prior_of(self, state: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = _precise(self.prior(state)).chunk(2, 1)
        return mean, _bounded(log_scale)

    def posterior_of(self, state: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Shift of q against p in units of p's scale, and log of the ratio of their scales.

        The state is that of k·b codes, the image features those of b examples. They are expanded to k·b only
        after their own convolution.
        """
        return self.light(self._posterior_of, state, image)

    def _posterior_of(self, state: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        b = len(image)
        mixed = self.from_state(state)
        k = len(mixed) // max(b, 1)
        mixed = (mixed.reshape(k, b, *mixed.shape[1:]) + self.from_image(image)).flatten(0, 1)
        shift, log_ratio = _precise(self.posterior(mixed)).chunk(2, 1)
        return shift, _bounded(log_ratio)

    def forward(self, state: Tensor, z: Tensor) -> Tensor:
        """Update the state by z (n, z_channels, h, w)."""
        return self.light(self._updated, state, z)

    def _updated(self, state: Tensor, z: Tensor) -> Tensor:
        return self.cells(state + self.join(z))


def _norm(channels: int) -> nn.Module:
    return CONV_NORMALIZATIONS["group"](channels)


def _cells(channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(channels, _norm, nn.SiLU) for _ in range(count)]


def _conv(
    fan_in: int, fan_out: int, size: int, *, stride: Sequence[int] = (1, 1), gain: float = 1.0
) -> nn.Conv2d:
    """Normal weights of variance gain² / fan-in, which preserve the scale of signals; torch's do not."""
    layer = nn.Conv2d(fan_in, fan_out, size, stride=tuple(stride), padding=size // 2)  # type: ignore[arg-type]
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def rise(coarse: Level, fine: Level) -> list[nn.Module]:
    """From one grid to the next: change the channels on the coarse grid, then upsample (nearest)."""
    return [
        _norm(coarse.channels),
        nn.SiLU(),
        _conv(coarse.channels, fine.channels, 3),
        nn.Upsample((fine.height, fine.width), mode="nearest"),
    ]


def pixels(finest: Level, out_shape: tuple[int, ...]) -> list[nn.Module]:
    """From the finest grid to the image: each pixel of a block has a filter of its own."""
    height, width, channels = out_shape
    numbers = channels * math.prod(finest.stride)
    return [
        _norm(finest.channels),
        nn.SiLU(),
        _conv(finest.channels, numbers, 3, gain=0.1),
        Shuffle((height, width, channels), finest.stride),
    ]


def consecutive(lengths: Iterable[int]) -> tuple[slice, ...]:
    """Slices that divide a row into parts of these lengths.

    Examples
    --------
    >>> consecutive([2, 3])
    (slice(0, 2, None), slice(2, 5, None))
    """
    stops = [0, *itertools.accumulate(lengths)]
    return tuple(slice(a, b) for a, b in itertools.pairwise(stops))


def _bounded(log_scale: Tensor) -> Tensor:
    return _BOUND * torch.tanh(log_scale / _BOUND)


def _precise(parameters: Tensor) -> Tensor:
    """Convert to at least float32, which sums over thousands of numbers need."""
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))

"""Parts of the convolutional networks: normalisations, residual blocks, and levels that are made of them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from elboroom.errors import UsageError, nearest
from elboroom.networks.levels import Level, check_count
from elboroom.networks.mlp import ACTIVATIONS
from elboroom.networks.recompute import RecomputableSequential

# Residual blocks are used on grids of at most 8×8. On finer grids they cost as much arithmetic but more
# memory: one more level of blocks slows 64×64 images by a fifth.
LARGEST_BLOCK_GRID = 8 * 8


def _group_norm(channels: int) -> nn.Module:
    """At most eight groups of at least four channels each: a single channel on a 1×1 grid would become 0."""
    return nn.GroupNorm(math.gcd(channels, max(1, min(8, channels // 4))), channels)


CONV_NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _channels: nn.Identity(),
    "group": _group_norm,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "batch": nn.BatchNorm2d,
}


def he(layer: nn.Conv2d, gain: float = 1.0) -> nn.Conv2d:
    """Normal weights of variance 2 / fan-in, times gain², which preserve the scale of signals through levels.

    torch's default, a sixth of that variance, shrinks them in each of ten layers and delays learning.
    """
    nn.init.normal_(layer.weight, std=gain * math.sqrt(2 / layer.weight[0].numel()))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def chain_of(**layers: nn.Module | None) -> nn.Sequential:
    """Layers by name, one after the other; those that are None are left out."""
    return nn.Sequential(_without_gaps(layers))


def level_of(**layers: nn.Module | None) -> RecomputableSequential:
    """Layers as `chain_of` makes them, whose activations need not be kept for the gradient."""
    return RecomputableSequential(_without_gaps(layers))


def _without_gaps(layers: Mapping[str, nn.Module | None]) -> OrderedDict[str, nn.Module]:
    return OrderedDict((name, layer) for name, layer in layers.items() if layer is not None)


class ResidualBlock(nn.Module):
    """x + branch(x), normalised and activated before each convolution (arXiv:1603.05027).

    The branch has half the channels. Its last convolution starts at 0, so each block starts as the identity.
    """

    def __init__(
        self, channels: int, normalize: Callable[[int], nn.Module], activate: Callable[[], nn.Module]
    ):
        super().__init__()
        middle = max(1, channels // 2)
        self.branch = nn.Sequential(
            normalize(channels),
            activate(),
            he(nn.Conv2d(channels, middle, 3, padding=1)),
            normalize(middle),
            activate(),
            he(nn.Conv2d(middle, channels, 3, padding=1), gain=0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to the same shape."""
        return x + self.branch(x)


class Shuffle(nn.Module):
    """Rearrange the features of a coarse grid into the pixels of the full image, with one copy.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, (h, w, c); blocks that reach beyond it are cropped.
    stride : tuple of int
        Rows and columns of pixels in one block.
    """

    def __init__(self, shape: tuple[int, int, int], stride: tuple[int, int]):
        super().__init__()
        self.shape = shape
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """(b, stride·stride·c, h', w') → (b, h, w, c)."""
        height, width, channels = self.shape
        rows, columns = self.stride
        b, _, h, w = features.shape
        blocks = features.permute(0, 2, 3, 1).reshape(b, h, w, rows, columns, channels)
        image = blocks.transpose(2, 3).reshape(b, h * rows, w * columns, channels)
        return image[:, :height, :width]


class ToGrid(nn.Module):
    """View images (b, h, w, c) as (b, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Permute the dimensions without a copy."""
        return x.permute(0, 3, 1, 2)


class ToRows(nn.Module):
    """View grids (b, c, h, w), channels last in memory, as rows (b, h·w·c)."""

    def forward(self, x: Tensor) -> Tensor:
        """Permute the dimensions without a copy."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Parts(NamedTuple):
    """The choices that encoder and decoder share, and the levels that are made of them."""

    normalize: Callable[[int], nn.Module]
    activate: Callable[[], nn.Module]
    blocks: int
    largest_grid: float

    @classmethod
    def named(
        cls, normalization: str, activation: str, blocks: int, largest_grid: float = LARGEST_BLOCK_GRID
    ) -> Parts:
        """Look the choices up by name; grids of more places than the largest have no residual blocks."""
        tables = (
            ("normalization", normalization, CONV_NORMALIZATIONS),
            ("activation", activation, ACTIVATIONS),
        )
        for what, name, known in tables:
            if name not in known:
                raise UsageError(f"convolutional networks have no {what} {name!r}; {nearest(name, known)}")
        check_count("conv_blocks", blocks, 0)
        return cls(CONV_NORMALIZATIONS[normalization], ACTIVATIONS[activation], blocks, largest_grid)

    def residual(self, level: Level) -> dict[str, nn.Module]:
        """Blocks of one level."""
        count = self.blocks if level.height * level.width <= self.largest_grid else 0
        return {
            f"block{i}": ResidualBlock(level.channels, self.normalize, self.activate)
            for i in range(1, count + 1)
        }

    def down(self, plan: Sequence[Level], channels: int) -> dict[str, nn.Module]:
        """Levels of an encoder by name, from images of so many channels to the coarsest grid."""
        levels: dict[str, nn.Module] = {}
        for number, level in enumerate(plan, 1):
            # Padding 1 rounds up: an odd side of 2n + 1 becomes n + 1.
            down = he(nn.Conv2d(channels, level.channels, 3, stride=level.stride, padding=1))
            before = {"activation": self.activate()} if number > 1 else {}
            levels[f"level{number}"] = level_of(**before, down=down, **self.residual(level))
            channels = level.channels
        return levels

    def image(self, finest: Level, shape: Sequence[int]) -> RecomputableSequential:
        """Last level of a decoder: each pixel of a block has a filter of its own on the finest grid."""
        height, width, channels = shape
        pixels = nn.Conv2d(finest.channels, channels * math.prod(finest.stride), 3, padding=1)
        return level_of(
            **self.residual(finest),
            normalization=self.normalize(finest.channels),
            activation=self.activate(),
            pixels=he(pixels, gain=0.1),
            image=Shuffle((height, width, channels), finest.stride),
        )

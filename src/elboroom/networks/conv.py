"""Convolutional residual networks for images of any size; the decoder mirrors the encoder's levels.

Images are (b, h, w, c) in memory throughout. Inside, ``permute(0, 3, 1, 2)`` views the same memory as
(b, c, h, w), which torch calls channels last, so neither input nor output is copied.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from elboroom.errors import UsageError, nearest
from elboroom.networks.levels import Level, check_count, plan_levels
from elboroom.networks.mlp import ACTIVATIONS
from elboroom.networks.recompute import RecomputableSequential

# Residual blocks are used on grids of at most 8×8. On finer grids they cost as much arithmetic but more
# memory: one more level of blocks slows 64×64 images by a fifth.
_LARGEST_BLOCK_GRID = 8 * 8


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


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    """Normal weights of variance 1 / fan-in: outputs have the scale of their inputs."""
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
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
    """The choices that encoder and decoder share."""

    normalize: Callable[[int], nn.Module]
    activate: Callable[[], nn.Module]
    blocks: int

    @classmethod
    def named(cls, normalization: str, activation: str, blocks: int) -> Parts:
        """Look the choices up by name."""
        tables = (
            ("normalization", normalization, CONV_NORMALIZATIONS),
            ("activation", activation, ACTIVATIONS),
        )
        for what, name, known in tables:
            if name not in known:
                raise UsageError(f"convolutional networks have no {what} {name!r}; {nearest(name, known)}")
        check_count("conv_blocks", blocks, 0)
        return cls(CONV_NORMALIZATIONS[normalization], ACTIVATIONS[activation], blocks)

    def residual(self, level: Level) -> dict[str, nn.Module]:
        """Blocks of one level."""
        count = self.blocks if level.height * level.width <= _LARGEST_BLOCK_GRID else 0
        return {
            f"block{i}": ResidualBlock(level.channels, self.normalize, self.activate)
            for i in range(1, count + 1)
        }


class ConvEncoder(nn.Sequential):
    """Images (b, h, w, c) to features (b, *out_shape): strided convolutions, residual blocks, a linear layer.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one image, (h, w, c); any size.
    out_shape : tuple of int
        Shape of the features, usually the posterior's (2d,).
    width, levels : int, optional
        As in :func:`elboroom.networks.levels.plan_levels`.
    blocks : int
        Residual blocks at each level whose grid is at most 8×8; finer levels have none.
    activation : str
        A key of ``ACTIVATIONS``.
    normalization : {"group", "layer", "batch", "none"}
        In the residual blocks, and before the last layer.

    Raises
    ------
    UsageError
        If the shape does not fit the levels, or a name is unknown.

    Examples
    --------
    >>> import torch
    >>> net = ConvEncoder((65, 33, 3), (4,), width=8)
    >>> net(torch.zeros(5, 65, 33, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        width: int | None = None,
        blocks: int = 1,
        levels: int | None = None,
        activation: str = "silu",
        normalization: str = "group",
    ):
        plan = plan_levels(in_shape, width=width, levels=levels)
        parts = Parts.named(normalization, activation, blocks)
        layers: dict[str, nn.Module] = {"image": ToGrid()}
        channels = in_shape[-1]
        for number, level in enumerate(plan, 1):
            # Padding 1 rounds up: an odd side of 2n + 1 becomes n + 1.
            down = he(nn.Conv2d(channels, level.channels, 3, stride=level.stride, padding=1))
            before = {"activation": parts.activate()} if number > 1 else {}
            layers[f"level{number}"] = level_of(**before, down=down, **parts.residual(level))
            channels = level.channels
        layers["code"] = chain_of(
            normalization=parts.normalize(channels),
            activation=parts.activate(),
            rows=ToRows(),
            linear=_linear(plan[-1].numbers, math.prod(out_shape)),
            shape=nn.Unflatten(1, tuple(out_shape)) if len(out_shape) > 1 else None,
        )
        super().__init__(OrderedDict(layers))
        self.plan = plan


class ConvDecoder(nn.Sequential):
    """Codes (b, *in_shape) to images (b, h, w, c), through the levels of :class:`ConvEncoder` in reverse.

    Each level ends in a convolution and nearest-neighbour upsampling to the exact size of the next grid. The
    last computes each pixel of a 2×2 block with a filter of its own on the coarse grid, which avoids
    convolutions at full size. Outputs start near 0.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of a code, usually (d,).
    out_shape : tuple of int
        Shape of one image, (h, w, c), or (h, w, c·p) for a likelihood with p parameters per number.
    width, blocks, levels, activation, normalization
        As in :class:`ConvEncoder`.

    Raises
    ------
    UsageError
        If the shape does not fit the levels, or a name is unknown.

    Examples
    --------
    >>> import torch
    >>> ConvDecoder((2,), (28, 28, 1))(torch.zeros(5, 2)).shape
    torch.Size([5, 28, 28, 1])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        width: int | None = None,
        blocks: int = 1,
        levels: int | None = None,
        activation: str = "silu",
        normalization: str = "group",
    ):
        plan = plan_levels(out_shape, width=width, levels=levels)
        parts = Parts.named(normalization, activation, blocks)
        coarsest, finest = plan[-1], plan[0]
        layers: dict[str, nn.Module] = {
            "code": chain_of(
                flat=nn.Flatten() if len(in_shape) > 1 else None,
                linear=_linear(math.prod(in_shape), coarsest.numbers),
                shape=nn.Unflatten(1, (coarsest.height, coarsest.width, coarsest.channels)),
                grid=ToGrid(),
            )
        }
        for number in range(len(plan), 1, -1):
            level, finer = plan[number - 1], plan[number - 2]
            layers[f"level{number}"] = level_of(
                **parts.residual(level),
                activation=parts.activate(),
                convolution=he(nn.Conv2d(level.channels, finer.channels, 3, padding=1)),
                up=nn.Upsample((finer.height, finer.width), mode="nearest"),
            )
        height, across, channels = out_shape
        pixels = nn.Conv2d(finest.channels, channels * math.prod(finest.stride), 3, padding=1)
        layers["level1"] = level_of(
            **parts.residual(finest),
            normalization=parts.normalize(finest.channels),
            activation=parts.activate(),
            pixels=he(pixels, gain=0.1),
            image=Shuffle((height, across, channels), finest.stride),
        )
        super().__init__(OrderedDict(layers))
        self.plan = plan

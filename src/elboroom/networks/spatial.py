"""Convolutional networks whose code is a grid: a few channels at each place of a smaller image.

The code (c, h, w) is handed on as a row of c·h·w numbers, channel by channel, so that everything that works
on codes works on these; ``VAE.latent_shape`` tells the grid. Such codes keep where things are, and with them
sharp detail, which a code without places has to spell out (arXiv:2112.10752 §3.1).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.networks.conv_parts import Parts, ResidualBlock, Shuffle, ToGrid, chain_of, he, level_of
from elboroom.networks.levels import Level, check_count, plan_levels

_LEVELS = 3
"""Halvings by default: a code at an eighth of each side."""

_SMALLEST_SIDE = 4

Grid = tuple[int, int, int]


def plan_grid(shape: Sequence[int], channels: int, **sizes: int | None) -> tuple[tuple[Level, ...], Grid]:
    """Choose the levels of the networks for images (h, w, c), and the grid (channels, h', w') of the code.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, (h, w, c).
    channels : int
        Of the code.
    width, levels : int, optional
        As in :func:`elboroom.networks.levels.plan_levels`, but three levels by default, or as many as leave
        four places along each side.

    Raises
    ------
    UsageError
        If the shape is not that of an image, or a number is too small or too large.

    Examples
    --------
    >>> plan_grid((64, 96, 3), 4)[1]
    (4, 8, 12)
    """
    check_count("latent_channels", channels, 1)
    levels = sizes.get("levels")
    if levels is None and len(shape) == 3:
        levels = max(
            1, sum(math.ceil(min(shape[:2]) / 2**n) >= _SMALLEST_SIDE for n in range(1, _LEVELS + 1))
        )
    if levels == 0:
        raise UsageError("conv_levels = 0: a code on a grid needs at least one halving; use 1 or more")
    plan = plan_levels(shape, width=sizes.get("width"), levels=levels)
    return plan, (channels, plan[-1].height, plan[-1].width)


class Attention(nn.Module):
    """x + attention of every place of a grid to every other, with one head, normalised before.

    It starts as the identity.
    """

    def __init__(self, channels: int, normalization: nn.Module):
        super().__init__()
        self.normalization = normalization
        self.queries = he(nn.Conv2d(channels, 3 * channels, 1), gain=math.sqrt(0.5))
        self.out = he(nn.Conv2d(channels, channels, 1), gain=0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to the same shape."""
        b, channels, height, width = x.shape
        rows = self.queries(self.normalization(x)).flatten(2).transpose(1, 2)[:, None]
        query, key, value = rows.chunk(3, -1)  # with a dimension of heads, which ONNX wants
        mixed = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return x + self.out(mixed.transpose(1, 2).reshape(b, channels, height, width))


class ToCode(nn.Module):
    """A grid (b, c, h, w) as rows (b, c·h·w), channel by channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Flatten, with a copy where channels come last in memory."""
        return x.contiguous().flatten(1)


class FromCode(nn.Module):
    """Rows (b, c·h·w + e) as grids (b, c + e, h, w): the rest, a condition, is the same at each place."""

    def __init__(self, grid: Grid, more: int):
        super().__init__()
        self.grid, self.more = grid, more

    def forward(self, code: Tensor) -> Tensor:
        """Unflatten the code and spread the condition."""
        numbers = math.prod(self.grid)
        grid = code[:, :numbers].reshape(-1, *self.grid)
        if not self.more:
            return grid
        spread = code[:, numbers:, None, None].expand(-1, -1, *self.grid[1:])
        return torch.cat([grid, spread], 1)


class SpatialEncoder(nn.Sequential):
    """Images (b, h, w, c) to the parameters of a code on a grid, (b, p·c'·h'·w').

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one image, (h, w, c).
    channels : int
        Of the code.
    parameters : int
        How many numbers the posterior has for each of the code's: 2 for a diagonal Gaussian.
    width, levels : int, optional
        As in :func:`plan_grid`.
    blocks : int
        Residual blocks at each level.
    attention : bool
        Whether the places of the coarsest grid attend to one another.
    activation, normalization
        As in :class:`elboroom.networks.conv.ConvEncoder`.

    Examples
    --------
    >>> SpatialEncoder((64, 48, 3), 4, width=8)(torch.zeros(2, 64, 48, 3)).shape  # 2·4·8·6
    torch.Size([2, 384])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        channels: int,
        parameters: int = 2,
        *,
        width: int | None = None,
        blocks: int = 1,
        levels: int | None = None,
        attention: bool = False,
        activation: str = "silu",
        normalization: str = "group",
    ):
        plan, grid = plan_grid(in_shape, channels, width=width, levels=levels)
        parts = Parts.named(normalization, activation, blocks, math.inf)
        layers: dict[str, nn.Module] = {"image": ToGrid(), **parts.down(plan, in_shape[-1])}
        seen = plan[-1].channels
        layers["middle"] = _middle(parts, seen, attention)
        layers["code"] = chain_of(
            normalization=parts.normalize(seen),
            activation=parts.activate(),
            grid=he(nn.Conv2d(seen, parameters * channels, 3, padding=1), gain=math.sqrt(0.5)),
            rows=ToCode(),
        )
        super().__init__(OrderedDict(layers))
        self.plan = plan
        self.code_shape = grid


class SpatialDecoder(nn.Sequential):
    """Codes on a grid, as rows (b, c·h·w + e), to images (b, h, w, c), through the levels in reverse.

    Parameters
    ----------
    channels : int
        Of the code.
    more : int
        Numbers that follow the code, e: a condition, which each place receives.
    out_shape : tuple of int
        Shape of one image, (h, w, c), or (h, w, c·p) for a likelihood with p parameters per number.
    width, blocks, levels, attention, activation, normalization
        As in :class:`SpatialEncoder`.

    Examples
    --------
    >>> SpatialDecoder(4, 0, (64, 48, 3), width=8)(torch.zeros(2, 4 * 8 * 6)).shape
    torch.Size([2, 64, 48, 3])
    """

    def __init__(
        self,
        channels: int,
        more: int,
        out_shape: Sequence[int],
        *,
        width: int | None = None,
        blocks: int = 1,
        levels: int | None = None,
        attention: bool = False,
        activation: str = "silu",
        normalization: str = "group",
    ):
        plan, grid = plan_grid(out_shape, channels, width=width, levels=levels)
        parts = Parts.named(normalization, activation, blocks, math.inf)
        coarsest = plan[-1]
        first = he(nn.Conv2d(channels + more, coarsest.channels, 3, padding=1), gain=math.sqrt(0.5))
        layers: dict[str, nn.Module] = {"code": chain_of(grid=FromCode(grid, more), convolution=first)}
        layers["middle"] = _middle(parts, coarsest.channels, attention)
        for number in range(len(plan), 1, -1):
            level, finer = plan[number - 1], plan[number - 2]
            layers[f"level{number}"] = level_of(
                **parts.residual(level),
                activation=parts.activate(),
                up=nn.Upsample((finer.height, finer.width), mode="nearest"),
                convolution=he(nn.Conv2d(level.channels, finer.channels, 3, padding=1)),
            )
        layers["level1"] = parts.image(plan[0], out_shape)
        super().__init__(OrderedDict(layers))
        self.plan = plan
        self.code_shape = grid

    @property
    def last(self) -> nn.Conv2d:
        """The layer whose outputs are the pixels."""
        level: Any = self.level1
        pixels: nn.Conv2d = level.pixels
        return pixels


def decode_grid(decoder: nn.Module, code: Tensor) -> Tensor:
    """Decode codes on a grid of any size, by a decoder that is convolutional from code to image.

    Parameters
    ----------
    decoder : nn.Module
        A :class:`SpatialDecoder`, or another chain of layers that begins with :class:`FromCode`.
    code : Tensor
        (b, c, h, w), whose h and w need not be those of the decoder's own grid.

    Returns
    -------
    Tensor
        Images (b, p·h, p·w, n), where one place is p·p pixels; the border of an image that is no multiple of
        p is not cut.

    Examples
    --------
    >>> decoder = SpatialDecoder(2, 0, (16, 16, 3), width=8, levels=2)
    >>> decode_grid(decoder, torch.zeros(1, 2, 2, 6)).shape
    torch.Size([1, 8, 24, 3])
    """
    x, usual = code, (0, 0)  # height and width that the decoder's own grid has at this layer
    for layer in _in_order(decoder):
        if isinstance(layer, FromCode):
            usual = layer.grid[1:]
        elif isinstance(layer, nn.Upsample):
            assert isinstance(layer.size, tuple)
            times = [math.ceil(after / before) for after, before in zip(layer.size, usual, strict=True)]
            x = F.interpolate(x, scale_factor=times, mode="nearest")
            usual = (layer.size[0], layer.size[1])
        elif isinstance(layer, Shuffle):
            size = (x.shape[-2] * layer.stride[0], x.shape[-1] * layer.stride[1], layer.shape[-1])
            x = Shuffle(size, layer.stride)(x)
        else:
            x = layer(x)
    return x


def _in_order(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested sequences, one after the other."""
    if not isinstance(module, nn.Sequential):
        yield module
        return
    for part in module:
        yield from _in_order(part)


def _middle(parts: Parts, channels: int, attention: bool) -> nn.Sequential:
    """Blocks on the coarsest grid, with attention in between if it is wanted."""
    first, second = (ResidualBlock(channels, parts.normalize, parts.activate) for _ in range(2))
    if not attention:
        return level_of(block1=first)
    return level_of(block1=first, attention=Attention(channels, parts.normalize(channels)), block2=second)

"""Convolutional residual networks for images of any size; the decoder mirrors the encoder's levels.

Images are (b, h, w, c) in memory throughout. Inside, ``permute(0, 3, 1, 2)`` views the same memory as
(b, c, h, w), which torch calls channels last, so neither input nor output is copied.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from elboroom.networks.conv_parts import Parts, ToGrid, ToRows, chain_of, he, level_of
from elboroom.networks.levels import plan_levels


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
        layers: dict[str, nn.Module] = {"image": ToGrid(), **parts.down(plan, in_shape[-1])}
        layers["code"] = chain_of(
            normalization=parts.normalize(plan[-1].channels),
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
        coarsest = plan[-1]
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
        layers["level1"] = parts.image(plan[0], out_shape)
        super().__init__(OrderedDict(layers))
        self.plan = plan


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    """Normal weights of variance 1 / fan-in: outputs have the scale of their inputs."""
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
    nn.init.zeros_(layer.bias)
    return layer

"""The networks of diffusers' AutoencoderKL, with its names of layers, in plain PyTorch (arXiv:2112.10752).

Encoder and decoder compute what those of that class compute, so that weights go over in both directions
without a change: ``encoder.…`` and ``decoder.…`` have the same names in both, and the encoder holds
``quant_conv`` and the decoder ``post_quant_conv``. Two differences are at the ends, where they are exact:
images are (b, h, w, c) in model units, in which black is 0 and white is 1, and AutoencoderKL's run from -1 to
1; and a code is a row, channel by channel.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.networks.conv_parts import chain_of, level_of
from elboroom.networks.levels import check_count
from elboroom.networks.recompute import Recomputable
from elboroom.networks.spatial import FromCode, Grid, ToCode

LOG_VARIANCE = (-30.0, 20.0)
"""AutoencoderKL clamps the log-variance of a code to this range."""

_EPS = 1e-6  # of normalisations


@dataclass(frozen=True)
class Sizes:
    """The choices that encoder and decoder share.

    Attributes
    ----------
    block_channels : tuple of int
        Channels at each level, finest first; each further level halves the image. diffusers:
        ``block_out_channels``.
    latent_channels : int
        Channels of the code.
    blocks : int
        Residual blocks at each level of the encoder; the decoder has one more. diffusers:
        ``layers_per_block``.
    groups : int
        Of the normalisations. diffusers: ``norm_num_groups``.
    attention : bool
        Whether the places of the coarsest grid attend to one another. diffusers: ``mid_block_add_attention``.
    quant_conv : bool
        Whether 1×1 convolutions stand before and after the code.
    """

    block_channels: tuple[int, ...]
    latent_channels: int = 4
    blocks: int = 1
    groups: int = 32
    attention: bool = True
    quant_conv: bool = True

    def grid(self, shape: Sequence[int]) -> Grid:
        """The grid (channels, h', w') of the code of images (h, w, c).

        Raises
        ------
        UsageError
            If the sides cannot be halved that often, or the sizes do not go together.

        Examples
        --------
        >>> Sizes((32, 64, 64)).grid((64, 96, 3))
        (4, 16, 24)
        """
        for name, count in (("conv_blocks", self.blocks), ("latent_channels", self.latent_channels)):
            check_count(name, count, 1)
        odd = [channels for channels in self.block_channels if channels % self.groups]
        if odd:
            raise UsageError(
                f"norm_groups = {self.groups} does not divide the {odd[0]} channels of block_channels = "
                f"{self.block_channels}; take norm_groups = {math.gcd(*self.block_channels)}, or others"
            )
        if len(shape) != 3:
            raise UsageError(
                f"an example has shape {tuple(shape)}, and network = 'autoencoder-kl' takes images (h, w, c)"
            )
        halvings = len(self.block_channels) - 1
        factor = 2**halvings
        if shape[0] % factor or shape[1] % factor:
            raise UsageError(
                f"images of {shape[0]}×{shape[1]} pixels cannot be halved {halvings} times: with "
                f"{halvings + 1} block_channels both sides must be multiples of {factor}; "
                "resize the images, or take fewer block_channels"
            )
        return self.latent_channels, shape[0] // factor, shape[1] // factor


class Signed(nn.Module):
    """Images (b, h, w, c) from 0 to 1 → grids (b, c, h, w) from -1 to 1, the range of AutoencoderKL."""

    def forward(self, x: Tensor) -> Tensor:
        """2·x − 1."""
        return x.permute(0, 3, 1, 2) * 2 - 1


class Unsigned(nn.Module):
    """Grids (b, c, h, w) from -1 to 1 → images (b, h, w, c) from 0 to 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(x + 1) / 2."""
        return (x.permute(0, 2, 3, 1) + 1) / 2


class Moments(ToCode):
    """Mean and log-variance (b, 2c, h, w) as rows (b, 2·c·h·w); the latter clamped as in diffusers."""

    def forward(self, x: Tensor) -> Tensor:
        """Clamp the second half."""
        mean, log_variance = super().forward(x).chunk(2, 1)
        return torch.cat([mean, log_variance.clamp(*LOG_VARIANCE)], 1)


class KLBlock(Recomputable):
    """Two normalised, activated convolutions beside a shortcut; diffusers: ``ResnetBlock2D``."""

    def __init__(self, seen: int, channels: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, seen, eps=_EPS)
        self.conv1 = nn.Conv2d(seen, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels, eps=_EPS)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(seen, channels, 1) if seen != channels else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, seen, h, w) to (b, channels, h, w)."""
        return self.light(self._mapped, x)

    def _mapped(self, x: Tensor) -> Tensor:
        branch = self.conv1(F.silu(self.norm1(x)))
        branch = self.conv2(F.silu(self.norm2(branch)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + branch


class KLAttention(nn.Module):
    """x + attention of every place of a grid to every other, with one head."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=_EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to the same shape."""
        rows = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # ONNX wants the dimension of heads
        mixed = F.scaled_dot_product_attention(self.to_q(rows), self.to_k(rows), self.to_v(rows))[:, 0]
        return x + self.to_out(mixed).transpose(1, 2).reshape(x.shape)


class MidBlock(nn.Module):
    """The coarsest grid: a block, attention if it is wanted, and another block."""

    def __init__(self, channels: int, sizes: Sizes):
        super().__init__()
        self.resnets = nn.ModuleList(KLBlock(channels, channels, sizes.groups) for _ in range(2))
        wanted = int(sizes.attention)
        self.attentions = nn.ModuleList(KLAttention(channels, sizes.groups) for _ in range(wanted))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to the same shape."""
        for part in self.in_order:
            x = part(x)
        return x

    @property
    def in_order(self) -> list[nn.Module]:
        """The parts in the order in which they run."""
        first, second = self.resnets
        return [first, *self.attentions, second]


class Halve(nn.Sequential):
    """A convolution of stride 2, padded at the right and below only: (b, c, h, w) → (b, c, h/2, w/2)."""

    def __init__(self, channels: int):
        layers = {"pad": nn.ZeroPad2d((0, 1, 0, 1)), "conv": nn.Conv2d(channels, channels, 3, stride=2)}
        super().__init__(OrderedDict(layers))


class KLEncoder(nn.Sequential):
    """Images (b, h, w, c) to mean and log-variance of a code on a grid, (b, 2·c'·h'·w').

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, (h, w, c).
    sizes : Sizes
        Of the networks.

    Examples
    --------
    >>> KLEncoder((64, 48, 3), Sizes((8, 16), groups=4))(torch.zeros(2, 64, 48, 3)).shape  # 2·4·32·24
    torch.Size([2, 6144])
    """

    def __init__(self, shape: Sequence[int], sizes: Sizes):
        channels, groups = sizes.block_channels, sizes.groups
        grid = sizes.grid(shape)
        levels = []
        for number, (seen, own) in enumerate(pairwise((channels[0], *channels)), 1):
            blocks = [KLBlock(own if i else seen, own, groups) for i in range(sizes.blocks)]
            down = None if number == len(channels) else nn.Sequential(Halve(own))
            levels.append(level_of(resnets=nn.Sequential(*blocks), downsamplers=down))
        parameters = 2 * sizes.latent_channels
        layers = chain_of(
            image=Signed(),
            conv_in=nn.Conv2d(shape[-1], channels[0], 3, padding=1),
            down_blocks=nn.Sequential(*levels),
            mid_block=MidBlock(channels[-1], sizes),
            conv_norm_out=nn.GroupNorm(groups, channels[-1], eps=_EPS),
            conv_act=nn.SiLU(),
            conv_out=nn.Conv2d(channels[-1], parameters, 3, padding=1),
            quant_conv=nn.Conv2d(parameters, parameters, 1) if sizes.quant_conv else None,
            code=Moments(),
        )
        super().__init__(OrderedDict(layers.named_children()))
        self.code_shape = grid
        self.sizes = sizes


class KLDecoder(nn.Sequential):
    """Codes on a grid, as rows (b, c·h·w), to images (b, h, w, c).

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, (h, w, c), or (h, w, c·p) for a likelihood with p parameters per number.
    sizes : Sizes
        Of the networks.

    Examples
    --------
    >>> KLDecoder((64, 48, 3), Sizes((8, 16), groups=4))(torch.zeros(2, 4 * 32 * 24)).shape
    torch.Size([2, 64, 48, 3])
    """

    def __init__(self, shape: Sequence[int], sizes: Sizes):
        channels, groups, grid = sizes.block_channels[::-1], sizes.groups, sizes.grid(shape)
        levels, height, width = [], grid[1], grid[2]
        for number, (seen, own) in enumerate(pairwise((channels[0], *channels)), 1):
            blocks = [KLBlock(own if i else seen, own, groups) for i in range(sizes.blocks + 1)]
            up = None
            if number < len(channels):
                height, width = 2 * height, 2 * width
                twice = nn.Upsample((height, width), mode="nearest")
                up = nn.Sequential(chain_of(up=twice, conv=nn.Conv2d(own, own, 3, padding=1)))
            levels.append(level_of(resnets=nn.Sequential(*blocks), upsamplers=up))
        code = sizes.latent_channels
        layers = chain_of(
            code=FromCode(grid, 0),
            post_quant_conv=nn.Conv2d(code, code, 1) if sizes.quant_conv else None,
            conv_in=nn.Conv2d(code, channels[0], 3, padding=1),
            mid_block=MidBlock(channels[0], sizes),
            up_blocks=nn.Sequential(*levels),
            conv_norm_out=nn.GroupNorm(groups, channels[-1], eps=_EPS),
            conv_act=nn.SiLU(),
            conv_out=nn.Conv2d(channels[-1], shape[-1], 3, padding=1),
            image=Unsigned(),
        )
        super().__init__(OrderedDict(layers.named_children()))
        self.code_shape = grid
        self.sizes = sizes

    @property
    def last(self) -> nn.Conv2d:
        """The layer whose outputs are the pixels."""
        layer = self.conv_out
        assert isinstance(layer, nn.Conv2d)
        return layer

"""Networks and loss for the other PyTorch programs: the same layers, built from plain torch modules."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import torch
from benchmarks.engine.cases import Net
from benchmarks.engine.images import read_images
from torch import Tensor, nn
from torch.nn import functional as F


class NCHW(nn.Module):
    """Wrap an elboroom network, which uses (b, h, w, c), for programs that use (b, c, h, w)."""

    def __init__(self, net: nn.Module, *, takes_images: bool):
        super().__init__()
        self.net = net
        self.takes_images = takes_images

    def forward(self, x: Tensor) -> Tensor:
        """Images (b, c, h, w) to features, or codes (b, d) to images (b, c, h, w)."""
        if self.takes_images:
            out: Tensor = self.net(x.permute(0, 2, 3, 1))
            return out
        return self.net(x).permute(0, 3, 1, 2)


def make_nets(net: Net) -> tuple[nn.Module, nn.Module]:
    """Encoder, images (b, c, h, w) → mean and log-variance (b, 2d); decoder, codes (b, d) → logits.

    Sizes and initial scale are those of ``elboroom.VAE.build``; the logits have the images' shape.
    """
    height, width, channels = net.shape
    d = net.latent_dim
    if not net.hidden:
        # Only the network classes; they do not import elboroom's engine.
        from elboroom.networks import ConvDecoder, ConvEncoder

        encoder = ConvEncoder(net.shape, (2 * d,), activation="relu")
        decoder = ConvDecoder((d,), net.shape, activation="relu")
        return NCHW(encoder, takes_images=True), NCHW(decoder, takes_images=False)
    pixels = math.prod(net.shape)
    down = _layers([pixels, *net.hidden, 2 * d])
    up = _layers([d, *net.hidden[::-1], pixels])
    image = nn.Unflatten(1, (channels, height, width))
    return nn.Sequential(nn.Flatten(), *down), nn.Sequential(*up, image)


def _layers(widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return layers[:-1]


@lru_cache(maxsize=1)
def float_images(path: str) -> Tensor:
    """Read all images as float32 (n, c, h, w) in [0, 1], as a PyTorch user would keep them."""
    images = torch.empty(read_images(path).shape, dtype=torch.float32)
    for part, source in zip(torch.split(images, 10_000), _blocks(path), strict=True):
        torch.div(source, 255, out=part)
    return images.permute(0, 3, 1, 2).contiguous()


def _blocks(path: str) -> list[Tensor]:
    images = read_images(path)
    return [torch.from_numpy(images[i : i + 10_000].copy()) for i in range(0, len(images), 10_000)]


def code(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, log-variance and one sample, each (b, d)."""
    mean, log_variance = features.chunk(2, -1)
    return mean, log_variance, mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def loss(encoder: nn.Module, decoder: nn.Module, x: Tensor) -> Tensor:
    """Return −ELBO with one sample in nats, the mean over the batch."""
    mean, log_variance, z = code(encoder(x))
    distortion = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
    rate = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (distortion + rate) / len(x)

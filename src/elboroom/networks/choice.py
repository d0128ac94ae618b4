"""The two networks that a configuration names."""

from __future__ import annotations

from typing import Any

from torch import nn

from elboroom.config import ModelConfig
from elboroom.networks.conv import ConvDecoder, ConvEncoder
from elboroom.networks.mlp import MLP
from elboroom.networks.spectral import with_spectral_norm

Shape = tuple[int, ...]


def networks_of(
    config: ModelConfig, shape: Shape, features: Shape, latent_dim: int, output: Shape
) -> tuple[nn.Module, nn.Module]:
    """Make the encoder (b, *shape) → (b, *features) and the decoder (b, latent_dim) → (b, *output)."""
    encoder, decoder = _NETWORKS[config.network](config, shape, features, latent_dim, output)
    return encoder, with_spectral_norm(decoder) if config.decoder_norm == "spectral" else decoder


def _mlps(
    config: ModelConfig, shape: Shape, features: Shape, latent_dim: int, output: Shape
) -> tuple[nn.Module, nn.Module]:
    options = {
        "activation": config.activation,
        "normalization": "none" if config.normalization == "auto" else config.normalization,
        "init": config.init,
    }
    decoder_hidden = config.hidden[::-1] if config.decoder_hidden is None else config.decoder_hidden
    return MLP(shape, features, config.hidden, **options), MLP(
        (latent_dim,), output, decoder_hidden, **options
    )


def _convs(
    config: ModelConfig, shape: Shape, features: Shape, latent_dim: int, output: Shape
) -> tuple[nn.Module, nn.Module]:
    options: dict[str, Any] = {
        "width": config.conv_width,
        "levels": config.conv_levels,
        "blocks": config.conv_blocks,
        "activation": config.activation,
        "normalization": "group" if config.normalization == "auto" else config.normalization,
    }
    return ConvEncoder(shape, features, **options), ConvDecoder((latent_dim,), output, **options)


_NETWORKS = {"mlp": _mlps, "conv": _convs}

"""The hierarchy that a configuration names."""

from __future__ import annotations

from typing import Any

from torch import nn

from elboroom.conditions import Conditioning
from elboroom.config import ModelConfig
from elboroom.hierarchies.chain import make_chain
from elboroom.hierarchies.vae import HierarchicalVAE
from elboroom.networks.ladder import Ladder
from elboroom.networks.ladder_parts import LadderEncoder

Shape = tuple[int, ...]


def hierarchy_of(
    config: ModelConfig,
    shape: Shape,
    likelihood: nn.Module,
    *,
    scale: float,
    conditioning: Conditioning | None = None,
) -> HierarchicalVAE:
    """Make the VAE of several stochastic layers for examples of a shape; ``network`` is ladder or chain."""
    if config.network == "chain":
        return make_chain(
            shape,
            latent_dims=config.chain_dims,
            hidden=[(width, width) for width in config.chain_hidden],
            activation=config.activation,
            likelihood=likelihood,
            scale=scale,
            conditioning=conditioning,
        )
    grids: dict[str, Any] = {"width": config.conv_width, "levels": config.conv_levels}
    grids |= {"blocks": config.conv_blocks}
    ladder = Ladder(
        shape,
        likelihood.in_shape,  # type: ignore[arg-type]
        layers=config.ladder_layers,
        z_channels=config.ladder_z_channels,
        condition_dim=conditioning.beside_code if conditioning is not None else 0,
        **grids,
    )
    return HierarchicalVAE(
        LadderEncoder(shape, **grids),
        ladder,
        shape=shape,
        likelihood=likelihood,
        scale=scale,
        conditioning=conditioning,
    )

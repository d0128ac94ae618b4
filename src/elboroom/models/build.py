"""Build a VAE from a configuration: the one place that knows all parts by name and puts them together."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from elboroom.config import ModelConfig, prior_of
from elboroom.config.priors import PRIORS as PRIOR_ROWS
from elboroom.errors import UsageError
from elboroom.models.chain import make_chain
from elboroom.models.conditioning import Conditioning
from elboroom.models.hierarchical import HierarchicalVAE
from elboroom.models.vae import COMPOSERS, VAE
from elboroom.networks.autoencoder_kl import KLDecoder, KLEncoder, Sizes
from elboroom.networks.conv import ConvDecoder, ConvEncoder
from elboroom.networks.ladder import Ladder
from elboroom.networks.ladder_parts import LadderEncoder
from elboroom.networks.mlp import MLP
from elboroom.networks.spatial import SpatialDecoder, SpatialEncoder, plan_grid
from elboroom.networks.spectral import with_spectral_norm
from elboroom.probability.choice import CODE_PRIORS, POSTERIORS, PRIORS, QUANTIZERS
from elboroom.probability.conditional_prior import ConditionalNormal
from elboroom.probability.likelihoods import LIKELIHOODS, LikelihoodHead
from elboroom.probability.posteriors import DiagonalGaussianHead
from elboroom.probability.standardized import StandardizedHead

Shape = tuple[int, ...]


def _one_layer(config: ModelConfig) -> VAE:
    """Make a VAE with one stochastic layer: an encoder, a decoder, and the named distributions."""
    shape = _shape_of(config)
    likelihood = likelihood_of(config, shape)
    seen: Shape = getattr(likelihood, "input_shape", shape)  # by the encoder
    conditioning = _conditioning_of(config, seen)
    posterior: Any = _posterior_of(config)
    prior = _prior_for(config, posterior, seen, likelihood)
    codes = posterior.latent_dim + (0 if conditioning is None else conditioning.beside_code)
    encoder, decoder = _networks_of(config, seen, posterior.in_shape, codes, likelihood.in_shape)
    parts: dict[str, Any] = {"posterior": posterior, "likelihood": likelihood, "conditioning": conditioning}
    return VAE(encoder, decoder, prior, shape=shape, scale=config.scale or 255.0, **parts)


def _chain(config: ModelConfig) -> HierarchicalVAE:
    """Make a VAE whose stochastic layers form a Markov chain, with MLPs between them."""
    shape = _shape_of(config)
    likelihood: Any = likelihood_of(config, shape)
    vae = make_chain(
        shape,
        latent_dims=config.chain_dims,
        hidden=[(width, width) for width in config.chain_hidden],
        activation=config.activation,
        init=config.init,
        likelihood=likelihood,
        scale=config.scale or 255.0,
        conditioning=_conditioning_of(config, shape),
    )
    if config.output_bias == "data":
        lowest: Any = vae.decoder.decoder
        lowest.ask_for_examples()
    return vae


def _ladder(config: ModelConfig) -> HierarchicalVAE:
    """Make a ladder VAE: convolutional, with stochastic layers on grids from coarse to fine."""
    shape = _shape_of(config)
    likelihood: Any = likelihood_of(config, shape)
    conditioning = _conditioning_of(config, shape)
    grids: dict[str, Any] = {"width": config.conv_width, "levels": config.conv_levels}
    grids |= {"blocks": config.conv_blocks}
    ladder = Ladder(
        shape,
        likelihood.in_shape,
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
        scale=config.scale or 255.0,
        conditioning=conditioning,
    )


def _shape_of(config: ModelConfig) -> Shape:
    assert config.shape is not None  # VAE.build has checked it
    return config.shape


def likelihood_of(config: ModelConfig, shape: Shape) -> LikelihoodHead:
    """Make the head of p(x|z) for examples of a shape."""
    config = config.without_auto()
    head: Any = LIKELIHOODS[config.likelihood](shape, **config.options("likelihood"))
    return StandardizedHead(head, shape) if config.standardize else head


def _posterior_of(config: ModelConfig) -> nn.Module:
    """Make the head of q(z|x)."""
    options = config.options("posterior")
    if config.network == "spatial":
        channels, *places = _code_grid(config)
        if config.posterior not in QUANTIZERS:
            return POSTERIORS[config.posterior](channels * math.prod(places), **options)
        if config.posterior == "vq":
            options["channels"] = channels
        return QUANTIZERS[config.posterior].on_grid(places, channels_first=True, **options)
    if config.network == "autoencoder-kl":
        numbers = math.prod(_kl_sizes(config).grid(_shape_of(config)))
        return DiagonalGaussianHead(numbers, scale="exp", min_scale=0.0)  # the encoder bounds it from below
    if config.posterior not in QUANTIZERS:
        return POSTERIORS[config.posterior](config.latent_dim, **options)
    return QUANTIZERS[config.posterior].on_grid(config.code_grid, **options)


def _prior_for(config: ModelConfig, posterior: Any, shape: Shape, likelihood: LikelihoodHead) -> nn.Module:
    """Make p(z), or p(z|c), for a posterior's codes; pseudo-inputs lie in the likelihood's support."""
    if config.condition != "none" and "prior" in config.condition_parts:
        return ConditionalNormal(posterior.latent_dim, config.condition_dim or 1)
    name = prior_of(config.posterior, config.prior)
    if name in CODE_PRIORS:
        return CODE_PRIORS[name](posterior)
    options = config.options("prior")
    if PRIOR_ROWS[name].of_posteriors:
        # Counts have no upper bound, which pseudo-inputs could be spread up to.
        bounded = likelihood.support is not None and math.isfinite(likelihood.support[1])
        options |= {"shape": shape, "support": likelihood.support if bounded else None}
    return PRIORS[name](posterior.latent_dim, **options)


def _conditioning_of(config: ModelConfig, shape: Shape) -> Conditioning | None:
    """Make the part that brings conditions to encoder and decoder, if the model has any."""
    if config.condition == "none":
        return None
    if config.condition_dim is None:
        raise UsageError(
            "condition_dim is not set: give the number of labels, or the length of a condition vector, "
            "such as condition_dim=10"
        )
    return Conditioning(
        config.condition,
        config.condition_dim,
        shape=shape,
        names=config.condition_names,
        ids=config.condition_ids,
        parts=config.condition_parts,
    )


def _networks_of(
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
    encoder = MLP(shape, features, config.hidden, **options)
    decoder = MLP((latent_dim,), output, decoder_hidden, **options)
    if config.output_bias == "data":
        decoder.ask_for_examples()
    return encoder, decoder


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


def _spatials(
    config: ModelConfig, shape: Shape, features: Shape, latent_dim: int, output: Shape
) -> tuple[nn.Module, nn.Module]:
    options: dict[str, Any] = {
        **_grid_sizes(config),
        "blocks": config.conv_blocks,
        "attention": config.attention,
        "activation": config.activation,
        "normalization": "group" if config.normalization == "auto" else config.normalization,
    }
    channels, *places = _code_grid(config)
    numbers = channels * math.prod(places)
    encoder = SpatialEncoder(shape, channels, math.prod(features) // numbers, **options)
    return encoder, SpatialDecoder(channels, latent_dim - numbers, output, **options)


def _code_grid(config: ModelConfig) -> tuple[int, int, int]:
    """Channels, height and width of a code on a grid."""
    return plan_grid(_shape_of(config), config.code_length, **_grid_sizes(config))[1]


def _kls(
    config: ModelConfig, shape: Shape, _features: Shape, _latent_dim: int, output: Shape
) -> tuple[nn.Module, nn.Module]:
    sizes = _kl_sizes(config)
    return KLEncoder(shape, sizes), KLDecoder(output, sizes)


def _kl_sizes(config: ModelConfig) -> Sizes:
    return Sizes(
        config.block_channels,
        config.latent_channels,
        blocks=config.conv_blocks,
        groups=config.norm_groups,
        attention=config.attention,
        quant_conv=config.quant_conv,
    )


def _grid_sizes(config: ModelConfig) -> dict[str, int | None]:
    return {"width": config.conv_width, "levels": config.conv_levels}


# Kind of network → encoder and decoder around one stochastic layer, or a whole model with several.
_NETWORKS = {"mlp": _mlps, "conv": _convs, "spatial": _spatials, "autoencoder-kl": _kls}
COMPOSERS |= {**dict.fromkeys(_NETWORKS, _one_layer), "chain": _chain, "ladder": _ladder}

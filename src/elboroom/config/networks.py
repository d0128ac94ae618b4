"""The kinds of networks by name, and the options of each.

A new kind of encoder and decoder is a module in ``elboroom.networks``, a line in ``models/build.py`` with the
function that makes the two, and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass

from elboroom.config.bounds import Need
from elboroom.config.sections import join


@dataclass(frozen=True)
class NetworkRow:
    """What the configuration knows of a kind of networks.

    Attributes
    ----------
    summary : str
        What it is for: a phrase for the help.
    options : tuple of str
        The fields of the model's configuration that have a use with it.
    has : tuple of Need
        With several stochastic layers, what bounds and penalties may ask of their posterior. Empty with one
        layer, where this depends on the posterior that is chosen.
    """

    summary: str
    options: tuple[str, ...]
    has: tuple[Need, ...] = ()


# With one stochastic layer, posterior and prior can be chosen.
_ONE_LAYER = (
    *("standardize", "latent_dim", "posterior", "prior", "posterior_scale"),
    *("activation", "normalization", "decoder_norm", "code_grid", "code_channels"),
)
_CONV = ("conv_width", "conv_levels", "conv_blocks")
_KL = ("prior", "conv_blocks", "latent_channels", "attention", "block_channels", "norm_groups", "quant_conv")
_SPATIAL = ("posterior", "prior", "posterior_scale", "activation", "normalization", "decoder_norm")

NETWORKS: dict[str, NetworkRow] = {
    "mlp": NetworkRow("any data", (*_ONE_LAYER, "hidden", "decoder_hidden", "init", "output_bias")),
    "conv": NetworkRow("images", (*_ONE_LAYER, *_CONV)),
    "spatial": NetworkRow(
        "images, with a code on a grid", (*_SPATIAL, *_CONV, "latent_channels", "attention")
    ),
    "autoencoder-kl": NetworkRow(
        "images, with a code on a grid, by the layers of diffusers' AutoencoderKL", _KL
    ),
    "ladder": NetworkRow(
        "images, with several stochastic layers",
        (*_CONV, "ladder_layers", "ladder_z_channels"),
        has=("noise", "unbounded"),
    ),
    "chain": NetworkRow(
        "any data, with several stochastic layers",
        ("chain_dims", "chain_hidden", "activation", "init", "output_bias"),
        has=("noise", "unbounded"),
    ),
}
LAYERED = tuple(name for name, row in NETWORKS.items() if row.has)
"""Networks with several stochastic layers, which have their own posterior and prior."""


def help_of_networks() -> str:
    """Help of the option that chooses the networks.

    Examples
    --------
    >>> help_of_networks()[:35]
    'Network: mlp (any data), conv (imag'
    """
    each = join((f"{name} ({row.summary})" for name, row in NETWORKS.items()), "or")
    return f"Network: {each}. auto takes conv for photos and mlp for all other data."

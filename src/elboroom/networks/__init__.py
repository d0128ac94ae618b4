"""Networks: modules that map (b, *in_shape) to (b, *out_shape)."""

from elboroom.networks.conv import ConvDecoder, ConvEncoder
from elboroom.networks.mlp import MLP
from elboroom.networks.pythae_nets import PythaeDecoder, PythaeEncoder
from elboroom.networks.recompute import recompute_activations
from elboroom.networks.summary import summarize

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "PythaeDecoder",
    "PythaeEncoder",
    "recompute_activations",
    "summarize",
]

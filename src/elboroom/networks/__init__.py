"""Networks: modules that map (b, *in_shape) to (b, *out_shape)."""

from elboroom.networks.mlp import MLP

__all__ = ["MLP"]

"""Linear layers as their products see them, and memory for what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

_FEW_ROWS, _LARGE = 64, 1 << 17
_ROWS = torch.contiguous_format


@dataclass(frozen=True)
class Layer:
    """A linear layer, the low-precision copies of its weights, and the activation after it.

    If ``is_fused``, one operation of oneDNN computes product and bias.
    """

    own: nn.Linear
    weight: Tensor
    turned: Tensor  # the weight, transposed
    bias: Tensor | None
    activation: type | None
    is_fused: bool


@cache
def _has_fused_bf16() -> bool:
    has_operation = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has_operation and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def can_fuse(weight: Tensor) -> bool:
    """Whether a layer with bias is computed by oneDNN's fused operation: on a CPU in bfloat16.

    It gives the same bits as ``addmm`` in less time (docs/performance.md).
    """
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and _has_fused_bf16()


def across_pays(like: Tensor, rows: int) -> bool:
    """Whether W xᵀ is computed faster than x Wᵀ: on a CPU in float32, if several threads share few rows.

    Measured on two cores (docs/performance.md); one thread gains nothing, and bfloat16 loses.
    """
    several = like.device.type == "cpu" and torch.get_num_threads() > 1
    return several and like.dtype == torch.float32 and rows <= _FEW_ROWS


class Room:
    """Memory for what one chain computes from a batch of one size, used again at every step.

    Parameters
    ----------
    layers : sequence of Layer
        The chain.
    rows : int
        Size of the batch.

    Attributes
    ----------
    outputs, gradients : list of Tensor
        (rows, d') of each layer: the output before its activation, and the gradient by that.
    turned : list of Tensor
        The gradients, transposed.
    across : list of (Tensor, Tensor) or None
        Of each layer whose product is W xᵀ rather than x Wᵀ, so that features come first in memory: its
        output, transposed, and its bias as a column.
    by_input : Tensor
        (rows, d), the gradient by the input of the chain.
    """

    def __init__(self, layers: Sequence[Layer], rows: int):
        first, largest = layers[0].weight, max(layer.weight.numel() for layer in layers)
        few = across_pays(first, rows) and largest >= _LARGE
        self.outputs: list[Tensor] = []
        self.across: list[tuple[Tensor, Tensor | None] | None] = []
        for i, layer in enumerate(layers):
            if few and (i < len(layers) - 1 or layer.weight.numel() >= _LARGE):
                turned = layer.weight.new_empty(len(layer.weight), rows)
                self.across.append((turned, None if layer.bias is None else layer.bias[:, None]))
                self.outputs.append(turned.t())
            else:
                self.across.append(None)
                self.outputs.append(layer.weight.new_empty(rows, len(layer.weight)))
        # A fused layer leaves the memory for its output free.
        self.gradients = [
            output if layer.is_fused else torch.empty_like(output)
            for layer, output in zip(layers[:-1], self.outputs[:-1], strict=True)
        ]
        self.gradients.append(self.outputs[-1].clone(memory_format=_ROWS))
        self.turned = [gradient.t() for gradient in self.gradients]
        self.by_input = first.new_empty(rows, first.shape[1])

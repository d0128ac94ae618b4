"""Networks as programs that the page runs: a list of operations on one example, in torch's layouts.

An operation is an object with its name under ``op``; arrays are numbers of a :class:`Blob`. The interpreter
of these programs is ``web/explorer/src/program.ts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from elboroom.explorer.blob import Blob, Format
from elboroom.networks.autoencoder_kl import Halve, KLAttention, KLBlock, MidBlock, Moments, Signed, Unsigned
from elboroom.networks.conv_parts import ResidualBlock, Shuffle, ToGrid, ToRows
from elboroom.networks.recompute import RecomputableSequential
from elboroom.networks.spatial import Attention, FromCode, ToCode

Op = dict[str, Any]


class CannotRunError(Exception):
    """The page's interpreter has no operation for a part of the model; the text names it."""


class Translator:
    """Translates modules of known types into operations, and puts their weights into a blob.

    Parameters
    ----------
    blob : Blob
        Receives the arrays.
    weights : {"int8", "float16", "float32"}
        Format of the matrices; biases and scales of normalisations are float32.
    """

    def __init__(self, blob: Blob, weights: Format):
        self.blob = blob
        self.weights = weights

    def program(self, module: nn.Module) -> list[Op]:
        """Operations of a module.

        Raises
        ------
        CannotRunError
            If it, or a part of it, is of a type that the page cannot run.
        """
        translate = _TRANSLATIONS.get(type(module))
        if translate is not None:
            return translate(self, module)
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            return [op for part in module for op in self.program(part)]
        raise CannotRunError(f"a layer {type(module).__name__}")

    def matrix(self, weight: torch.Tensor) -> int:
        """Number of a weight (rows, ...)."""
        return self.blob.add_weight(to_numpy(weight), self.weights)

    def vector(self, values: torch.Tensor | None) -> int | None:
        """Number of a bias or a scale; None if there is none."""
        return None if values is None else self.blob.add(to_numpy(values))


def to_numpy(tensor: torch.Tensor) -> Any:
    """A tensor as a float32 array."""
    return np.array(tensor.detach().cpu().float().numpy())


def _linear(to: Translator, layer: nn.Linear) -> list[Op]:
    return [{"op": "linear", "weight": to.matrix(layer.weight), "bias": to.vector(layer.bias)}]


def _conv(to: Translator, layer: nn.Conv2d) -> list[Op]:
    _check_plain(layer)
    return [{"op": "conv", "weight": to.matrix(layer.weight), **_window(to, layer)}]


def _transposed_conv(to: Translator, layer: nn.ConvTranspose2d) -> list[Op]:
    _check_plain(layer)
    more = {"outputPadding": list(layer.output_padding)}
    return [{"op": "convTransposed", "weight": to.matrix(layer.weight), **_window(to, layer), **more}]


def _check_plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    if layer.groups != 1 or tuple(layer.dilation) != (1, 1) or layer.padding_mode != "zeros":
        raise CannotRunError(f"a {type(layer).__name__} with groups, dilation or other padding than zeros")
    if isinstance(layer.padding, str):
        raise CannotRunError(f"a {type(layer).__name__} with padding {layer.padding!r}")


def _window(to: Translator, layer: nn.Conv2d | nn.ConvTranspose2d) -> Op:
    return {
        "bias": to.vector(layer.bias),
        "stride": list(layer.stride),
        "padding": [int(side) for side in layer.padding],
    }


def _batch_norm(to: Translator, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> list[Op]:
    if layer.running_mean is None or layer.running_var is None:
        raise CannotRunError("a normalisation over the batch without running statistics")
    gain = (layer.running_var + layer.eps).rsqrt() * (1.0 if layer.weight is None else layer.weight)
    shift = (0.0 if layer.bias is None else layer.bias) - layer.running_mean * gain
    return [{"op": "affine", "gain": to.vector(gain), "shift": to.vector(shift)}]


def _group_norm(to: Translator, layer: nn.GroupNorm) -> list[Op]:
    parts = {"gain": to.vector(layer.weight), "shift": to.vector(layer.bias)}
    return [{"op": "groupNorm", "groups": layer.num_groups, "eps": layer.eps, **parts}]


def _layer_norm(to: Translator, layer: nn.LayerNorm) -> list[Op]:
    if len(layer.normalized_shape) != 1:
        raise CannotRunError("a LayerNorm over several dimensions")
    parts = {"gain": to.vector(layer.weight), "shift": to.vector(layer.bias)}
    return [{"op": "layerNorm", "eps": layer.eps, **parts}]


def _upsample(_to: Translator, layer: nn.Upsample) -> list[Op]:
    if layer.mode != "nearest" or not isinstance(layer.size, tuple):
        raise CannotRunError(f"an Upsample of mode {layer.mode!r}")
    return [{"op": "upsample", "size": list(layer.size)}]


def _residual(to: Translator, layer: ResidualBlock) -> list[Op]:
    return [{"op": "residual", "branch": to.program(layer.branch)}]


def _shuffle(_to: Translator, layer: Shuffle) -> list[Op]:
    return [{"op": "shuffle", "shape": list(layer.shape), "stride": list(layer.stride)}]


def _from_code(_to: Translator, layer: FromCode) -> list[Op]:
    return [{"op": "fromCode", "grid": list(layer.grid)}]


def _attention(to: Translator, layer: Attention) -> list[Op]:
    parts = {"normalization": layer.normalization, "queries": layer.queries, "out": layer.out}
    return [{"op": "attention", **{name: to.program(part) for name, part in parts.items()}}]


def _kl_block(to: Translator, layer: KLBlock) -> list[Op]:
    parts = (layer.norm1, nn.SiLU(), layer.conv1, layer.norm2, nn.SiLU(), layer.conv2)
    shortcut = [] if layer.conv_shortcut is None else to.program(layer.conv_shortcut)
    return [{"op": "residual", "branch": to.program(nn.Sequential(*parts)), "shortcut": shortcut}]


def _kl_attention(to: Translator, layer: KLAttention) -> list[Op]:
    asked = (layer.to_q, layer.to_k, layer.to_v)
    weight = torch.cat([part.weight for part in asked])[..., None, None]
    queries = _by_places(to, weight, torch.cat([part.bias for part in asked]))
    answer = layer.to_out[0]
    assert isinstance(answer, nn.Linear)
    out = _by_places(to, answer.weight[..., None, None], answer.bias)
    normalization = to.program(layer.group_norm)
    return [{"op": "attention", "normalization": normalization, "queries": queries, "out": out}]


def _by_places(to: Translator, weight: torch.Tensor, bias: torch.Tensor) -> list[Op]:
    """The same linear layer at each place."""
    window = {"bias": to.vector(bias), "stride": [1, 1], "padding": [0, 0]}
    return [{"op": "conv", "weight": to.matrix(weight), **window}]


def _halve(to: Translator, layer: Halve) -> list[Op]:
    """As a convolution padded at all sides, by a row and a column of zeros before those of the kernel."""
    conv = layer[1]
    assert isinstance(conv, nn.Conv2d)
    weight = nn.functional.pad(conv.weight, (1, 0, 1, 0))
    window = {"bias": to.vector(conv.bias), "stride": [2, 2], "padding": [1, 1]}
    return [{"op": "conv", "weight": to.matrix(weight), **window}]


def _times_plus(to: Translator, factor: float, more: float) -> list[Op]:
    parts = {"gain": to.vector(torch.tensor([factor])), "shift": to.vector(torch.tensor([more]))}
    return [{"op": "affine", **parts}]


def _flatten(_to: Translator, layer: nn.Flatten) -> list[Op]:
    if layer.start_dim != 1 or layer.end_dim != -1:
        raise CannotRunError("a Flatten of some dimensions only")
    return [{"op": "reshape", "shape": [-1]}]


def _unflatten(_to: Translator, layer: nn.Unflatten) -> list[Op]:
    if layer.dim != 1:
        raise CannotRunError("an Unflatten of another dimension than the first")
    return [{"op": "reshape", "shape": [int(side) for side in layer.unflattened_size]}]


def _activation(name: str, **options: float) -> Callable[[Translator, Any], list[Op]]:
    return lambda _to, _layer: [{"op": "activation", "name": name, **options}]


def _leaky(_to: Translator, layer: nn.LeakyReLU) -> list[Op]:
    return [{"op": "activation", "name": "leaky", "slope": layer.negative_slope}]


def _elu(_to: Translator, layer: nn.ELU) -> list[Op]:
    return [{"op": "activation", "name": "elu", "slope": layer.alpha}]


def _gelu(_to: Translator, layer: nn.GELU) -> list[Op]:
    return [{"op": "activation", "name": "gelu" if layer.approximate == "none" else "geluTanh"}]


def _softplus(_to: Translator, layer: nn.Softplus) -> list[Op]:
    if layer.beta != 1:
        raise CannotRunError("a Softplus of another beta than 1")
    return [{"op": "activation", "name": "softplus"}]


_TRANSLATIONS: dict[type, Callable[[Translator, Any], list[Op]]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _transposed_conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Upsample: _upsample,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    RecomputableSequential: lambda to, parts: [op for part in parts for op in to.program(part)],
    ResidualBlock: _residual,
    Shuffle: _shuffle,
    FromCode: _from_code,
    ToCode: lambda _to, _layer: [{"op": "reshape", "shape": [-1]}],
    Attention: _attention,
    KLBlock: _kl_block,
    KLAttention: _kl_attention,
    MidBlock: lambda to, block: [op for part in block.in_order for op in to.program(part)],
    Halve: _halve,
    Signed: lambda to, _layer: [{"op": "permute", "order": [2, 0, 1]}, *_times_plus(to, 2.0, -1.0)],
    Unsigned: lambda to, _layer: [{"op": "permute", "order": [1, 2, 0]}, *_times_plus(to, 0.5, 0.5)],
    Moments: lambda _to, _layer: [{"op": "reshape", "shape": [-1]}],  # the page takes the means only
    ToGrid: lambda _to, _layer: [{"op": "permute", "order": [2, 0, 1]}],
    ToRows: lambda _to, _layer: [{"op": "permute", "order": [1, 2, 0]}, {"op": "reshape", "shape": [-1]}],
    nn.Identity: lambda _to, _layer: [],
    nn.Dropout: lambda _to, _layer: [],  # the model is at rest
    nn.ReLU: _activation("relu"),
    nn.Tanh: _activation("tanh"),
    nn.SiLU: _activation("silu"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.LeakyReLU: _leaky,
    nn.ELU: _elu,
    nn.GELU: _gelu,
    nn.Softplus: _softplus,
}
"""By type, how a module becomes operations. Subclasses are not taken for their bases: they may do more."""

"""Chains of linear layers as one node of the autograd graph.

Autograd by itself allocates each weight gradient and adds it to ``grad``; under autocast it casts each weight
separately; and each layer costs several calls. Here all weights are cast at once, and gradients are written
straight into the flat buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from elboroom.training.step.flat import FlatParameters
from elboroom.training.step.interventions import acts_everywhere, has_gradient_hooks, is_modified
from elboroom.training.step.room import Layer, Room, can_fuse

_aten = torch.ops.aten

# Activation → (its value at x, the gradient by x from (gradient by y, x, y), into ``grad_input`` if given).
_ACTIVATIONS: dict[type, tuple[Callable[[Tensor], Tensor], Callable[..., Tensor]]] = {
    # In place where the result alone gives the gradient.
    nn.ReLU: (torch.relu_, lambda g, _x, y, **to: _aten.threshold_backward(g, y, 0, **to)),
    nn.Tanh: (torch.tanh_, lambda g, _x, y, **to: _aten.tanh_backward(g, y, **to)),
    nn.Sigmoid: (torch.sigmoid_, lambda g, _x, y, **to: _aten.sigmoid_backward(g, y, **to)),
    nn.SiLU: (F.silu, lambda g, x, _y, **to: _aten.silu_backward(g, x, **to)),
    nn.Softplus: (F.softplus, lambda g, x, _y, **to: _aten.softplus_backward(g, x, 1, 20, **to)),
    nn.GELU: (F.gelu, lambda g, x, _y, **to: _aten.gelu_backward(g, x, **to)),
    nn.ELU: (F.elu, lambda g, x, _y, **to: _aten.elu_backward(g, 1, 1, 1, False, x, **to)),
    nn.LeakyReLU: (F.leaky_relu, lambda g, x, _y, **to: _aten.leaky_relu_backward(g, x, 0.01, False, **to)),
}
_FLATTEN, _UNFLATTEN = nn.Flatten, nn.Unflatten


Kept = list[tuple[Tensor, Tensor, Tensor]]


class Chains:
    """Replaces the forward of a model's chains of linear layers while a step runs.

    A chain is an ``nn.Sequential`` that consists of flatten, linear, activation and unflatten layers, or a
    single linear layer. Layers with hooks, parametrizations or frozen weights are left to autograd.

    Parameters
    ----------
    model : nn.Module
        The model whose chains are replaced.
    flat : FlatParameters
        Buffers of all trained parameters.
    dtype : torch.dtype
        Precision of the matrix products; the hardware accumulates them in float32.
    left : callable
        Returns weights that are left to autograd, because gradients are taken at them within a step.
    """

    def __init__(
        self,
        model: nn.Module,
        flat: FlatParameters,
        dtype: torch.dtype,
        left: Callable[[], set[nn.Parameter]] = set,
    ):
        self._model = model
        self._left = left
        self.flat = flat
        self.memory: dict[Hashable, Any] = {}  # a captured step needs it for as long as the flat buffers
        self.shadows = [
            torch.empty_like(values, dtype=dtype, requires_grad=False)
            if values.dtype == torch.float32 != dtype
            else values.detach()
            for values in flat.values
        ]
        self.find()

    def find(self) -> None:
        """Find the chains again after the model may have changed."""
        self.layers: dict[nn.Module, list[Layer]] = {}
        self._forwards: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = []
        self._held: set[nn.Parameter] = set()
        if acts_everywhere():
            return
        known = {p for p in self.flat.parameters if p.requires_grad and not has_gradient_hooks(p)}
        known -= self._left()
        for module in _uncompiled(self._model):
            layers = _layers_of(module, known)
            if layers and not self._held.intersection(p for layer, _ in layers for p in layer.parameters()):
                chain = [self._with_copies(*layer) for layer in layers]
                self._held.update(p for layer in chain for p in layer.own.parameters())
                self.layers[module] = chain
                self._forwards.append((module, partial(self._forward, module, chain)))

    @property
    def held(self) -> set[nn.Parameter]:
        """Parameters whose gradients the chains write."""
        return self._held

    @property
    def replaced(self) -> list[nn.Module]:
        """Modules whose forward, or that of a module above them, is replaced."""
        return [each for module, _ in self._forwards for each in module.modules()]

    @property
    def covered_by_biases(self) -> set[Tensor]:
        """Weights whose gradient is finite if that of the bias is: it is the same times finite inputs."""
        layers = [layer.own for chain in self.layers.values() for layer in chain]
        return {layer.weight for layer in layers if layer.bias is not None}

    @property
    def hold_everything(self) -> bool:
        """Whether the chains hold all parameters that are trained."""
        return self._held.issuperset(p for p in self.flat.parameters if p.requires_grad)

    @property
    def hold_all_products(self) -> bool:
        """Whether the chains hold all weight matrices of the model."""
        return all(p in self._held for p in self._model.parameters() if p.dim() > 1)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Replace the forward of the chains while the context lasts."""
        for module, forward in self._forwards:
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module, _ in self._forwards:
                del module.__dict__["forward"]

    def refresh(self) -> None:
        """Cast all weights in one call."""
        for values, shadow in zip(self.flat.values, self.shadows, strict=True):
            if shadow.dtype != values.dtype:
                shadow.copy_(values.detach())

    def _with_copies(self, layer: nn.Linear, activation: type | None) -> Layer:
        bias = None if layer.bias is None else self._copy(layer.bias)
        weight = self._copy(layer.weight)
        return Layer(layer, weight, weight.t(), bias, activation, bias is not None and can_fuse(weight))

    def _copy(self, parameter: Tensor) -> Tensor:
        buffer, start = self.flat.offset(parameter)
        return self.shadows[buffer][start : start + parameter.numel()].view(parameter.shape)

    def _forward(self, module: nn.Module, layers: Sequence[Layer], x: Tensor) -> Tensor:
        shape = x.shape[:-1]
        if isinstance(module, nn.Sequential):
            if isinstance(module[0], _FLATTEN):
                shape, x = x.shape[:1], x.flatten(1)
            y = _apply(x, layers[0].own.weight, layers, self.flat)
            return module[-1](y) if isinstance(module[-1], _UNFLATTEN) else y.view(*shape, y.shape[-1])
        return _apply(x, layers[0].own.weight, layers, self.flat)


class _Chain(torch.autograd.Function):
    """x → W x + b → activation → …; the gradients of W and b go into the flat buffer, not to autograd.

    A weight is among the arguments because autograd would otherwise not call backward if x needs no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _weight: Tensor, layers: Sequence[Layer], flat: FlatParameters
    ) -> Tensor:
        ctx.shape, ctx.dtype, ctx.layers, ctx.flat = x.shape, x.dtype, layers, flat
        y, ctx.kept = run(layers, x.reshape(-1, x.shape[-1]))
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        g = gradient.reshape(-1, gradient.shape[-1])
        upwards = run_back(ctx.layers, ctx.kept, g, ctx.flat, to_input=ctx.needs_input_grad[0])
        return upwards if upwards is None else upwards.view(ctx.shape).to(ctx.dtype), None, None, None


def run(layers: Sequence[Layer], x: Tensor, room: Room | None = None) -> tuple[Tensor, Kept]:
    """Apply a chain to rows (n, d); return its output and what :func:`run_back` needs of each layer.

    With ``room`` the outputs are written there, but for those of fused layers.
    """
    kept: Kept = []
    y = x
    for i, layer in enumerate(layers):
        rows, activation = y.to(layer.weight.dtype), layer.activation
        joined = activation is nn.ReLU and layer.bias is not None and rows.device.type != "mps"
        if layer.is_fused:
            joined = False  # oneDNN's ReLU of nan is 0
            before = torch.ops.mkldnn._linear_pointwise(rows, layer.weight, layer.bias, "none", [], "")
        else:
            before = _product(layer, rows, room, i, joined=joined)
        y = before if activation is None or joined else _ACTIVATIONS[activation][0](before)
        kept.append((rows, before, y))
    return y, kept


def _product(layer: Layer, rows: Tensor, room: Room | None, i: int, *, joined: bool) -> Tensor:
    """Return W x + b for each row, with ReLU if ``joined``."""
    across = None if room is None else room.across[i]
    out: Tensor | None
    if across is not None:
        out, bias = across
        factors = layer.weight, rows.t()
    else:
        out, bias = room.outputs[i] if room is not None else None, layer.bias
        factors = rows, layer.turned
    if bias is None:
        found = torch.mm(*factors, out=out)
    elif joined:
        found = torch._addmm_activation(bias, *factors, out=out)
    else:
        found = torch.addmm(bias, *factors, out=out)
    return found if room is None else room.outputs[i]


def run_back(
    layers: Sequence[Layer],
    kept: Kept,
    gradient: Tensor,
    flat: FlatParameters,
    *,
    to_input: bool,
    room: Room | None = None,
) -> Tensor | None:
    """Turn the gradient of the output (n, d') into that of the input; those of weights go into ``flat``.

    With ``room`` the former is the last of its gradients, which are overwritten.
    """
    g = gradient
    for i in reversed(range(len(layers))):
        layer, (rows, before, y) = layers[i], kept[i]
        g = g.to(layer.weight.dtype)
        if layer.activation is not None:
            into = {} if room is None else {"grad_input": g}
            g = _ACTIVATIONS[layer.activation][1](g, before, y, **into)
        _product_into(flat, layer.own.weight, g.t() if room is None else room.turned[i], rows)
        if layer.own.bias is not None:
            _sum_into(flat, layer.own.bias, g)
        if i or to_input:
            out = None if room is None else room.gradients[i - 1] if i else room.by_input
            g = torch.mm(g, layer.weight, out=out)
    return g if to_input else None


_apply: Callable[..., Tensor] = _Chain.apply


def _product_into(flat: FlatParameters, parameter: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype != flat.gradient(parameter).dtype:
        flat.write(parameter, torch.mm(a, b))
        return
    own = flat.slot(parameter)
    if own is not None:
        torch.mm(a, b, out=own)
    else:
        flat.gradient(parameter).addmm_(a, b)


def _sum_into(flat: FlatParameters, parameter: Tensor, rows: Tensor) -> None:
    if rows.dtype == flat.gradient(parameter).dtype:
        own = flat.slot(parameter)
        if own is not None:
            torch.sum(rows, 0, out=own)
            return
    flat.write(parameter, rows.sum(0))


def _layers_of(module: nn.Module, known: set[nn.Parameter]) -> list[tuple[nn.Linear, type | None]]:
    """Return the linear layers, each with its activation, or [] if the module is not a chain."""
    if _is_plain_linear(module, known):
        return [(module, None)]  # type: ignore[list-item]
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return []
    children = list(module)
    if any(map(is_modified, (module, *children))):
        return []
    if children and type(children[0]) is _FLATTEN and (children[0].start_dim, children[0].end_dim) == (1, -1):
        children = children[1:]
    if children and type(children[-1]) is _UNFLATTEN and children[-1].dim == 1:
        children = children[:-1]
    layers: list[tuple[nn.Linear, type | None]] = []
    for child in children:
        if _is_plain_linear(child, known):
            layers.append((child, None))  # type: ignore[arg-type]
        elif layers and layers[-1][1] is None and _is_plain_activation(child):
            layers[-1] = (layers[-1][0], type(child))
        else:
            return []
    return layers


def _is_plain_linear(layer: nn.Module, known: set[nn.Parameter]) -> bool:
    if type(layer) is not nn.Linear or is_modified(layer):
        return False
    own = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    return all(isinstance(p, nn.Parameter) and p in known for p in own)


def _is_plain_activation(layer: nn.Module) -> bool:
    """Whether it is a known activation with default options."""
    kind = type(layer)
    return kind in _ACTIVATIONS and repr(layer).replace("inplace=True", "") == repr(kind())


def _uncompiled(module: nn.Module) -> Iterator[nn.Module]:
    """All modules but those that torch.compile runs in its own way."""
    yield module
    for name, child in module.named_children():
        if name != "_orig_mod":
            yield from _uncompiled(child)

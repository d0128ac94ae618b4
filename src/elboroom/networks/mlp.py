"""Multi-layer perceptrons of any depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
GATES: dict[str, Callable[[], nn.Module]] = {"gated": nn.GLU}
"""Activations of twice the width: the first half times the sigmoid of the second (arXiv:1612.08083)."""
NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}

_RANGE = (0.001, 0.999)  # of the means that a last bias starts from


def _affine_uniform(layer: nn.Linear) -> None:
    """U(±1/√(fan_in + 1)) for weights and bias, which counts as the weight of a constant input."""
    bound = 1 / math.sqrt(layer.in_features + 1)
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.uniform_(layer.bias, -bound, bound)


def _xavier(layer: nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


def _kaiming(layer: nn.Linear) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)


INITS: dict[str, Callable[[nn.Linear], None]] = {
    "torch": lambda _layer: None,  # nn.Linear's own, from its construction
    "xavier": _xavier,
    "kaiming": _kaiming,
    "affine": _affine_uniform,
}


class MLP(nn.Sequential):
    """A multi-layer perceptron: flatten, hidden layers, a last linear layer, unflatten.

    Parameters
    ----------
    in_shape, out_shape : tuple of int
        Shapes of one example, flat or not: (d,) or (h, w, c).
    hidden : sequence of int
        Width of each hidden layer; an empty sequence makes the map affine.
    activation : str
        Activation of every hidden layer; a key of ``ACTIVATIONS``, or "gated": (Wx + b) · sigmoid(Vx + c).
    normalization : {"none", "layer", "batch"}
        Normalisation between a hidden layer and its activation.
    init : {"torch", "xavier", "kaiming", "affine"}
        Initial weights: "torch" is ``nn.Linear``'s own; "affine" is U(±1/√(fan_in + 1)), the bias included.

    Attributes
    ----------
    wants_examples : bool
        Whether training should give examples to :meth:`start_from`. Loading weights withdraws the wish.

    Examples
    --------
    >>> net = MLP((28, 28, 1), (4,), hidden=[400, 100], activation="tanh")
    >>> import torch
    >>> net(torch.zeros(5, 28, 28, 1)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        hidden: Sequence[int] = (400,),
        *,
        activation: str = "relu",
        normalization: str = "none",
        init: str = "torch",
    ):
        widths = [math.prod(in_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()] if len(in_shape) > 1 else []
        for fan_in, fan_out in pairwise(widths):
            width = 2 * fan_out if activation in GATES else fan_out
            layers.append(nn.Linear(fan_in, width))
            if normalization != "none":
                layers.append(NORMALIZATIONS[normalization](width))
            layers.append({**ACTIVATIONS, **GATES}[activation]())
        layers.append(nn.Linear(widths[-1], math.prod(out_shape)))
        if len(out_shape) > 1:
            layers.append(nn.Unflatten(1, tuple(out_shape)))
        super().__init__(*layers)
        for layer in self:
            if isinstance(layer, nn.Linear):
                INITS[init](layer)
        self.wants_examples = False

    def ask_for_examples(self) -> None:
        """Wish for examples to start from, until there are some or weights are loaded."""
        self.wants_examples = True
        self.register_load_state_dict_post_hook(_withdraw)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def start_from(self, mean: Tensor) -> None:
        """Set the last bias to the log-odds of the examples' mean (*out_shape), clamped to 0.001 … 0.999."""
        last = [layer for layer in self if isinstance(layer, nn.Linear)][-1]
        last.bias.copy_(torch.logit(mean.clamp(*_RANGE)).flatten())
        self.wants_examples = False


def _withdraw(net: MLP, _keys: object) -> None:
    net.wants_examples = False

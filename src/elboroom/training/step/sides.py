"""The two networks of a step that is written out by hand: chains of linear layers, or others by autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elboroom.training.step.chains import Kept, run, run_back
from elboroom.training.step.flat import FlatParameters
from elboroom.training.step.room import Layer, Room


class Chain:
    """A chain of linear layers, all of whose results have memory that is kept.

    Parameters
    ----------
    layers : sequence of Layer
        The chain.
    flat : FlatParameters
        Its gradients are written there.
    rows : int
        Size of the batch.

    Attributes
    ----------
    dtype : torch.dtype
        In which it takes its input without a cast.
    output : Tensor or None
        Where its output (rows, d') always is, if there is such a place.
    gradient : Tensor
        Where :meth:`backward` takes the gradient by the output from, and overwrites it.
    """

    def __init__(self, layers: Sequence[Layer], flat: FlatParameters, rows: int):
        self._layers, self._flat = layers, flat
        self._room = Room(layers, rows)
        self.dtype = layers[0].weight.dtype
        self.output: Tensor | None = self._room.outputs[-1]
        self.gradient = self._room.gradients[-1]
        self._lowered: tuple[Tensor, Tensor] | None = None  # the input in this precision, and its rows
        self._kept: Kept = []

    def take_codes(self, codes: Tensor) -> None:
        """Say which memory its input is in from now on."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to x (rows, ...)."""
        if x.dtype == self.dtype:
            rows = x if x.ndim == 2 else x.flatten(1)
        else:
            if self._lowered is None:
                lowered = torch.empty_like(x, dtype=self.dtype)
                self._lowered = lowered, lowered.view(len(x), -1)
            self._lowered[0].copy_(x)
            rows = self._lowered[1]
        output, self._kept = run(self._layers, rows, self._room)
        return output

    def backward(self, *, to_input: bool) -> Tensor | None:
        """Write the gradients of the weights, and return that of the input if it is wanted."""
        return run_back(
            self._layers, self._kept, self.gradient, self._flat, to_input=to_input, room=self._room
        )


class ByAutograd(NamedTuple):
    """How a model's networks are called in a step, and how gradients are found."""

    surroundings: Callable[[], AbstractContextManager[None]]
    differentiate: Callable[[Tensor, Tensor, Tensor | None], Tensor | None]


class Net:
    """Any network, with the attributes and methods of :class:`Chain`; autograd finds its gradients.

    Parameters
    ----------
    module : nn.Module
        Encoder or decoder.
    by : ByAutograd
        How it is called.
    dtype : torch.dtype
        Of its input.
    """

    def __init__(self, module: nn.Module, by: ByAutograd, dtype: torch.dtype):
        self._module, self._by = module, by
        self.dtype = dtype
        self.output: Tensor | None = None
        self._codes: Tensor | None = None
        self._computed: Tensor | None = None
        self.gradient = torch.empty(0)

    def take_codes(self, codes: Tensor) -> None:
        """Say which memory its input is in from now on."""
        self._codes = codes.requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network."""
        with torch.enable_grad(), self._by.surroundings():
            output: Tensor = self._module(x)
        if self.gradient.shape != output.shape:
            self.gradient = torch.empty(output.shape, dtype=output.dtype, device=output.device)
        self._computed = output
        return output

    def backward(self, *, to_input: bool) -> Tensor | None:
        """Add the gradients of the weights to theirs, and return that of the input if it is wanted."""
        output, self._computed = self._computed, None  # what it was computed from is freed now
        assert output is not None
        return self._by.differentiate(output, self.gradient, self._codes if to_input else None)

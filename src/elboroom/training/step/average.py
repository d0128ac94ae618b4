"""The exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """Exponential moving average of parameters, or nothing if ``decay`` is None.

    Parameters
    ----------
    parameters : sequence of Tensor
        Those that are averaged.
    decay : float, optional
        Share of the average that is kept at each step, between 0 and 1.

    Attributes
    ----------
    weights : list of Tensor or None
        The average.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float | None):
        self._parameters = list(parameters)
        self._decay = decay
        self.weights = None if decay is None else [p.detach().clone() for p in self._parameters]

    def update(self, steps: int) -> None:
        """Include the present weights, after so many earlier steps."""
        if self.weights is None or self._decay is None:
            return
        # Decay faster in the first steps, whose weights are the worst.
        decay = min(self._decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(self.weights, self._parameters, 1 - decay)

    def restart(self) -> None:
        """Forget all earlier weights."""
        if self.weights is not None:
            torch._foreach_copy_(self.weights, self._parameters)

    def load(self, weights: Sequence[Tensor] | None) -> None:
        """Restore a saved average."""
        self.weights = None if weights is None else [w.to(self._parameters[0].device) for w in weights]

    @torch.no_grad()
    def copy_to_model(self, weights: Sequence[Tensor]) -> None:
        """Give the parameters these values."""
        torch._foreach_copy_(self._parameters, [w.to(self._parameters[0].device) for w in weights])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the parameters their averages while the context lasts."""
        if self.weights is None:
            yield
            return
        own = [p.detach().clone() for p in self._parameters]
        self.copy_to_model(self.weights)
        try:
            yield
        finally:
            self.copy_to_model(own)

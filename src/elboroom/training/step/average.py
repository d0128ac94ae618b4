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
    static : bool
        Keep the numbers of an update in a buffer on the device, which :meth:`prepare` writes.

    Attributes
    ----------
    weights : list of Tensor or None
        The average.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float | None, *, static: bool = False):
        self._parameters = list(parameters)
        self._decay = decay
        self._share = 0.0
        # Share of the present weights in the next average, for a step that is recorded once.
        self._static_share = torch.zeros((), device=self._parameters[0].device) if static else None
        self.weights = None if decay is None else [p.detach().clone() for p in self._parameters]

    def prepare(self, steps: int) -> None:
        """Decide how much the weights of the next step count, which follows so many others."""
        if self._decay is None:
            return
        # Decay faster in the first steps, whose weights are the worst.
        share = 1 - min(self._decay, (1 + steps) / (10 + steps))
        if self._static_share is not None and share != self._share:
            self._static_share.fill_(share)
        self._share = share

    def update(self, bad: Tensor | bool = False) -> None:
        """Include the present weights, unless their step is bad."""
        if self.weights is None or self._decay is None:
            return
        if self._static_share is None:
            if not bad:
                torch._foreach_lerp_(self.weights, self._parameters, self._share)
            return
        share = torch.where(torch.as_tensor(bad), 0.0, self._static_share)
        change = torch._foreach_sub(self._parameters, self.weights)
        torch._foreach_mul_(change, share)
        torch._foreach_add_(self.weights, change)

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

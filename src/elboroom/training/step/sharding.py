"""The optimiser's state divided equally among processes (ZeRO stage 1, arXiv:1910.02054)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.distributed.processes import Workers
from elboroom.training.step.flat import FlatParameters


class Shards:
    """The share of each flat buffer that this process's optimiser updates.

    Adam keeps two numbers for each weight; divided among N processes they take 1/N of the memory in each.
    Weights and gradients stay whole in every process.

    Parameters
    ----------
    flat : FlatParameters
        Buffers that divide into equal parts.
    workers : Workers
        The processes that train together.
    """

    def __init__(self, flat: FlatParameters, workers: Workers):
        self.flat = flat
        self.workers = workers
        self.values: list[nn.Parameter] = []
        for values, gradients in zip(flat.values, flat.gradients, strict=True):
            share = nn.Parameter(self._mine(values.detach()))
            share.grad = self._mine(gradients)
            self.values.append(share)

    def _mine(self, whole: Tensor) -> Tensor:
        size = len(whole) // self.workers.size
        return whole[self.workers.rank * size : (self.workers.rank + 1) * size]

    @torch.no_grad()
    def gather(self) -> None:
        """Give all processes all shares of the weights after a step."""
        for whole, share in zip(self.flat.values, self.values, strict=True):
            self.workers.gather_into(whole.detach(), share.detach().clone())

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return an optimiser's state as a single process would have it."""
        return self._each(state, self._join)

    def own(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return this process's share of such a state."""
        return self._each(state, self._cut)

    def _each(self, state: dict[str, Any], change: Callable[[Tensor, int], Tensor]) -> dict[str, Any]:
        moments = {
            i: {name: change(value, i) if _is_per_weight(value) else value for name, value in kept.items()}
            for i, kept in state["state"].items()
        }
        return {**state, "state": moments}

    def _join(self, share: Tensor, buffer: int) -> Tensor:
        whole = torch.empty_like(self.flat.values[buffer], dtype=share.dtype, requires_grad=False)
        self.workers.gather_into(whole, share)
        # Shares are rounded up to equal length; a single process has no such padding.
        return whole[: self.flat.sizes[buffer]]

    def _cut(self, whole: Tensor, buffer: int) -> Tensor:
        missing = len(self.flat.values[buffer]) - len(whole)
        return self._mine(torch.nn.functional.pad(whole, (0, missing))).clone()


def _is_per_weight(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1

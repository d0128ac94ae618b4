"""Adam in chunks that fit into the cache: cast the gradient, update the weights, cast them for the products.

Over whole buffers, each of the three operations would stream megabytes through the cache; with small batches
that is most of a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from elboroom.training.step.optimizers import KERNELS, adam_state

# About this many weights: smaller pieces cost more in calls than they save, larger ones leave the cache.
_CHUNK = 3 << 18


class ChunkedAdam:
    """Step an Adam or AdamW optimiser from gradients in low precision.

    Settings and state stay in the optimiser, where schedules and checkpoints find them.

    Parameters
    ----------
    optimizer : torch.optim.Adam or AdamW
        An optimiser of one flat buffer on the CPU.
    gradient : Tensor
        Gradient buffer of the same length, in the precision of the matrix products.
    shadow : Tensor
        Copy of the weights for the products, kept up to date.
    """

    def __init__(self, optimizer: Optimizer, gradient: Tensor, shadow: Tensor):
        self.optimizer = optimizer
        self.gradient = gradient
        self.shadow = shadow
        self._kernel = KERNELS[type(optimizer)]
        self._pieces: list[tuple[Tensor, ...]] = []
        self._of: Tensor | None = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights, the moments and the copy."""
        state, group = self._state(), self.optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        settings = {
            "lr": group["lr"],
            "beta1": beta1,
            "beta2": beta2,
            "weight_decay": group["weight_decay"],
            "eps": group["eps"],
            "amsgrad": False,
            "maximize": False,
        }
        steps = [state["step"].add_(1)]
        for weight, first, second, low, copy, gradient in self._pieces:
            gradient.copy_(low)
            self._kernel([weight], [gradient], [first], [second], [], steps, **settings)
            copy.copy_(weight)

    def _state(self) -> dict[str, Tensor]:
        state = adam_state(self.optimizer)
        if self._of is not state["exp_avg"]:  # loading a checkpoint replaces them
            self._of = state["exp_avg"]
            (parameter,) = self.optimizer.param_groups[0]["params"]
            buffers = (parameter.detach(), state["exp_avg"], state["exp_avg_sq"], self.gradient, self.shadow)
            number = max(round(len(parameter) / _CHUNK), 1)
            # Each piece but the last is a number of whole vectors, so that rounding is that of one piece.
            scratch = torch.empty(-(-len(parameter) // (64 * number)) * 64)
            self._pieces = [
                (*pieces, scratch[: len(pieces[0])])
                for pieces in zip(*(buffer.split(len(scratch)) for buffer in buffers), strict=True)
            ]
        return state

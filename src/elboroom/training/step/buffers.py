"""What a batch changes in a model besides its weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def moving_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Saved buffers that a batch may change, by name: all but those that a module says are constant.

    Examples
    --------
    >>> list(moving_buffers(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
    ['1.running_mean', '1.running_var']
    """
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        fixed = {*getattr(module, "constant_buffers", ()), *module._non_persistent_buffers_set}
        own = module.named_buffers(prefix, recurse=False)
        found |= {
            name: buffer
            for name, buffer in own
            if name.rpartition(".")[2] not in fixed and buffer.is_floating_point()
        }
    return found


class KeptBuffers:
    """What a batch changes in a model besides its weights, as it was before the present step.

    Parameters
    ----------
    model : nn.Module
        The model, on its device.

    Attributes
    ----------
    buffers : list of Tensor
        Those of :func:`moving_buffers`.

    Examples
    --------
    >>> kept = KeptBuffers(nn.BatchNorm1d(1))
    >>> kept.keep()
    >>> kept.buffers[0].fill_(torch.nan)
    tensor([nan])
    >>> kept.restore_if(True)
    >>> kept.buffers[0]
    tensor([0.])
    """

    def __init__(self, model: nn.Module):
        self.buffers = list(moving_buffers(model).values())
        self._kept = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """Begin a step."""
        if self.buffers:
            torch._foreach_copy_(self._kept, self.buffers)

    @torch.no_grad()
    def restore_if(self, bad: Tensor | bool) -> None:
        """Undo what the step has changed, if it is bad."""
        if not self.buffers or bad is False:
            return
        before: list[Tensor] = self._kept
        if isinstance(bad, Tensor):
            both = zip(self._kept, self.buffers, strict=True)
            before = [torch.where(bad, kept, now) for kept, now in both]
        torch._foreach_copy_(self.buffers, before)

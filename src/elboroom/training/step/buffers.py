"""What a batch changes in a model besides its weights."""

from __future__ import annotations

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

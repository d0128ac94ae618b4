"""Blocks whose activations are computed again in the backward pass instead of being kept until then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from elboroom.errors import UsageError, some

Result = TypeVar("Result")


class Recomputable(nn.Module):
    """A block that may drop its activations after the forward pass; only its inputs are then kept.

    It must give the same results when it runs again, so it draws no noise and changes no buffers.

    Attributes
    ----------
    recomputes : bool
        Whether it does so; :func:`recompute_activations` sets it.
    """

    recomputes = False

    def light(self, function: Callable[..., Result], *inputs: torch.Tensor) -> Result:
        """Call a method of this block, keeping only its inputs for the backward pass if it ``recomputes``."""
        if not (self.recomputes and torch.is_grad_enabled()):
            return function(*inputs)
        # Blocks draw nothing, so no state of a generator is kept, which a captured step could not read.
        found: Result = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
        return found


class RecomputableSequential(Recomputable, nn.Sequential):
    """Layers in sequence that may drop what is between them after the forward pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers in turn."""
        return self.light(super().forward, x)


def recompute_activations(model: nn.Module, wanted: bool = True) -> None:
    """Let the convolutional blocks of a model recompute their activations in the backward pass, or stop that.

    This saves memory and costs another forward pass of the blocks for each step (arXiv:1604.06174). Gradients
    are the same; evaluation is not affected. Hooks on layers within a block are then called twice a step.

    Parameters
    ----------
    model : nn.Module
        Any that contains networks of this package: those of ``network="conv"`` and ``"ladder"`` have such
        blocks.
    wanted : bool
        False to keep all activations again.

    Raises
    ------
    UsageError
        If the model has no such block, or a second forward pass would change a block.

    Examples
    --------
    >>> from elboroom.networks import ConvEncoder
    >>> net = ConvEncoder((64, 64, 3), (4,), width=8)
    >>> recompute_activations(net)
    """
    blocks = [module for module in model.modules() if isinstance(module, Recomputable)]
    if wanted:
        _check(blocks)
    for block in blocks:
        block.recomputes = wanted


def recomputes(model: nn.Module) -> bool:
    """Whether some blocks of a model recompute their activations."""
    return any(isinstance(module, Recomputable) and module.recomputes for module in model.modules())


def _check(blocks: list[Recomputable]) -> None:
    if not blocks:
        raise UsageError(
            "checkpoint_activations = True would do nothing: the model has no convolutional blocks, such as "
            "those of network = 'conv' or 'ladder', whose activations could be recomputed; leave it out, or "
            "save memory by a smaller batch_size= with accumulate="
        )
    changed = [
        name for block in blocks for name, buffer in block.named_buffers() if buffer.is_floating_point()
    ]
    if changed:
        raise UsageError(
            f"checkpoint_activations = True: the blocks have buffers that each forward pass changes "
            f"({some(sorted(set(changed)))}), and a second one would change them twice; use normalization = "
            "'group' and no spectral norm, or leave it out"
        )

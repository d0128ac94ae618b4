"""Spectral normalisation of a network's layers (arXiv:1802.05957)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from elboroom.errors import UsageError

_LAYERS_WITH_A_MATRIX = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def with_spectral_norm(module: nn.Module) -> nn.Module:
    """Divide each weight matrix of a module by its largest singular value, in place (RAE-SN).

    Each layer's matrix is then 1-Lipschitz; its singular value is tracked by one power iteration at each
    training step (arXiv:1802.05957). Names in the state dict change, so apply it before weights are loaded. A
    layer that already has it is left unchanged. Weights that are all 0, such as those of a residual branch's
    last layer, cannot be divided by their singular value and are initialised as torch does.

    Returns
    -------
    nn.Module
        The same module.

    Raises
    ------
    UsageError
        If it has no linear or convolutional layer.

    Examples
    --------
    >>> decoder = with_spectral_norm(nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 784)))
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _LAYERS_WITH_A_MATRIX)]
    if not layers:
        raise UsageError(
            f"got a {type(module).__name__}, which has no linear or convolutional layer to normalise; give a "
            "network with one"
        )
    for layer in layers:
        if parametrize.is_parametrized(layer, "weight"):
            continue
        if not layer.weight.any():
            layer.reset_parameters()
        spectral_norm(layer)
    return module

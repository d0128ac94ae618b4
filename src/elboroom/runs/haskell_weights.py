"""Import of weights that the Haskell program saved.

It writes each half of the VAE as text. ``BASE_front_nn_info.txt`` holds the number of layers of the
encoder, and ``BASE_front_nn_layer_<i>.txt`` the comma-separated matrix W of a layer that computes
``[x, 1] · W``: it has fan_in + 1 rows, the last of which is the bias. ``BASE_back_nn_*`` is the decoder. The
activation between layers is tanh. The encoder puts out means and raw scales (σ = 1e-6 + softplus); the
decoder ends in a sigmoid.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from elboroom.config import Config, read_preset
from elboroom.errors import UsageError
from elboroom.models.vae import VAE

Matrix = NDArray[np.float64]


def import_haskell(base: Path, shape: tuple[int, ...] | None = None) -> tuple[VAE, Config]:
    """Read saved weights.

    Parameters
    ----------
    base : path
        The part of the path before ``_front_nn_info.txt``.
    shape : tuple of int, optional
        Shape of one example. Default: a square image if the number of inputs is a square, else a row.

    Returns
    -------
    VAE, Config
        The model, and the configuration with which the program would have trained it.

    Raises
    ------
    UsageError
        If a file is missing or malformed, or layers do not fit together.

    Notes
    -----
    The program rounds weights to three decimals on saving.
    """
    front, back = _read_half(base, "front"), _read_half(base, "back")
    inputs, latent_dim = len(front[0]) - 1, len(back[0]) - 1
    if front[-1].shape[1] != 2 * latent_dim:
        raise UsageError(
            f"{base}: the encoder has {front[-1].shape[1]} outputs and the decoder {latent_dim} inputs; the "
            "first must be twice the second"
        )
    if back[-1].shape[1] != inputs:
        raise UsageError(
            f"{base}: the encoder has {inputs} inputs and the decoder {back[-1].shape[1]} outputs; both must "
            "be equal"
        )
    config = read_preset("haskell-mnist").merged(
        {
            "data": {"source": None},
            "model": {
                "shape": shape or _guess_shape(inputs),
                "scale": 256.0,
                "latent_dim": latent_dim,
                "hidden": tuple(layer.shape[1] for layer in front[:-1]),
                "decoder_hidden": tuple(layer.shape[1] for layer in back[:-1]),
            },
        }
    )
    if math.prod(config.model.shape or ()) != inputs:
        raise UsageError(f"--shape {shape}: the saved encoder has {inputs} inputs")
    vae = VAE.build(config.model)
    _fill(vae.encoder, front)
    _fill(vae.decoder, back)
    return vae.eval(), config


def _guess_shape(inputs: int) -> tuple[int, ...]:
    side = math.isqrt(inputs)
    return (side, side, 1) if side * side == inputs else (inputs,)


def _read_half(base: Path, half: str) -> list[Matrix]:
    info = Path(f"{base}_{half}_nn_info.txt")
    try:
        count = int(info.read_text(encoding="utf-8").split()[0])
    except OSError as error:
        raise UsageError(
            f"cannot read {info}: {error.strerror}; give the path up to _front_nn_info.txt"
        ) from None
    except (ValueError, IndexError):
        raise UsageError(f"{info} must contain the number of layers as a whole number") from None
    if count < 1:
        raise UsageError(f"{info} names {count} layers; at least 1 is needed")
    layers = [_read_layer(Path(f"{base}_{half}_nn_layer_{i}.txt")) for i in range(count)]
    for i, (one, next_one) in enumerate(pairwise(layers)):
        if len(next_one) != one.shape[1] + 1:
            raise UsageError(
                f"{base}_{half}_nn_layer_{i + 1}.txt has {len(next_one)} rows; layer {i} has "
                f"{one.shape[1]} outputs, so with the bias there must be {one.shape[1] + 1}"
            )
    return layers


def _read_layer(path: Path) -> Matrix:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        matrix: Matrix = np.loadtxt(lines or ["nan"], delimiter=",", ndmin=2, dtype=np.float64)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a matrix of comma-separated numbers: {error}") from None
    if len(matrix) < 2 or not np.isfinite(matrix).all():
        raise UsageError(f"{path} must contain at least one row of weights and one of biases, all finite")
    return matrix


def _fill(network: nn.Module, matrices: list[Matrix]) -> None:
    linears = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for linear, matrix in zip(linears, matrices, strict=True):
            linear.weight.copy_(torch.from_numpy(matrix[:-1].T.copy()))
            linear.bias.copy_(torch.from_numpy(matrix[-1].copy()))


def describe_half(network: nn.Module) -> str:
    """Write the sizes of a network's layers as the program does.

    Examples
    --------
    >>> describe_half(nn.Sequential(nn.Linear(784, 1000), nn.Tanh(), nn.Linear(1000, 4)))
    '784-1000-4'
    """
    linears: list[Any] = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return "-".join(map(str, [linears[0].in_features, *(linear.out_features for linear in linears)]))

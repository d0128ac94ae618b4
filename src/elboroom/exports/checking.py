"""Whether an exported network gives the numbers that the model gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.errors import FailureError
from elboroom.exports.networks import Network

BATCHES = (1, 2, 7)
"""Numbers of examples that an exported network is tried with."""
TOLERANCE = 1e-5
"""Largest difference that is accepted, in the units of the model; of larger numbers as a share of them."""

_ROUNDING = 1e-6  # relative: about eight times float32's
_TRIES = 16

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def largest_difference(network: Network, run: Run) -> float:
    """Run a network and its exported form on the same examples, one, two and seven at a time.

    Rounding decides ties, as between two entries of a codebook or two categories that are equally near. So
    where the results differ, the exported one is also accepted if the model gives it with weights and
    codebooks that differ from its own by a few units of their last digit.

    Parameters
    ----------
    network : Network
        As PyTorch computes it.
    run : callable
        Inputs → outputs of the exported form.

    Returns
    -------
    float
        The largest |difference| / max(1, |number|), numbers in the units of the model.

    Raises
    ------
    FailureError
        If it is above ``TOLERANCE``, if numbers are finite in only one of the two, or if outputs differ in
        shape or type.
    """
    found = 0.0
    for size in BATCHES:
        inputs = [tensor[:size] for tensor in network.examples]
        with torch.no_grad():
            expected = network.module(*inputs)
        for i, (one, other) in enumerate(zip(expected, run(inputs), strict=True)):
            port = network.outputs[i]
            if other.shape != one.shape or other.dtype != one.dtype:
                raise FailureError(
                    f"the exported {network.name} puts out {port.name} as {other.dtype} {tuple(other.shape)} "
                    f"for {size} examples, and the model as {one.dtype} {tuple(one.shape)}"
                )
            gaps = differences(one.numpy(), other.numpy(), port.unit)
            if not (gaps <= TOLERANCE).all():
                gaps = _beyond_rounding(network, inputs, i, other, gaps)
            gap = float(gaps.max(initial=0.0))
            if not gap <= TOLERANCE:
                raise FailureError(
                    f"the exported {network.name} differs from the model by {gap:.2g} in {port.name}, more "
                    f"than {TOLERANCE:g}; nothing was exported"
                )
            found = max(found, gap)
    return found


def differences(
    one: NDArray[np.generic], other: NDArray[np.generic], unit: float = 1.0
) -> NDArray[np.float64]:
    """|a − b| / max(1, |a|) of numbers in multiples of ``unit``; 0 where both are NaN or equal.

    Examples
    --------
    >>> differences(np.array([100.0, 0.5, np.inf]), np.array([101.0, 0.5, np.inf])).tolist()
    [0.01, 0.0, 0.0]
    >>> differences(np.array([np.nan, np.nan]), np.array([0.0, np.nan])).tolist()
    [inf, 0.0]
    """
    a, b = (np.asarray(array, np.float64) / unit for array in (one, other))
    with np.errstate(invalid="ignore"):
        gaps = np.asarray(np.abs(a - b) / np.maximum(1, np.abs(a)))
    gaps[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return np.where(np.isnan(gaps), np.inf, gaps)


def _beyond_rounding(
    network: Network, inputs: Sequence[Tensor], i: int, other: Tensor, gaps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Differences of output i from the nearest of those that the model has with weights rounded otherwise."""
    noise = torch.Generator().manual_seed(0)
    for _ in range(_TRIES):
        module = copy.deepcopy(network.module)
        with torch.no_grad():
            for held in (*module.parameters(), *module.buffers()):
                if held.is_floating_point():
                    held.mul_(1 + _ROUNDING * torch.randn(held.shape, generator=noise))
            near = module(*inputs)[i]
        gaps = np.minimum(gaps, differences(near.numpy(), other.numpy(), network.outputs[i].unit))
    return gaps

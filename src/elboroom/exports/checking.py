"""Whether an exported network gives the numbers that the model gives."""

from __future__ import annotations

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

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def largest_difference(network: Network, run: Run) -> float:
    """Run a network and its exported form on the same examples, one, two and seven at a time.

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
        If it is above ``TOLERANCE``, if numbers are not finite in one and finite in the other, or if
        outputs differ in shape or type.
    """
    found = 0.0
    for size in BATCHES:
        inputs = [tensor[:size] for tensor in network.examples]
        with torch.no_grad():
            expected = network.module(*inputs)
        for port, one, other in zip(network.outputs, expected, run(inputs), strict=True):
            if other.shape != one.shape or other.dtype != one.dtype:
                raise FailureError(
                    f"the exported {network.name} puts out {port.name} as {other.dtype} {tuple(other.shape)} "
                    f"for {size} examples, and the model as {one.dtype} {tuple(one.shape)}"
                )
            gap = difference(one.numpy(), other.numpy(), port.unit)
            if not gap <= TOLERANCE:
                raise FailureError(
                    f"the exported {network.name} differs from the model by {gap:.2g} in {port.name}, more "
                    f"than {TOLERANCE:g}; nothing was exported"
                )
            found = max(found, gap)
    return found


def difference(one: NDArray[np.generic], other: NDArray[np.generic], unit: float = 1.0) -> float:
    """Largest |a − b| / max(1, |a|) of numbers in multiples of ``unit``; 0 where both are NaN or equal.

    Examples
    --------
    >>> difference(np.array([100.0, 0.5]), np.array([101.0, 0.5]))
    0.01
    >>> difference(np.array([np.nan]), np.array([0.0]))
    inf
    """
    a, b = (np.asarray(array, np.float64) / unit for array in (one, other))
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b) / np.maximum(1, np.abs(a))
    gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0.0))

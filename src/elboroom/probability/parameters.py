"""From a decoder's outputs to the parameters of a likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.errors import UsageError

Measure = Literal["density", "mass"]
"""What exp(log_prob) is: a density, or the probability of a value."""
# Logarithms of counts are used unchanged up to 15: counts up to about three million.
_LOG_LIMIT = 15.0


def widened(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Shape of ``count`` parameters for each number of an example: (h, w, c·count) or (d·count,).

    Examples
    --------
    >>> widened((28, 28, 3), 2)
    (28, 28, 6)
    """
    return (*shape[:-1], shape[-1] * count)


def sum_event(values: Tensor, dims: int) -> Tensor:
    """Sum over the last ``dims`` dimensions, those of one example; with 0 nothing is summed."""
    return values.flatten(-dims).sum(-1) if dims else values


def event_size(values: Tensor, dims: int) -> int:
    """How many numbers the last ``dims`` dimensions hold; 1 with 0 dimensions.

    Examples
    --------
    >>> event_size(torch.zeros(5, 2, 3), 2), event_size(torch.zeros(5, 2, 3), 0)
    (6, 1)
    """
    return math.prod(values.shape[values.ndim - dims :])


def in_double(*values: Tensor) -> tuple[Tensor, ...]:
    """Convert to float64 if the device has it, for sums whose terms cancel in float32."""
    return tuple(v if v.device.type == "mps" else v.double() for v in values)


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """c₀ + c₁x + c₂x² + …, by Horner's rule.

    Examples
    --------
    >>> polynomial(torch.tensor(10.0), (1, 2, 3))
    tensor(321.)
    """
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def softplus_from(raw: Tensor, start: float, minimum: float) -> Tensor:
    """Softplus above ``minimum`` whose value at 0 is ``start``; linear for large numbers.

    Examples
    --------
    >>> softplus_from(torch.tensor([-1000.0, 0.0, 1000.0]), start=2.0, minimum=0.5)
    tensor([5.0000e-01, 2.0000e+00, 1.0017e+03])
    """
    above = start - minimum
    return F.softplus(raw + (above + math.log(-math.expm1(-above)))) + minimum


def tame_log(raw: Tensor) -> Tensor:
    """Damp the logarithm of a count's mean or θ: unchanged within ±15, growing logarithmically beyond.

    Its ``exp`` then stays finite for inputs up to 1e30, and unlike a clamp its gradient never vanishes.

    Examples
    --------
    >>> tame_log(torch.tensor([-3.0, 15.0, 1e30]))
    tensor([-3.0000, 15.0000, 84.0776])
    """
    beyond = (raw.abs() - _LOG_LIMIT).clamp(min=0)
    return raw.clamp(-_LOG_LIMIT, _LOG_LIMIT) + raw.sign() * torch.log1p(beyond)


def check_above(name: str, value: float, bound: float) -> None:
    """Refuse an option that is not a finite number above ``bound``.

    Raises
    ------
    UsageError
        With the option, its value and the bound.
    """
    if not (math.isfinite(value) and value > bound):
        raise UsageError(f"{name} = {value!r}: must be a finite number above {bound:g}")


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse an option that is not one of ``allowed``.

    Raises
    ------
    UsageError
        With the option, its value and what is allowed.
    """
    if value not in allowed:
        raise UsageError(f"{name} = {value!r}: must be one of {', '.join(map(repr, allowed))}")


def in_turn(c: Tensor, n: int) -> Tensor:
    """Repeat the rows of c (m, C) in turn, (n, C): one for each of n codes, (k, m) flattened.

    Examples
    --------
    >>> in_turn(torch.tensor([[1], [2]]), 5).T.tolist()
    [[1, 2, 1, 2, 1]]
    """
    times = -(-n // max(1, len(c)))
    return c.repeat(times, 1)[:n]  # not by index: the rest of a division by a free size is unknown to ONNX

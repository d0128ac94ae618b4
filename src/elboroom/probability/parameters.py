"""How the raw numbers of a decoder network become the parameters of a likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.errors import UsageError

Measure = Literal["density", "mass"]
"""What a likelihood gives values: a density, or the probability of each."""
# Logarithms of counts are taken as they are up to e^15, about three million.
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
    """Sum over the last ``dims`` dimensions, those of one example."""
    return values.flatten(-dims).sum(-1)


def in_double(*values: Tensor) -> tuple[Tensor, ...]:
    """Give numbers in float64 where the device has it, for sums whose terms cancel in float32."""
    return tuple(v if v.device.type == "mps" else v.double() for v in values)


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """c₀ + c₁x + c₂x² + …, from the inside out.

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
    """Positive numbers from raw ones: ``start`` at 0, above ``minimum`` everywhere, linear for large ones.

    Examples
    --------
    >>> softplus_from(torch.tensor([-1000.0, 0.0, 1000.0]), start=2.0, minimum=0.5)
    tensor([5.0000e-01, 2.0000e+00, 1.0017e+03])
    """
    above = start - minimum
    return F.softplus(raw + (above + math.log(-math.expm1(-above)))) + minimum


def tame_log(raw: Tensor) -> Tensor:
    """Logarithm of a count's mean or θ: the raw number itself within ±15, and a slow logarithm beyond.

    An ``exp`` of it then stays finite for raw numbers up to 1e30, and no gradient vanishes as under a clamp.

    Examples
    --------
    >>> tame_log(torch.tensor([-3.0, 15.0, 1e30]))
    tensor([-3.0000, 15.0000, 84.0776])
    """
    beyond = (raw.abs() - _LOG_LIMIT).clamp(min=0)
    return raw.clamp(-_LOG_LIMIT, _LOG_LIMIT) + raw.sign() * torch.log1p(beyond)


def check_above(name: str, value: float, bound: float) -> None:
    """Refuse an option at or below ``bound``, infinite or nan.

    Raises
    ------
    UsageError
        It names the option, its value and the bound.
    """
    if not (math.isfinite(value) and value > bound):
        raise UsageError(f"{name} = {value!r}: must be a finite number above {bound:g}")


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse an option that is not one of ``allowed``.

    Raises
    ------
    UsageError
        It names the option, its value and what is allowed.
    """
    if value not in allowed:
        raise UsageError(f"{name} = {value!r}: must be one of {', '.join(map(repr, allowed))}")


def in_turn(c: Tensor, n: int) -> Tensor:
    """Rows of c (m, C) over and over, (n, C): one for each of n codes, of which k · m are (k, m) in a row.

    Examples
    --------
    >>> in_turn(torch.tensor([[1], [2]]), 5).T.tolist()
    [[1, 2, 1, 2, 1]]
    """
    return c[torch.arange(n, device=c.device) % max(1, len(c))]

"""What a part tells of a batch beside its terms: further columns of a run's history."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Meter(NamedTuple):
    """One column's share of a batch, in a form that adds up over batches and processes.

    A posterior, likelihood or prior may have ``meters``, a mapping of column names to these, static in names
    and shapes. The host never waits for them within an epoch.

    Attributes
    ----------
    total : Tensor
        Of any shape; the sum over the batch's examples.
    read : callable
        (sum of all totals, number of examples) → the column's value, a scalar. By default their mean.

    Examples
    --------
    >>> import torch
    >>> one, other = Meter(torch.tensor(6.0)), Meter(torch.tensor(2.0))
    >>> one.read(one.total + other.total, torch.tensor(4)).item()  # 4 examples in both
    2.0
    """

    total: Tensor
    read: Callable[[Tensor, Tensor], Tensor] = operator.truediv

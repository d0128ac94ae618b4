"""Further columns of a run's history, computed by posteriors, likelihoods and priors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Meter(NamedTuple):
    """One batch's contribution to a column, in a form that is summed over batches and processes.

    A posterior, likelihood or prior may have ``meters``, a mapping from column names to these, with static
    names and shapes. The host does not wait for them within an epoch.

    Attributes
    ----------
    total : Tensor
        Sum over the batch's examples, of any shape.
    read : callable
        (sum of all totals, number of examples) → the column's value, a scalar. Default: the mean.

    Examples
    --------
    >>> import torch
    >>> one, other = Meter(torch.tensor(6.0)), Meter(torch.tensor(2.0))
    >>> one.read(one.total + other.total, torch.tensor(4)).item()  # 4 examples in both
    2.0
    """

    total: Tensor
    read: Callable[[Tensor, Tensor], Tensor] = operator.truediv

"""Is the latent space in use: active units and the rate of each dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from elboroom.errors import FailureError

ACTIVE_VARIANCE = 0.01
"""A unit is active if the variance of its mean over the data is larger (arXiv:1509.00519 §5.2)."""


def active_units(codes: Tensor) -> int:
    """Number of latent dimensions whose posterior mean varies with the data.

    Parameters
    ----------
    codes : Tensor
        Posterior means (n, d).

    Examples
    --------
    >>> import torch
    >>> active_units(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.01]]))
    1
    """
    return int((codes.var(0, correction=0) > ACTIVE_VARIANCE).sum())


def check_finite(measured: Mapping[str, Any], what: str) -> None:
    """Refuse numbers that say nothing.

    Parameters
    ----------
    measured : mapping
        Numbers, or lists or arrays of them, by name; other values are not looked at.
    what : str
        What was measured, for the message.

    Raises
    ------
    FailureError
        If some are nan or infinite.

    Examples
    --------
    >>> check_finite({"elbo": -3.0, "nll": float("nan"), "split": "test"}, "runs/digits")
    Traceback (most recent call last):
    elboroom.errors.FailureError: runs/digits: nll is not finite, ...
    """
    bad = []
    for name, value in measured.items():
        if isinstance(value, float | list | np.ndarray):
            numbers = np.asarray(value)
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                bad.append(name)
    if bad:
        names = ", ".join(bad)
        raise FailureError(
            f"{what}: {names} {'is' if len(bad) == 1 else 'are'} not finite, as the model's numbers grow too "
            "large on these examples; the data are not what it was trained on, or its training diverged"
        )

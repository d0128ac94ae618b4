"""Is the latent space in use: active units and the rate of each dimension."""

from __future__ import annotations

from torch import Tensor

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

"""Inputs of exported networks that look like data, to trace and to check them with."""

from __future__ import annotations

import torch
from torch import Tensor

from elboroom.latent.arrays import seeded
from elboroom.models.vae import VAE

EXAMPLES = 7
"""How many examples are made."""


def inputs_of(vae: VAE, scale: float | None) -> tuple[Tensor, ...]:
    """Make examples and codes of a model, always the same: x (n, *shape), z (n, d), and conditions if any.

    Parameters
    ----------
    vae : VAE
        On the CPU; draws from its prior are the codes, and what they decode to are half of the examples.
    scale : float, optional
        The x are uint8 pixels from 0 to it; without it they are in the units of the model.
    """
    with seeded(vae, 0), torch.no_grad():
        conditions = _conditions(vae)
        z: Tensor = vae.prior_given(*conditions or (None,)).sample(EXAMPLES)
        x: Tensor = vae.generate(z, *conditions).mean
        if vae.accepts_missing:
            return (_with_gaps(x), z, *conditions)
        low, high = vae.likelihood.support or (-torch.inf, torch.inf)
        x[::2] = torch.rand_like(x[::2]) if high == 1 else x[::2] + torch.randn_like(x[::2])
        x = x.clamp(low, high)
        if scale is not None:
            x = (x * scale).round().clamp(0, min(scale, 255.0)).to(torch.uint8)
    return (x, z, *conditions)


def _conditions(vae: VAE) -> tuple[Tensor, ...]:
    """One condition for each example (n, C), of every label in turn; nothing if the model takes none."""
    if vae.condition is None:
        return ()
    size = vae.condition.size
    if vae.condition.kind == "vectors":
        return (torch.randn(EXAMPLES, size),)
    return (torch.eye(size)[torch.arange(EXAMPLES) % size],)


def _with_gaps(x: Tensor) -> Tensor:
    """Rows with a missing cell in every fifth place, and the last row empty."""
    x = x.flatten()
    x[::5] = torch.nan
    x = x.reshape(EXAMPLES, -1)
    x[-1] = torch.nan
    return x

"""An NLL of 8-bit data in bits per dimension, where that is defined."""

from __future__ import annotations

import math

import torch

from elboroom.data.batches import Batches
from elboroom.models.vae import VAE


def bits_per_dim(nll: float | None, vae: VAE, batches: Batches) -> tuple[float | None, str | None]:
    """Bits for each of the D numbers of an 8-bit example, −log₂ P(x) / D, x being its whole numbers.

    A probability of levels or counts gives nll / (D ln 2). A density gives the same of numbers that uniform
    noise spreads over steps of 1, which bounds it from above (arXiv:1511.01844 §3.1); as the model sees them
    divided by ``scale``, log₂ scale is added.

    Parameters
    ----------
    nll : float or None
        Mean −log p(x), nats per example, of ``batches`` as they are.
    vae, batches
        Of which it is.

    Returns
    -------
    bits, reason
        Bits per dimension, or None; then the reason why there are none, else None.
    """
    reason = _why_not(nll, vae, batches)
    if reason is not None or nll is None:
        return None, reason
    bits = nll / (math.prod(vae.shape) * math.log(2))
    return bits + (math.log2(batches.scale) if batches.dequantize == "uniform" else 0.0), None


def _why_not(nll: float | None, vae: VAE, batches: Batches) -> str | None:
    if vae.accepts_missing:
        return "the data are a table, whose columns have units of their own"
    if batches.x.dtype != torch.uint8:
        return "the data are not 8-bit numbers"
    if batches.binarize != "none":
        return "the data are binarised, and no longer 8-bit numbers"
    name = type(vae.likelihood).__name__
    if not hasattr(vae.likelihood, "measure"):
        return f"{name} has no attribute measure, which says whether it gives a density or probabilities"
    measure = vae.likelihood.measure
    if measure is None:
        return f"{name} gives grey values no normalised probability"
    if measure == "density" and batches.dequantize == "none":
        return "a density of whole numbers is not a probability; train with --dequantize uniform"
    return None if nll is not None else "they are of the NLL, for which no importance samples were drawn"

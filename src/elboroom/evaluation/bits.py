"""What an NLL is of, and that of 8-bit data in bits per dimension, where that is defined."""

from __future__ import annotations

import math

import torch

from elboroom.data.batches import Batches
from elboroom.evaluation.mechanism import learned_mechanism
from elboroom.models.vae import VAE
from elboroom.probability.posteriors import Deterministic


def likelihood_name(vae: VAE) -> str:
    """Name the likelihood that a model's NLL and ELBO are of; of an autoencoder it is that given the code.

    Examples
    --------
    >>> likelihood_name(VAE.build(shape=(4,), hidden=[8]))
    'log p(x)'
    >>> likelihood_name(VAE.build(shape=(4,), hidden=[8], condition="labels", condition_dim=3))
    'log p(x | label)'
    >>> likelihood_name(VAE.build(shape=(4,), hidden=[8], posterior="deterministic"))
    'log p(x | z)'
    """
    what = "x"
    if vae.accepts_missing:
        what = "observed cells"
        if learned_mechanism(vae):
            what += ", which cells are missing"
    given = [] if vae.conditioning is None else [vae.conditioning.kind.removesuffix("s")]
    if getattr(vae.posterior, "makes", None) is Deterministic:
        given.append("z")
    return f"log p({what} | {', '.join(given)})" if given else f"log p({what})"


def quantity(vae: VAE, batches: Batches) -> str:
    """Say what the bits per dimension of `bits_per_dim` are of, in a few words."""
    levels = "the 8-bit numbers"
    if batches.dequantize == "uniform":
        return (
            f"upper bound for {levels}, of a density with uniform dequantisation, "
            f"log2({batches.scale:g}) added"
        )
    if type(vae.likelihood).__name__ in _DISCRETISED:
        return f"{levels}, discretised: probabilities of levels"
    return f"{levels} as they are: probabilities of whole numbers"


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


_DISCRETISED = ("DiscretizedLogisticHead", "CategoricalHead")


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

"""A trained model as the page runs it: programs of its networks, with weights in few bits."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from elboroom.explorer.blob import FORMATS, Array, Blob, Format, rounded
from elboroom.explorer.columns import decoded_cells
from elboroom.explorer.heads import code_of, mean_of
from elboroom.explorer.layers import CannotRunError, Op, Translator, to_numpy
from elboroom.models.conditioning import apart
from elboroom.models.hierarchical import HierarchicalVAE
from elboroom.models.vae import VAE
from elboroom.models.vae import Array as Examples

# The mean error that a format may cause is half of the smallest step of 8-bit pixels.
_ALLOWED = 0.5 / 255
_MOST_WEIGHTS = 40_000_000  # of encoder and decoder together
_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Error(NamedTuple):
    """Differences from the full model: means and largest, in shares of the range from black to white."""

    mean: float
    most: float


@dataclass(frozen=True)
class PageModel:
    """What the page runs.

    Attributes
    ----------
    decoder : list of dict
        Program from a code, with its condition after it, to the mean of p(x|z).
    encoder : list of dict or None
        Program from an example to its code; None if the page cannot run it.
    without_encoder : str
        The reason why not.
    weights : {"int8", "float16", "float32"}
        The smallest format whose mean error is at most 1/510 of the range of the values.
    error : Error
        Of decoded codes.
    """

    decoder: list[Op]
    encoder: list[Op] | None
    without_encoder: str
    weights: Format
    error: Error


def page_model(vae: VAE, blob: Blob, codes: Array, conditions: Array | None, x: Examples) -> PageModel:
    """Translate a model, in the smallest format of its weights that is accurate enough.

    Parameters
    ----------
    vae : VAE
        The model.
    blob : Blob
        Receives the weights.
    codes : array
        (n, d), to measure the error of the decoder with.
    conditions : array, optional
        Their conditions (n, C), for a conditional model.
    x : array
        Examples (m, *shape), to measure the error of the encoder with.

    Raises
    ------
    CannotRunError
        If the page cannot run the decoder.
    """
    if isinstance(vae, HierarchicalVAE):
        raise CannotRunError("several stochastic layers")
    numbers = sum(weight.numel() for weight in vae.parameters())
    if numbers > _MOST_WEIGHTS:
        raise CannotRunError(f"{numbers:,} weights, more than {_MOST_WEIGHTS:,}")
    exact = _decoded(vae, codes, conditions)
    for kind in FORMATS:
        other = with_rounded_weights(vae, kind)
        error = _error(vae, exact, _decoded(other, codes, conditions))
        if error.mean <= _ALLOWED:
            break
    decoder = _decoder(Translator(blob, kind), other)
    try:
        encoder, why = _encoder(vae, blob, x, kind), ""
    except CannotRunError as missing:
        encoder, why = None, str(missing)
    return PageModel(decoder, encoder, why, kind, error)


def with_rounded_weights(vae: VAE, kind: Format) -> VAE:
    """A copy of a model whose matrices are rounded to a format, and which has no parametrisations."""
    other = copy.deepcopy(vae).eval()
    for parent in list(other.modules()):
        for name, module in parent.named_children():
            if isinstance(module, _WEIGHTED):
                plain = _without_parametrization(module)
                parent.register_module(name, plain)
                with torch.no_grad():
                    plain.weight.copy_(torch.from_numpy(rounded(to_numpy(plain.weight), kind)))
    return other


def _without_parametrization(module: Any) -> Any:
    """A layer with the weight that its parametrisation gives, if it has one, as a parameter of its own.

    torch's own way to remove it changes the class, which a copy shares with the layer of the model.
    """
    if not parametrize.is_parametrized(module):
        return module
    plain_class: Any = type(module).__mro__[1]
    plain = plain_class.__new__(plain_class)
    nn.Module.__init__(plain)
    plain.__dict__ |= {name: value for name, value in vars(module).items() if not name.startswith("_")}
    plain._reversed_padding_repeated_twice = getattr(module, "_reversed_padding_repeated_twice", None)
    plain.weight = nn.Parameter(module.weight.detach().clone())
    plain.register_parameter("bias", module.bias)
    return plain.eval()


def _decoder(to: Translator, vae: VAE) -> list[Op]:
    mean = mean_of(to, vae.likelihood)  # first, as nothing is left behind where it cannot be run
    return [*to.program(vae.decoder), *mean]


def _encoder(vae: VAE, blob: Blob, x: Examples, least: Format) -> list[Op]:
    """Program of the encoder, in a format at least as fine as the decoder's."""
    plain, condition = apart(x)
    exact = _decoded(vae, vae.embed(plain, condition), condition)
    for kind in FORMATS[FORMATS.index(least) :]:
        other = with_rounded_weights(vae, kind)
        rebuilt = _decoded(vae, other.embed(plain, condition), condition)
        if _error(vae, exact, rebuilt).mean <= _ALLOWED:
            break
    to = Translator(blob, kind)
    code = code_of(to, other.posterior)
    first: list[Op] = []
    if hasattr(other.likelihood, "standardize"):
        head: Any = other.likelihood
        if not hasattr(head, "spread"):
            raise CannotRunError(f"an encoder that reads columns as {type(head).__name__} does")
        gain, shift = 1 / head.spread, -head.location / head.spread
        first.append({"op": "elementwise", "gain": to.vector(gain), "shift": to.vector(shift)})
    if other.conditioning is not None and other.conditioning.to_input is not None:
        first.append({"op": "addCondition", "weight": to.matrix(other.conditioning.to_input.weight)})
    return [*first, *to.program(other.encoder), *code]


def _decoded(vae: VAE, codes: Any, conditions: Any) -> Array:
    return decoded_cells(vae.decode(codes, conditions))


def _error(vae: VAE, exact: Array, found: Array) -> Error:
    """Differences in shares of the range from black to white, or of the standard deviation of each number."""
    low, high = vae.value_range
    if len(vae.shape) == 3:
        width = np.asarray(high - low)
    else:
        width = exact.std(0) if len(exact) > 1 else np.asarray(1.0)
        width = np.where(width > 0, width, 1.0)
    difference = np.abs(found - exact) / width
    return Error(float(difference.mean()), float(difference.max(initial=0.0)))

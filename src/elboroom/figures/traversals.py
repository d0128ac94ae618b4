"""Traversals: decoded codes that differ in one latent dimension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.figures.grids import ImageGrid, images_of, stack, titled
from elboroom.figures.style import written
from elboroom.latent.arrays import Numbers, codes_of, evenly, known_dims, numbers
from elboroom.models.vae import VAE, Array

_ROWS = 12  # most latent dimensions
_MEAN = "the mean code of examples (±: standard deviation of the codes)"


def traversals(
    vae: VAE,
    x: Array | None = None,
    *,
    steps: int = 11,
    dims: Sequence[int] | None = None,
    span: float = 3.0,
    layer: int | None = None,
    title: str = "",
) -> Figure:
    """Draw traversals: each row varies one latent dimension and keeps the others.

    If the prior is normal, and in each of several stochastic layers, a dimension varies in standard
    deviations of its prior (:meth:`elboroom.VAE.standardized`). In the layers below, codes keep their
    position relative to the prior, which changes with the layers above. Of a code on a grid, each row moves
    one channel by the same amount at all places, in its standard deviations over examples and places, unless
    ``dims`` names single numbers.

    Parameters
    ----------
    vae : VAE
        The model.
    x : array, optional
        Examples (n, *shape). The other dimensions have the mean of their codes; 0 if not given. With several
        examples, dimensions are ordered by the standard deviation of the codes, which labels each row: near
        0, the dimension is inactive.
    steps : int
        Images in a row.
    dims : sequence of int, optional
        Which dimensions, in this order; if not given at most 12, equally many of each stochastic layer.
    span : float
        The dimension takes values from −span to span.
    layer : int, optional
        Instead of ``dims``: the dimensions of this stochastic layer, 1 being the top.
    title : str
        Title of the figure.

    Raises
    ------
    UsageError
        If ``dims`` or ``layer`` are out of range, or both are given; if ``steps`` < 1, or x is empty.
    """
    if layer is not None:
        _check_layer(vae, layer, dims)
    if steps < 1:
        raise UsageError(f"steps = {steps}; give at least 1")
    known = np.zeros((1, vae.latent_dim))
    if x is not None:
        known = numbers(vae.standardized(codes_of(vae, x[evenly(len(x))])))
    values = torch.linspace(-span, span, steps) if steps > 1 else torch.zeros(1)
    spread = known.std(0)
    if by_channel(vae, dims):
        codes, names = _moved_channels(vae, known, values)
        return _drawn(vae, codes, names, values, title or _channel_title(x))
    dims = known_dims(vae, _most_active(vae, spread, layer) if dims is None else dims)
    codes = torch.from_numpy(known.mean(0)).repeat(len(dims), steps, 1)
    for row, dim in zip(codes, dims, strict=True):
        row[:, dim] = values
    names = [_dim_name(vae, dim) + (f"  ±{spread[dim]:.2f}" if len(known) > 1 else "") for dim in dims]
    return _drawn(
        vae, codes, names, values, title or f"Traversals: each row varies one latent dimension {_around(x)}"
    )


def by_channel(vae: VAE, dims: Sequence[int] | None = None) -> bool:
    """Whether rows of traversals are channels of a code on a grid, and not single numbers."""
    return len(vae.latent_shape) == 3 and not dims


def _moved_channels(vae: VAE, known: Numbers, values: Tensor) -> tuple[Tensor, list[str]]:
    """Codes (channels, steps, d) around the mean of known ones, and the rows' names; 12 channels at most."""
    grids = known.reshape(len(known), *vae.latent_shape)
    several = len(known) > 1
    spread = (
        grids.transpose(1, 0, 2, 3).reshape(grids.shape[1], -1).std(1) if several else np.ones(grids.shape[1])
    )
    channels = np.argsort(-spread, kind="stable")[:_ROWS]
    codes = torch.from_numpy(grids.mean(0)).repeat(len(channels), len(values), 1, 1, 1)
    for row, channel in zip(codes, channels, strict=True):
        row[:, channel] += values[:, None, None] * float(spread[channel])
    names = [f"channel {c}" + (f"  ±{spread[c]:.2f}" if several else "") for c in channels]
    return codes.flatten(2), names


def _drawn(vae: VAE, codes: Tensor, names: list[str], values: Tensor, title: str) -> Figure:
    decoded = vae.decode(vae.placed(codes.reshape(-1, vae.latent_dim))).mean
    grid = ImageGrid(
        images_of(vae, decoded), len(values), row_labels=names, captions=written(numbers(values))
    )
    return stack(grid, title=titled(vae, title))


def _around(x: Array | None) -> str:
    count = 0 if x is None else len(x)
    return f"around {('the centre of the prior', 'the code of one example')[count] if count < 2 else _MEAN}"


def _channel_title(x: Array | None) -> str:
    return f"Traversals: each row moves one channel at all places, {_around(x)}"


def _check_layer(vae: VAE, layer: int, dims: Sequence[int] | None) -> None:
    there = len(vae.layers)
    if dims is not None:
        raise UsageError(f"layer = {layer} and dims = {list(dims)}: give one of them")
    if not 1 <= layer <= there:
        raise UsageError(
            f"there is no layer {layer}: the model has {there} stochastic "
            f"layer{'' if there == 1 else 's, 1 the top'}"
        )


def _most_active(vae: VAE, spread: Numbers, layer: int | None) -> list[int]:
    """Dimensions whose codes vary most: at most 12, of one layer or equally many of each."""
    layers = vae.layers[:_ROWS] if layer is None else vae.layers[layer - 1 : layer]
    each = max(1, _ROWS // len(layers))
    ranked = [one.start + np.argsort(-spread[one], kind="stable")[:each] for one in layers]
    return [int(dim) for dim in np.concatenate(ranked)]


def _dim_name(vae: VAE, dim: int) -> str:
    """Label of a dimension, with its layer if there are several."""
    (layer,) = (i for i, layer in enumerate(vae.layers, 1) if layer.start <= dim < layer.stop)
    return f"$z_{{{dim}}}$" if len(vae.layers) == 1 else f"layer {layer}  $z_{{{dim}}}$"

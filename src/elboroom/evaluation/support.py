"""Whether a model can score a data set, and whether that is in the units of its training data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches, Binarize
from elboroom.data.centre import stored_of
from elboroom.data.dataset import Dataset, chunks
from elboroom.data.rows import extent
from elboroom.errors import UsageError
from elboroom.models.inputs import examples_at_once
from elboroom.models.vae import VAE
from elboroom.probability.support import Range, between_levels, check_bounds, other_units

_NARROW = 0.02  # a data set that fills less of the training range than this is in other units
_MANY = 20  # examples, of which some should be as bright as any


def range_of_data(data: Dataset) -> Range:
    """Smallest and largest value in model units; of 8-bit pixels what they could be.

    Examples
    --------
    >>> range_of_data(Dataset("a", np.array([[-1.0], [3.0]]), np.zeros(2), scale=2.0))
    (-0.5, 1.5)
    """
    if data.columns:
        known = data.x[~np.isnan(data.x)]
        return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    low, high = (0, 255) if data.x.dtype == np.uint8 and data.scale >= 255 else extent(data.x)
    return float(low) / data.scale, float(high) / data.scale


def check_support(
    data: Dataset,
    support: Range | None,
    binarize: Binarize,
    spacing: float | None = None,
    *,
    training: bool = True,
) -> None:
    """Make sure that a likelihood can score the data.

    Parameters
    ----------
    data : Dataset
        Looked at in the model's units, divided by their ``scale``.
    support : (float, float) or None
        The closed interval that values must lie in; None for any.
    binarize : {"none", "threshold", "stochastic"}
        What is done to the data before; it takes values in [0, 1].
    spacing : float, optional
        Distance of the values that they may take, from 0 on; any if not given.
    training : bool
        Whether the likelihood could still be changed.

    Raises
    ------
    UsageError
        If values lie outside or between; the message says which likelihood, or which scale, fits.
    """
    if data.columns:  # what cells may be was settled when the table was read
        if binarize != "none":
            raise UsageError(
                f"binarize = {binarize!r} makes pixels black or white, and {data.name} is a table; "
                "leave it out"
            )
        return
    if not len(data):
        return
    found = range_of_data(data)
    try:
        if binarize == "none":
            check_bounds(found, support)
        else:
            check_bounds(found, (0.0, 1.0), f"the pixels that binarize = {binarize!r} takes")
    except UsageError as error:
        other = ", or train with likelihood = 'gaussian', which takes any numbers" if training else ""
        raise UsageError(f"{data.name}: {error}{other}") from None
    if spacing is not None and binarize == "none":
        _check_spacing(data, spacing)


def _check_spacing(data: Dataset, spacing: float) -> None:
    unit = data.scale * spacing
    if data.x.dtype == np.uint8 and abs(1 / unit - round(1 / unit)) < 1e-3:
        return
    for rows in chunks(stored_of(data.x)):
        value = between_levels(torch.from_numpy(np.asarray(rows, np.float64)), unit)
        if value is not None:
            raise UsageError(
                f"{data.name} contains {value:.6g}, which is {value / data.scale:.6g} to the model, and this "
                f"likelihood takes multiples of {spacing:.6g}; set pixel_scale = {1 / spacing:g} if the "
                "data are whole numbers, or use likelihood = 'gaussian'"
            )


def unlike_training(data: Dataset, trained: Range | None) -> str | None:
    """Say whether a data set looks as if it were in other units than the training data.

    Parameters
    ----------
    data : Dataset
        Other data than a model was trained on.
    trained : (float, float) or None
        Smallest and largest value of the training data in model units, if known.

    Returns
    -------
    str or None
        A warning: values lie far outside that range, or many examples fill next to nothing of it.

    Raises
    ------
    UsageError
        If they are images, and tenfold outside.
    """
    if trained is None or data.columns:
        return None
    found = low, high = range_of_data(data)
    try:
        warning = other_units(found, trained, pixels=data.is_image)
    except UsageError as error:
        raise UsageError(f"{data.name}: {error}") from None
    if warning is None and len(data) >= _MANY and high - low < _NARROW * (trained[1] - trained[0]):
        warning = (
            f"values from {low:.6g} to {high:.6g}, and the model was trained on values from "
            f"{trained[0]:.6g} to {trained[1]:.6g}: are they in the same units?"
        )
    return None if warning is None else f"{data.name}: {warning}"


def checked_batches(
    vae: VAE, batches: Batches, rows: NDArray[np.int64], size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Examples that a model is to score, ``size`` at a time, and their rows, (b, *shape) and (b,).

    Each batch is checked before it is given. If all data are on a GPU, they are checked beforehand, as many
    as it has room for at a time: the host waits for each check, and then no more.

    Raises
    ------
    UsageError
        If the model cannot score them.
    """
    device = batches.x.device
    chosen = torch.from_numpy(rows).to(device)
    many = examples_at_once(device, batches.x[:1]) if batches.resident else None
    if many is not None:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for part in torch.split(chosen, many):  # which may draw pixels
                vae.check_values(batches[part], scored=True)
    for part in torch.split(chosen, size):
        x = batches[part]
        if many is None:
            vae.check_values(x, scored=True)
        yield part, x

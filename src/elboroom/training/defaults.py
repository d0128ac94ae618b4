"""Network and likelihood chosen by the data, if the configuration leaves them open."""

from __future__ import annotations

from typing import Any

import numpy as np

from elboroom.config import Config, ModelConfig
from elboroom.config.columns import Column
from elboroom.config.shapes import COLOURS
from elboroom.data import Dataset
from elboroom.data.columns import fitted_columns
from elboroom.data.preparation import value_range_of
from elboroom.errors import UsageError
from elboroom.training.crops import as_crops

_COLOUR_SIDE, _GREY_SIDE = 16, 48  # shorter side from which images are taken for photos
_SCALE = 0.1  # where the standard deviation starts from, as a share of the range from black to white


def is_photos(data: Dataset) -> bool:
    """Whether examples are colour images of 16 pixels a side or more, or grey ones of 48 or more.

    Images of the values 0 and 1 alone are not photos.
    """
    if not data.is_image or (data.x.dtype == np.uint8 and data.scale < 255):
        return False
    height, width, channels = data.shape
    return min(height, width) >= (_GREY_SIDE if channels == 1 else _COLOUR_SIDE)


def fitting_model(config: Config, data: Dataset) -> tuple[ModelConfig, str]:
    """Choose network and likelihood if they are "auto", and describe the choice.

    Tables get the mixed likelihood, one for each column.
    Photos get convolutions and a Gaussian with a learned standard deviation: an mlp does not know which
    pixels are neighbours, and Bernoulli is a density for the values 0 and 1 only. All other data get an mlp
    and Bernoulli. An option of the mlp, such as ``hidden``, selects the mlp.

    Returns
    -------
    ModelConfig
        The configuration with both filled in.
    str
        One line on what was chosen for photos; empty if nothing was.

    Raises
    ------
    UsageError
        If other options do not fit the choice.
    """
    if data.columns:
        return _for_table(config.model, data)
    data = as_crops(data, config)
    model, chosen, described = config.model, {}, []
    if model.likelihood == "mixed" and not model.columns:
        raise UsageError(
            f"likelihood = 'mixed' is for tables, and {data.name} has no columns of several kinds; "
            "leave it out"
        )
    if is_photos(data) and model.network == "auto" and not _asks_for_mlp(model):
        chosen["network"] = "conv"
        described.append("--network conv")
    if is_photos(data) and model.likelihood == "auto" and config.data.binarize == "none":
        chosen |= _gaussian(data, config.data.pixel_scale or data.scale)
        if model.network == "autoencoder-kl":  # whose decoder puts out the mean itself
            chosen["output"] = "identity"
        described.append("--likelihood gaussian with a learned scale")
    channels, size = data.shape[-1], "×".join(map(str, data.shape[:2]))
    kind = "grey" if channels == 1 else "colour" if channels <= COLOURS else f"{channels}-band"
    words = f"chosen for {kind} images of {size}: {' and '.join(described)}" if described else ""
    return model.without_auto(**chosen), words


def _for_table(model: ModelConfig, data: Dataset) -> tuple[ModelConfig, str]:
    """Give a model of a table its columns, with their means and scales."""
    if model.likelihood not in ("auto", "mixed"):
        return model.without_auto(), ""
    described = "chosen for a table: --likelihood mixed" if model.likelihood == "auto" else ""
    columns = model.columns or fitted_columns(data)
    if model.missing_mechanism != "ignorable":
        columns = _with_shares(columns, data, model.missing_mechanism)
    return model.without_auto(likelihood="mixed", columns=columns), described


def _with_shares(columns: tuple[Column, ...], data: Dataset, mechanism: str) -> tuple[Column, ...]:
    """Columns with the shares of their training cells that are missing."""
    shares = np.isnan(np.asarray(data.values(data.indices("train")))).mean(0)
    if not shares.any():
        raise UsageError(
            f"missing_mechanism = {mechanism!r} explains missing cells, and {data.name} has none to train "
            "on; leave it out"
        )
    found = zip(columns, shares.tolist(), strict=True)
    return tuple(Column(**{**dict(column), "missing": share}) for column, share in found)


def _asks_for_mlp(model: ModelConfig) -> bool:
    fields = type(model).model_fields
    return any(getattr(model, name) != fields[name].default for name in ("hidden", "decoder_hidden", "init"))


def _gaussian(data: Dataset, scale: float) -> dict[str, Any]:
    black, white = value_range_of(data.x, scale)
    return {
        "likelihood": "gaussian",
        "likelihood_scale": _SCALE * (white - black),
        "learn_scale": "shared",
        "output": "sigmoid" if black >= 0 and white <= 1 else "identity",
    }

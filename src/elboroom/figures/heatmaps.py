"""Where in an image its score is higher than usual."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from elboroom.errors import UsageError
from elboroom.figures.by_class import wrapped
from elboroom.figures.grids import ImageGrid, images_of, lay_out
from elboroom.latent.arrays import Numbers, numbers
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

_ROWS = 8  # below one another
_STRONG = 0.995  # of the pixels have less colour than the strongest


def heat_sheet(vae: VAE, images: Array, above: Numbers, names: Sequence[str], title: str = "") -> Figure:
    """Draw images beside their reconstructions and maps of what each pixel costs above the usual, a row each.

    Parameters
    ----------
    vae : VAE
        The model.
    images : array
        (n, h, w, c); of a conditional model with their conditions.
    above : array
        Nats of each number beyond the usual, (n, h, w, c): red is more, blue is less, each image on a scale
        of its own, which the caption of its row gives.
    names : sequence of str
        One for each image.
    title : str
        Of the sheet.

    Raises
    ------
    UsageError
        If there are no images, or not as many maps and names.
    """
    if not len(images) or not len(images) == len(above) == len(names):
        raise UsageError(
            f"got {len(names)} names and {len(above)} maps for {len(images)} images; give at least one image "
            "and, for each, one name and one map"
        )
    plain, _ = apart(images)
    maps, limits = heat_colors(np.asarray(above).sum(-1))
    shown = [images_of(vae, numbers(each)) for each in (plain, vae.reconstruct(images))]
    columns = [*(np.repeat(each, 3, -1) if each.shape[-1] == 1 else each for each in shown), maps]
    labels = [f"{wrapped(name)}\nred: +{limit:.2g} nats" for name, limit in zip(names, limits, strict=True)]
    sheet = np.stack(columns, 1)
    grids = [
        ImageGrid(
            sheet[start : start + _ROWS].reshape(-1, *maps.shape[1:]),
            3,
            row_labels=labels[start : start + _ROWS],
            captions=["input", "output", "above"],
        )
        for start in range(0, len(sheet), _ROWS)
    ]
    return lay_out(grids, len(grids), title)


def heat_colors(maps: Numbers) -> tuple[Numbers, Numbers]:
    """Colour maps (n, h, w) from blue (negative) by white (0) to red, (n, h, w, 3), and what red means, (n,).

    Examples
    --------
    >>> colors, red = heat_colors(np.array([[[0.0, 4.0], [4.0, -4.0]]]))
    >>> red.tolist(), (colors[0, 0, 0] > 0.95).all().item(), (colors[0, 0, 1, 0] > colors[0, 0, 1, 2]).item()
    ([4.0], True, True)
    """
    known = np.nan_to_num(np.asarray(maps, np.float64), nan=0.0)
    flat = np.abs(known).reshape(len(known), -1)
    limits = np.quantile(flat, _STRONG, axis=1)
    limits = np.where(limits > 0, limits, np.maximum(flat.max(1), np.finfo(float).tiny))
    colors = matplotlib.colormaps["RdBu_r"](0.5 + 0.5 * np.clip(known / limits[:, None, None], -1, 1))
    return colors[..., :3], limits

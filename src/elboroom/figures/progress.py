"""A quick picture of a model during training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from elboroom.data.dataset import Dataset, Part
from elboroom.evaluation.examples import examples_of
from elboroom.figures import conditional, grids, images, latent_maps, style
from elboroom.figures.by_class import examples_of_part
from elboroom.figures.grids import ImageGrid
from elboroom.io.files import write_atomic
from elboroom.latent import arrays
from elboroom.latent.arrays import Numbers, evenly
from elboroom.models.vae import VAE

_MOST_CONDITIONS = 10  # that samples are drawn for


def draw_progress(vae: VAE, data: Dataset, epoch: int, out_dir: str | os.PathLike[str]) -> Path:
    """Draw reconstructions, the map of codes and samples in one picture, to follow training.

    With one or two latent dimensions a decoded grid over the prior replaces the samples, which always have
    the same codes; a conditional model is sampled with several conditions. Takes about a second.

    Parameters
    ----------
    vae : VAE
        The model in training; its random state and mode are left as they were.
    data : Dataset
        Validation examples are shown if there are any, otherwise test examples, otherwise all.
    epoch : int
        Number in the file name: ``progress/epoch_0005.png``.
    out_dir : path
        Folder that holds ``progress``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FailureError
        If the file cannot be written.
    """
    parts: tuple[Part, ...] = ("validation", "test", "all")
    part, rows = next((part, data.indices(part)) for part in parts if len(data.indices(part)))
    rows = rows[evenly(len(rows), 2000)]
    x, labels = examples_of(vae, data, rows), None if data.labels is None else np.asarray(data.labels)[rows]
    above = images.pairs(vae, x[evenly(len(x), 10)], title=f"Epoch {epoch}: {examples_of_part(part)}")
    if vae.condition is not None:
        below = conditional.conditional_grid(
            vae, *conditional.conditions_to_show(vae, x, _MOST_CONDITIONS), n=8
        )
        below.title = "Samples"
    elif vae.latent_dim <= 2:
        below = images.manifold_image_grid(vae, images.manifold_grid(vae, 15))
        below.title = "Decoded codes on a grid over the prior"
    else:
        with arrays.seeded(vae, 0):
            below = ImageGrid(grids.images_of(vae, vae.sample(64)), 8, gap=2, title="Samples")
    figure = _compose(above, below, arrays.codes_of(vae, x), labels, data.label_names)
    path = Path(out_dir) / "progress" / f"epoch_{epoch:04d}.png"
    write_atomic(path, style.to_png(figure))
    return path


def _compose(
    above: ImageGrid, below: ImageGrid, codes: Numbers, labels: Numbers | None, label_names: Sequence[str]
) -> Figure:
    """Place one grid at the top, and below it the map of codes and the other grid."""
    side, left, right = 600, 110, 950
    scale = above.scale(width=right + side - 200)
    head = 55 + above.size(scale)[0] + 60
    figure = style.canvas(1600, head + side + 100)
    above.draw(figure, 200, 55, scale)
    axes = style.panel(figure, left, head, side, side)
    latent_maps.draw_codes(axes, codes, labels, label_names)
    axes.set_title("Codes of these examples", loc="left", fontsize=10, color=style.INK)
    below.draw(figure, right, head, below.scale(width=side, height=side))
    return figure

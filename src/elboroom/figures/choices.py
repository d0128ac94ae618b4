"""Which examples are worth drawing."""

from __future__ import annotations

import numpy as np

from elboroom.latent.arrays import Numbers, numbers
from elboroom.models.vae import VAE, Array


def morph_ends(vae: VAE, x: Array, labels: Numbers | None) -> tuple[int, int]:
    """Choose two examples: rebuilt well, of different labels if there are labels, and with codes far apart.

    Among the best rebuilt, one per label, the two farthest apart pass the most on their way. What is called
    well rebuilt is measured against an example's own contrast, or the dullest ones would win.
    """
    flat, rebuilt = (numbers(values).reshape(len(x), -1) for values in (x, vae.reconstruct(x)))
    contrast = flat.var(1) if flat.shape[1] > 1 else np.ones(len(flat))
    error = np.square(flat - rebuilt).mean(1) / np.maximum(contrast, 1e-6)
    order = np.argsort(error, kind="stable")
    few = order[: max(2, len(order) // 20)]
    if labels is not None and len(np.unique(labels)) > 1:
        _, first = np.unique(labels[order], return_index=True)
        few = order[np.sort(first)[:100]]
    codes = numbers(vae.embed(x[few]))
    apart = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    a, b = sorted(int(few[i]) for i in np.unravel_index(int(apart.argmax()), apart.shape))
    return a, b

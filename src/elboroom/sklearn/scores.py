"""Scores of rows that depend on nothing but the row: not on the others, on their order or on the call."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.models.vae import VAE
from elboroom.scoring.measures import Scores, measure

_NUMBERS = 1_000_000  # in one layer's output at a time


def scores_of(vae: VAE, x: NDArray[np.float64], num_samples: int, seed: int) -> Scores:
    """Importance-sampled −log p(x) of rows (n, d) with its parts, see :mod:`elboroom.scoring.measures`.

    log (1/k) Σ p(x, zₖ)/q(zₖ|x) with zₖ = μ(x) + σ(x) εₖ (arXiv:1509.00519 eq. 8). The k draws of ε are the
    same for every row, so that a row's estimate is a function of the row alone; over seeds it is distributed
    like one of independent draws.
    """
    with vae.at_rest():
        parts = chunked(vae, torch.tensor(x), num_samples)
        return Scores.joined([measure(vae, rows, None, "nll", num_samples, seed=seed) for rows in parts])


def chunked(vae: VAE, x: Tensor, samples: int = 1) -> Iterator[Tensor]:
    """Rows of x (n, d) in chunks, of which ``samples`` copies fit into memory."""
    widest = max(len(weight) for weight in vae.parameters() if weight.ndim == 2)
    return iter(torch.split(x, max(1, _NUMBERS // (samples * widest))))

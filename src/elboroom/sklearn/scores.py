"""Scores of rows that depend on nothing but the row: not on the others, on their order or on the call."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.distributed.noise import Distribution, noise_from
from elboroom.models.vae import VAE
from elboroom.scoring.measures import Scores, measure

_NUMBERS = 1_000_000  # in one layer's output at a time


class SharedNoise:
    """Noise whose k-th draw is the same for all rows of a batch, and for all batches.

    Parameters
    ----------
    seed : int
        Of the draws.
    draws : int
        Draws for one batch, after which they start again.

    Examples
    --------
    >>> noise = SharedNoise(0, 2)
    >>> drawn, again = (noise("normal", (2, rows, 4), torch.zeros(())) for rows in (3, 1))
    >>> torch.equal(drawn[:, 0], drawn[:, 2]), torch.equal(drawn[0], drawn[1])
    (True, False)
    >>> torch.equal(drawn[:, :1], again)
    True
    """

    def __init__(self, seed: int, draws: int):
        self._seed, self._draws, self._done = seed, draws, 0
        self._generator = torch.Generator()

    def __call__(self, distribution: Distribution, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers (k, b, d), of which the next k · d are drawn."""
        if self._done % self._draws == 0:
            self._generator.manual_seed(self._seed)
        count, rows, width = shape
        self._done += count
        draw = torch.randn if distribution == "normal" else torch.rand
        one = draw(count, 1, width, generator=self._generator, dtype=torch.float64)
        return one.to(like).expand(count, rows, width)


def scores_of(vae: VAE, x: NDArray[np.float64], num_samples: int, seed: int) -> Scores:
    """Importance-sampled −log p(x) of rows (n, d) with its parts, see :mod:`elboroom.scoring.measures`.

    log (1/k) Σ p(x, zₖ)/q(zₖ|x) with zₖ = μ(x) + σ(x) εₖ (arXiv:1509.00519 eq. 8). The k draws of ε are the
    same for every row, so that a row's estimate is a function of the row alone; over seeds it is distributed
    like one of independent draws.
    """
    found = []
    with vae.at_rest():
        for rows in chunked(vae, torch.tensor(x), num_samples):
            with noise_from(SharedNoise(seed, num_samples)):
                found.append(measure(vae, rows, None, "nll", num_samples))
    return Scores.joined(found)


def chunked(vae: VAE, x: Tensor, samples: int = 1) -> Iterator[Tensor]:
    """Rows of x (n, d) in chunks, of which ``samples`` copies fit into memory."""
    widest = max(len(weight) for weight in vae.parameters() if weight.ndim == 2)
    return iter(torch.split(x, max(1, _NUMBERS // (samples * widest))))

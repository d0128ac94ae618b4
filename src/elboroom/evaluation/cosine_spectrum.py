"""Bands of the cosine spectrum of pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

FINE = 0.5
"""Of the highest frequency that pixels can hold: from it on lies fine detail."""


def band(pictures: NDArray[np.float64], low: float = FINE, high: float = np.inf) -> NDArray[np.float64]:
    """Coefficients of the frequencies of at least ``low`` and below ``high``, in any direction.

    The transform is orthonormal and takes a picture as mirrored at its edges: the edges of a Fourier
    transform's endless repetition would count as detail.

    Parameters
    ----------
    pictures : array
        (n, h, w, c).
    low, high : float
        In units of the highest frequency along a row or column, which is one cycle in two pixels.

    Returns
    -------
    array
        (n, m, c).

    Examples
    --------
    >>> waves = np.cos(np.pi / 4 * (np.arange(4) + 0.5) * np.array([[1], [2]]))  # at 1/4 and 1/2
    >>> found = band(np.broadcast_to(waves[:, None, :, None], (2, 4, 4, 1)))
    >>> found.shape, np.square(found).sum((1, 2)).round(6).tolist()
    ((2, 12, 1), [0.0, 8.0])
    """
    _, height, width, _ = pictures.shape
    radius = np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width)
    found: NDArray[np.float64] = dctn(pictures, axes=(1, 2), norm="ortho")[
        :, (radius >= low) & (radius < high)
    ]
    return found

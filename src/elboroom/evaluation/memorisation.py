"""Whether what a model draws lies nearer to its training examples than to others."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError


def nearer_to_training(
    samples: ArrayLike, training: ArrayLike, held_out: ArrayLike, rng: np.random.Generator
) -> tuple[float, float]:
    """Share of samples whose nearest example is a training example, and its standard error.

    Equally many training and held-out examples compete, so that the share is ½ if nothing is memorised, after
    the test of arXiv:2004.05675.

    Parameters
    ----------
    samples, training, held_out : array
        Points (m, d), (n, d) and (h, d); the nearest is that of the smallest Euclidean distance.
    rng : numpy.random.Generator
        Chooses the examples that compete.

    Returns
    -------
    (float, float)
        The error is that over all ways to call half of the examples training examples, which counts that
        samples share their nearest ones.

    Raises
    ------
    UsageError
        If one of the three is empty.

    Examples
    --------
    >>> near = np.array([[0.0], [1.0]])
    >>> nearer_to_training(near + 0.1, near, near + 9.0, np.random.default_rng(0))[0]
    1.0
    """
    given = {"samples": samples, "training": training, "held_out": held_out}
    for name, points in given.items():
        if not len(np.asarray(points)):
            raise UsageError(f"{name} contains no rows; nearest examples need some of each")
    drawn, known, unseen = (np.asarray(points) for points in given.values())
    count = min(len(known), len(unseen))
    some = known[rng.permutation(len(known))[:count]]
    other = unseen[rng.permutation(len(unseen))[:count]]
    order = rng.permutation(2 * count)  # equal examples of both kinds are met in no order
    among = np.concatenate([some, other])[order]
    from sklearn.neighbors import NearestNeighbors  # over a second to import

    nearest = NearestNeighbors(n_neighbors=1).fit(among).kneighbors(drawn, return_distance=False)[:, 0]
    chosen: NDArray[np.int64] = np.bincount(nearest, minlength=2 * count)
    share = float((order[nearest] < count).mean())
    variance = 0.25 * np.square(chosen - chosen.mean()).sum() * 2 * count / max(1, 2 * count - 1)
    return share, math.sqrt(variance) / len(drawn)

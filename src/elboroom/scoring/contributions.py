"""What each column or pixel adds to an anomaly score, in nats that sum to the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import UsageError

LATENT = "latent code"
"""The name of what no single column has a share in: the rate."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """The parts of n anomaly scores: ``score = by_column.sum(1) + latent``.

    A column's part is its mean −log p(x_j|z) over the codes that the score averages over. The rest, how far
    the code lies from the prior, belongs to all columns together and is kept apart as ``latent``: the rate,
    KL(q(z|x) ‖ p(z)). For an importance-weighted likelihood the codes are weighted by their normalised
    importance weights, that is by the posterior p(z|x), and ``latent`` estimates KL(p(z|x) ‖ p(z)), by
    −log p(x) = E[−log p(x|z)] + KL(p(z|x) ‖ p(z)). A reconstruction probability has no such part: 0.

    Attributes
    ----------
    by_column : numpy.ndarray
        Nats, float64 (n, d); of images (n, h, w, c). A missing cell has exactly 0.
    latent : numpy.ndarray
        Nats, float64 (n,).
    """

    by_column: NDArray[np.float64]
    latent: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """The scores, (n,)."""
        found: NDArray[np.float64] = self.by_column.reshape(len(self.latent), -1).sum(1) + self.latent
        return found

    def usual(self) -> NDArray[np.float64]:
        """Mean of each part over these examples, (d + 1,), the latent one last."""
        return self.parts().mean(0)

    def parts(self) -> NDArray[np.float64]:
        """All parts of each score, (n, d + 1), the latent one last; they sum to the score."""
        return np.concatenate([self.by_column.reshape(len(self.latent), -1), self.latent[:, None]], 1)


class Reason(NamedTuple):
    """One part of a score.

    Attributes
    ----------
    name : str
        The column, or "latent code".
    nats : float
        Its part of the score.
    above : float
        How much that is above the mean of this part over the calibration examples.
    """

    name: str
    nats: float
    above: float


def top_reasons(
    contributions: Contributions,
    names: tuple[str, ...],
    usual: NDArray[np.float64],
    count: int = 3,
) -> list[list[Reason]]:
    """List for each example the parts of its score that are furthest above what is usual.

    Nats of different columns cannot be compared: a column of many categories costs more nats in every
    row than a nearly constant one, and a density can cost fewer than none. What made a row odd is therefore
    what each column costs beyond its mean over calibration examples. These differences sum to the difference
    between the score and the mean calibration score.

    Parameters
    ----------
    contributions : Contributions
        Of n examples and d columns.
    names : tuple of str
        Of the d columns.
    usual : numpy.ndarray
        (d + 1,): :meth:`Contributions.usual` of the calibration examples.
    count : int
        Most parts to list.

    Returns
    -------
    list of list of Reason
        For each example its parts above the usual; fewer than ``count``, if fewer are. Columns come first,
        the furthest above the usual at their head, and the latent part, which belongs to all of them, last.

    Raises
    ------
    UsageError
        If the numbers of columns disagree.
    """
    parts = contributions.parts()
    if not len(names) + 1 == len(usual) == parts.shape[1]:
        raise UsageError(
            f"got {len(names)} names and {len(usual)} usual parts for {parts.shape[1] - 1} columns and the "
            "latent part; give d names and d + 1 parts"
        )
    every = (*names, LATENT)
    above = np.nan_to_num(parts - usual, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    order = np.argsort(-above, axis=1, kind="stable")[:, :count]
    order = np.take_along_axis(order, np.argsort(order == len(names), axis=1, kind="stable"), axis=1)
    return [
        [Reason(every[j], float(parts[i, j]), float(above[i, j])) for j in chosen if above[i, j] > 0]
        for i, chosen in enumerate(order)
    ]

"""Whether sampled rows of a table repeat rows that the model was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from elboroom.config.columns import WITH_CATEGORIES, Column
from elboroom.errors import UsageError
from elboroom.evaluation.memorisation import nearer_to_training

_SAME = 1e-6  # rows this close are copies, given float32


@dataclass(frozen=True)
class NearestRecords:
    """Distances of rows to their nearest records.

    The distance of two rows is the root of the sum over columns of the squared difference: in standard
    deviations of the training rows for numbers, and 0 or 1 for categories. A missing cell counts as the mean,
    or as no category, and differs by 1 more from one that is not missing.

    Attributes
    ----------
    samples : int
        How many samples were looked at.
    to_training, held_out_to_training : float
        Median distance from a sample, and from a held-out row, to the nearest training row. Samples that
        are nearer than held-out rows are suspect.
    closer_to_training, closer_error : float
        Share of the samples whose nearest row, among as many training as held-out rows, is a training row:
        ½ if nothing is memorised. Its standard error is that over all ways to call half of these rows
        training rows, which counts that samples share their nearest rows.
    copies, held_out_copies : float
        Shares of the samples and of the held-out rows that equal a training row. In tables of few categories
        both are large, and only a difference between them counts.
    """

    samples: int
    to_training: float
    held_out_to_training: float
    closer_to_training: float
    closer_error: float
    copies: float
    held_out_copies: float

    @property
    def is_suspect(self) -> bool:
        """Whether more samples are nearer to training rows than chance explains: 3 standard errors."""
        return self.closer_to_training - 0.5 > 3 * self.closer_error

    def describe(self) -> list[str]:
        """What was found, in sentences."""
        verdict = (
            "the samples repeat training rows"
            if self.is_suspect
            else "no sign that training rows are repeated"
        )
        return [
            f"distance to the nearest training row: {self.to_training:.3g} from a sample (median), "
            f"{self.held_out_to_training:.3g} from a held-out row",
            f"nearer to a training row than to a held-out row: {self.closer_to_training:.1%} ± "
            f"{self.closer_error:.1%} of the samples (50% by chance): {verdict}",
            f"equal to a training row: {self.copies:.1%} of the samples, {self.held_out_copies:.1%} of the "
            "held-out rows",
        ]


def nearest_records(
    samples: NDArray[Any],
    training: NDArray[Any],
    held_out: NDArray[Any],
    columns: Sequence[Column],
    seed: int = 0,
) -> NearestRecords:
    """Compare the distances of samples (m, d) to training rows (n, d) with those of held-out rows (h, d).

    Parameters
    ----------
    samples, training, held_out : array
        Rows as in a :class:`~elboroom.Dataset` with these columns; missing cells are NaN.
    columns : sequence of Column
        Their columns.
    seed : int
        Of the training rows that are compared with equally many held-out rows.

    Raises
    ------
    UsageError
        If one of the three is empty.
    """
    for name, rows in (("samples", samples), ("training", training), ("held_out", held_out)):
        if not len(rows):
            raise UsageError(f"{name} contains no rows; nearest records need some of each")
    of_training = np.asarray(training, np.float64)
    means, deviations = _moments(of_training)
    drawn, known, unseen = (
        _points(np.asarray(rows, np.float64), columns, means, deviations)
        for rows in (samples, of_training, held_out)
    )
    from_samples = _nearest(drawn, known)
    from_unseen = _nearest(unseen, known)
    closer, error = nearer_to_training(drawn, known, unseen, np.random.default_rng(seed))
    return NearestRecords(
        len(drawn),
        float(np.median(from_samples)),
        float(np.median(from_unseen)),
        closer,
        error,
        float((from_samples < _SAME).mean()),
        float((from_unseen < _SAME).mean()),
    )


def _moments(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations of the cells that are not missing; 0 and 1 where there are none."""
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(0), 1)
    means = np.where(known, rows, 0).sum(0) / count
    deviations = np.sqrt(np.square(np.where(known, rows - means, 0)).sum(0) / count)
    return means, np.where(deviations > 0, deviations, 1.0)


def _points(
    rows: NDArray[np.float64],
    columns: Sequence[Column],
    means: NDArray[np.float64],
    deviations: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Rows as vectors whose Euclidean distance is that of :class:`NearestRecords`."""
    parts = []
    for column, cells, mean, deviation in zip(columns, rows.T, means, deviations, strict=True):
        missing = np.isnan(cells)
        if column.kind in WITH_CATEGORIES:
            codes = np.where(missing, 0, cells).astype(np.int64)
            each = np.eye(len(column.categories))[codes] / math.sqrt(2)
        else:
            each = ((np.where(missing, mean, cells) - mean) / deviation)[:, None]
        parts += [np.where(missing[:, None], 0.0, each), missing[:, None].astype(np.float64)]
    return np.concatenate(parts, 1)


def _nearest(rows: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = NearestNeighbors(n_neighbors=1).fit(among).kneighbors(rows)[0][:, 0]
    return found

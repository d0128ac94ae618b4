"""Examples that are copies of others, by which a test part tells nothing of new examples."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.data.dataset import Dataset
from elboroom.data.rows import chunks
from elboroom.errors import UsageError

_SAMPLE = 500  # examples whose nearest neighbours tell the usual distance
_NEAR = 0.05  # of the usual distance
_FEWEST_NUMBERS = 8  # of an example: among fewer, neighbours may come as near by chance
_CHUNK = 4096


@dataclass(frozen=True)
class Copies:
    """Which examples are copies.

    Attributes
    ----------
    exact : numpy.ndarray
        bool (n,): equal to an earlier training example, which an example of another part is whatever its
        place.
    near : numpy.ndarray
        bool (n,): held-out examples that are not equal to a training example but closer to one than a
        twentieth of the usual distance from a training example to the nearest other one.
    """

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_]

    @property
    def any(self) -> NDArray[np.bool_]:
        """Copies of either kind."""
        return self.exact | self.near


def copies_in(data: Dataset, *, most: int | None = None) -> Copies:
    """Find examples that are copies of training examples.

    Parameters
    ----------
    data : Dataset
        With its split. All examples are compared byte by byte; near copies are looked for where an example
        has at least 8 numbers and no missing ones.
    most : int, optional
        Held-out examples that are looked at for near copies, evenly spaced; all if it is not given, which
        takes their number times that of the training examples.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    >>> copies_in(Dataset("four", x, split=np.array([0, 0, 0, 1]))).exact.tolist()
    [False, False, True, True]
    """
    exact = _exact(data)
    near = np.zeros(len(data), np.bool_)
    train = data.indices("train")
    held_out = np.setdiff1d(data.indices("all"), train)
    held_out = held_out[~exact[held_out]]
    if most is not None and len(held_out) > most:
        held_out = held_out[np.linspace(0, len(held_out) - 1, most, dtype=np.int64)]
    size = int(np.prod(data.shape))
    if not len(held_out) or len(train) < 2 or size < _FEWEST_NUMBERS or data.columns:
        return Copies(exact, near)
    among = train[~exact[train]]
    some = among[np.linspace(0, len(among) - 1, min(_SAMPLE, len(among)), dtype=np.int64)]
    usual = np.sqrt(np.median(_nearest(data, some, among)))
    near[held_out[np.sqrt(_nearest(data, held_out, train)) < _NEAR * usual]] = True
    return Copies(exact, near)


def without_copies(data: Dataset) -> Dataset:
    """Leave out examples that are copies of training examples, near ones of other parts too.

    Raises
    ------
    UsageError
        If the data are given as vectors or names that cannot be cut with them.
    """
    kept = np.flatnonzero(~copies_in(data).any)
    if len(kept) == len(data):
        return data
    if not len(kept):
        raise UsageError(f"{data.name}: all examples are copies of one another")
    before = np.arange(len(data)) if data.rows is None else np.asarray(data.rows)
    cut: dict[str, Any] = {
        name: None if (v := getattr(data, name)) is None else v[kept] for name in ("labels", "vectors")
    }
    names = tuple(data.names[i] for i in kept) if data.names else ()
    count = len(data) - len(kept)
    return dataclasses.replace(
        data,
        x=np.asarray(data.x[kept]),
        split=np.asarray(data.split)[kept],
        rows=before[kept],
        names=names,
        notes=(*data.notes, f"{count:,} examples that are copies of training examples are left out"),
        **cut,
    )


def _exact(data: Dataset) -> NDArray[np.bool_]:
    """Examples equal to a training example before them, or to any if they are not of the training part."""
    digests = np.empty(len(data), dtype="S16")
    at = 0
    for rows in chunks(data.x):
        for row in np.ascontiguousarray(rows):
            digests[at] = hashlib.blake2b(row.tobytes(), digest_size=15).digest() + b"."  # no 0 at the end
            at += 1
    training = np.asarray(data.split) == 0
    order = np.argsort(~training, kind="stable")  # the training part first
    _, first = np.unique(digests[order], return_index=True)
    found = np.ones(len(data), np.bool_)
    found[order[first]] = False
    # Copies within another part alone are no leak.
    among = np.isin(digests, np.unique(digests[training]))
    return np.asarray(found & among)


def _nearest(data: Dataset, queries: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared Euclidean distance of each query to the nearest of the rows other than itself, (q,)."""
    found = np.full(len(queries), np.inf)
    for start in range(0, len(rows), _CHUNK):
        x = data.values(rows[start : start + _CHUNK]).reshape(-1, int(np.prod(data.shape)))
        norms = np.square(x, dtype=np.float64).sum(1)
        for at in range(0, len(queries), _CHUNK):
            here = slice(at, at + _CHUNK)
            q = data.values(queries[here]).reshape(-1, x.shape[1])
            own = np.square(q, dtype=np.float64).sum(1)
            squares = norms[None] - 2.0 * (q @ x.T) + own[:, None]
            squares[queries[here, None] == rows[None, start : start + _CHUNK]] = np.inf
            best = squares.argmin(1)
            # Where it is all but 0, the expansion has rounded it away.
            exact = np.square(q - x[best], dtype=np.float64).sum(1)
            alone = np.isinf(squares[np.arange(len(q)), best])
            found[here] = np.minimum(found[here], np.where(alone, np.inf, exact))
    return found

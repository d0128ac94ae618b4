"""Memorisation: the training examples nearest to an image, and their distances."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.examples import examples_of
from elboroom.latent.arrays import Numbers, numbers, standardized
from elboroom.models.chunks import has_memory_to_fill
from elboroom.models.vae import VAE, Array, Precision

Space = Literal["pixels", "codes"]

_CROWD = 50  # neighbours whose mean distance is typical (arXiv:2301.13188 §4.2)
_NEAR = 0.5  # a copy is closer than this share of the typical distance
_SAME = 1e-6  # and always a copy below this distance
_CHUNK_BYTES = 16 << 20


class Neighbours(NamedTuple):
    """The n nearest neighbours of m queries, nearest first.

    Attributes
    ----------
    rows : numpy.ndarray
        Rows of the data set, int64 (m, n).
    distances : numpy.ndarray
        float64 (m, n): root mean square differences per pixel or number in model units, standardised if
        the model does so, or Euclidean distances of codes.
    usual : numpy.ndarray
        Typical distance: the mean of the 50 nearest, or of the nearest twentieth of fewer than 1,000; (m,).
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    usual: NDArray[np.float64]

    @property
    def copied(self) -> NDArray[np.bool_]:
        """Which queries are (nearly) copies, bool (m,).

        By the rule of arXiv:2301.13188, those whose nearest neighbour is closer than half the typical
        distance, which depends on how dense the neighbourhood is.
        """
        first = self.distances[:, 0]
        return np.asarray((first < _NEAR * self.usual) | (first < _SAME))

    def copies(self, data: Dataset) -> NDArray[np.bool_]:
        """As `copied`, but of a table only rows that are the same, bool (m,).

        Among few columns many a row that was not seen in training lies closer to another than half the
        typical distance; `elboroom.tables.privacy.nearest_records` compares with such rows.
        """
        return np.asarray(self.distances[:, 0] < _SAME) if data.columns else self.copied


def nearest(
    data: Dataset,
    images: Array,
    n: int = 5,
    space: Space = "pixels",
    *,
    vae: VAE | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Neighbours:
    """Search a data set for the examples nearest to some images, exactly.

    Parameters
    ----------
    data : Dataset
        Read 16 MB at a time, so it may be a memory map larger than memory.
    images : array
        Queries (m, *shape) in model units; with conditions, to compare codes of a conditional model.
    n : int
        Number of neighbours of each query; all examples if there are fewer.
    space : {"pixels", "codes"}
        Compare examples, or their codes.
    vae : VAE, optional
        The model that computes codes. If it standardises the columns of rows or time series, they are
        compared standardised, as otherwise the column with the largest values would dominate.
    rows : array, optional
        Rows to search; the training part if not given.

    Raises
    ------
    UsageError
        If ``n`` < 1, the shapes differ, there is nothing to search, or codes are asked for without a model.
    """
    if n < 1:
        raise UsageError(f"n = {n} neighbours; ask for at least 1")
    rows = data.indices("train") if rows is None else rows
    if not len(rows):
        raise UsageError(f"{data.name}: no examples to search; choose another part")
    queries = images if space == "codes" else numbers(images)
    if queries.shape[1:] != data.shape:
        raise UsageError(f"got images {queries.shape}; {data.name} contains examples {data.shape}")
    size = 1.0 if space == "codes" else float(np.prod(data.shape))
    wanted = _flat(queries, space, vae)
    crowd = min(_CROWD, max(2, len(rows) // 20))
    kept = max(n, crowd)
    found: NDArray[np.int64] = np.empty((len(queries), 0), np.int64)
    squares: NDArray[np.float64] = np.empty((len(queries), 0))
    step = max(1, _CHUNK_BYTES // (8 * int(np.prod(data.shape))))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        flat = _flat(_taken(data, part, space, vae), space, vae)
        # |a − b|² expanded: the differences themselves would take m times the memory.
        near = (flat**2).sum(1) - 2 * wanted @ flat.T + (wanted**2).sum(1, keepdims=True)
        squares = np.concatenate([squares, near], 1)
        found = np.concatenate([found, np.broadcast_to(part, (len(queries), len(part)))], 1)
        order = np.argsort(squares, axis=1, kind="stable")[:, :kept]
        squares, found = np.take_along_axis(squares, order, 1), np.take_along_axis(found, order, 1)
    distances = np.empty(found.shape)
    for i, query in enumerate(wanted):  # recomputed from differences, so that equal examples have distance 0
        distances[i] = np.linalg.norm(_flat(_taken(data, found[i], space, vae), space, vae) - query, axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    distances = np.take_along_axis(distances, order, 1) / np.sqrt(size)
    rows = np.take_along_axis(found, order, 1)
    return Neighbours(rows[:, :n], distances[:, :n], distances[:, :crowd].mean(1))


def _taken(data: Dataset, rows: NDArray[np.int64], space: Space, vae: VAE | None) -> Array:
    """Read rows of the data, with their conditions if codes are compared."""
    return data.values(rows) if vae is None or space == "pixels" else examples_of(vae, data, rows)


def _flat(x: Array, space: Space, vae: VAE | None) -> NDArray[np.float64]:
    if space == "codes":
        if vae is None:
            raise UsageError("space = 'codes' needs the model that computes them; give it as vae=")
        x = vae.embed(x)
    elif vae is not None:
        x = standardized(vae, x)
        if vae.accepts_missing:
            x = np.nan_to_num(x, nan=0.0)  # the mean of the column
    return numbers(x).reshape(len(x), -1).astype(np.float64)


def embed_rows(vae: VAE, data: Dataset, rows: NDArray[np.int64], precision: Precision = "fp32") -> Numbers:
    """Encode rows of a data set, a part at a time: codes, float32 (n, d).

    A GPU gets 8-bit pixels as they are stored, divides them itself, and keeps the codes until all are there.
    """
    device = next(vae.parameters()).device
    stored = has_memory_to_fill(device) and data.x.dtype == np.uint8 and data.scale == vae.scale
    step = max(1, _CHUNK_BYTES // ((1 if stored else 4) * int(np.prod(data.shape))))
    codes = [torch.empty(0, vae.latent_dim, device=device)]
    for i in range(0, len(rows), step):
        examples = examples_of(vae, data, rows[i : i + step], stored=stored)
        codes.append(vae.embed(examples, precision=precision).float())
    return numbers(torch.cat(codes))

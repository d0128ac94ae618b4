"""Batches of examples: rows are gathered, scaled and binarised on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.augment import cropped, mirrored, windows
from elboroom.data.centre import centre, stored_of
from elboroom.data.conditioned import ConditionSpec, conditions_of
from elboroom.data.dataset import Dataset
from elboroom.data.memory import fits
from elboroom.data.rows import RowReader, chunks
from elboroom.data.stream import stream_rows
from elboroom.distributed.noise import uniform

Binarize = Literal["none", "threshold", "stochastic"]
Dequantize = Literal["none", "uniform"]

# The largest float32 below 1.
_BELOW_ONE = 1 - 2**-24
# Batches whose row numbers go to the device in one copy.
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Streamed:
    """Rows as they are stored, and their row numbers, by which their conditions are found."""

    x: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: slice) -> Streamed:
        return Streamed(self.x[chosen], self.rows[chosen])


Rows = Tensor | Streamed
"""A batch: row numbers (b,), or rows as they are stored."""


class Batches:
    """A data set as the model sees it, resident on a device or streamed to it.

    What a batch holds depends on the row numbers alone, and not on where the data live.

    Parameters
    ----------
    data : Dataset
        Kept in its own dtype. Where it shows the centre crops of larger images, training examples are random
        crops of them.
    device : torch.device
        Where batches are made.
    binarize : {"none", "threshold", "stochastic"}
        Leave pixels as they are, threshold them at one half, or draw them anew each time (torch's generator).
    dequantize : {"none", "uniform"}
        Add noise from [0, 1) to whole numbers before they are scaled, drawn anew each time: a density of
        the sums then bounds the probability of the numbers (arXiv:1511.01844 §3.1).
    flip : bool
        Mirror images left to right, each with probability one half, when they are trained on.
    crop : int
        Pixels by which images are moved at random, filled by reflection, when they are trained on.
    resident : bool, optional
        Whether all data are copied to the device once, or read when needed. By default they are
        copied if they take at most half of the memory that is free there.

    Attributes
    ----------
    resident : bool
        What was chosen.
    x : torch.Tensor
        The data ``(n, *shape)`` on the device, larger images whole; ``(0, *shape)`` if they are streamed.

    Examples
    --------
    >>> from elboroom.data import load_data
    >>> digits = Batches(load_data("digits"), torch.device("cpu"))
    >>> batch = digits[torch.tensor([0, 5])]
    >>> batch.shape, batch.dtype, batch.max().item()
    (torch.Size([2, 8, 8, 1]), torch.float32, 1.0)
    """

    def __init__(
        self,
        data: Dataset,
        device: torch.device,
        *,
        binarize: Binarize = "none",
        dequantize: Dequantize = "none",
        flip: bool = False,
        crop: int = 0,
        resident: bool | None = None,
    ):
        x = stored_of(data.x)
        self.resident = fits(x.nbytes, device) if resident is None else resident
        self._reader = RowReader(x)
        kind = torch.from_numpy(np.empty(0, x.dtype)).dtype
        self.x = torch.empty((len(x) if self.resident else 0, *x.shape[1:]), dtype=kind, device=device)
        if self.resident:
            start = 0
            for rows in chunks(x):
                # torch warns of what is read-only, so such a chunk is copied.
                self.x[start : start + len(rows)].copy_(torch.from_numpy(np.require(rows, None, ["C", "W"])))
                start += len(rows)
        self.scale = data.scale
        self.binarize = binarize
        self.dequantize = dequantize
        self.flip = flip
        self.crop = crop
        self._data = data
        self._larger = self.x.shape[1:] != data.shape
        self._conditions: Tensor | None = None  # labels (n,) or vectors (n, C), on the device
        self._labels: Tensor | None = None  # 0, 1, … as far as there are any

    def condition_on(self, wanted: ConditionSpec | None) -> None:
        """Keep the conditions that a model takes on the device; none if it takes none.

        Raises
        ------
        UsageError
            If the data have none, or others than the model knows.
        """
        self._conditions = None
        if wanted is None:
            return
        found = conditions_of(self._data, wanted)
        self._conditions = torch.from_numpy(np.array(found)).to(self.x.device)
        labels = torch.arange(wanted.size, device=self.x.device)
        self._labels = labels if wanted.kind == "labels" else None

    def conditions(self, rows: Rows) -> Tensor | None:
        """Conditions (b, C) of a batch as floats, labels one-hot; None without :meth:`condition_on`."""
        if self._conditions is None:
            return None
        chosen = self._conditions.index_select(0, rows.rows if isinstance(rows, Streamed) else rows)
        return chosen if self._labels is None else (chosen[:, None] == self._labels).float()

    def __getitem__(self, rows: Rows) -> Tensor:
        """Examples ``(b, *shape)`` as floats, the pixel value ``scale`` as 1.

        Parameters
        ----------
        rows : torch.Tensor
            int64 row numbers ``(b,)``, or what :meth:`stream` yields. Where data are streamed, the host reads
            numbered rows at once, and waits for them.
        """
        x = self._raw(rows)
        return self._scaled(centre(x, *self._data.shape[:2]) if self._larger else x)

    def _scaled(self, x: Tensor) -> Tensor:
        scale = self.scale
        if x.dtype == torch.uint8:
            if scale != 1 and self.dequantize == "none" and torch.get_default_dtype() == torch.float32:
                x, scale = x / scale, 1  # in one operation
            else:
                x = x.float()
        if self.dequantize == "uniform":
            # float32 rounds 255 + 0.99999999 to 256, which lies outside.
            x = torch.minimum(x + uniform(*x.shape, batch_dim=0, like=x), (x + 1) * _BELOW_ONE)
        if scale != 1:
            x = x / scale
        if self.binarize == "threshold":
            return (x >= 0.5).to(x.dtype)
        if self.binarize == "stochastic":
            return (uniform(*x.shape, batch_dim=0, like=x) < x).to(x.dtype)
        return x

    def _raw(self, rows: Rows) -> Tensor:
        if isinstance(rows, Streamed):
            return rows.x
        if rows.dtype != torch.int64:  # examples are uint8 or float32
            return rows
        if self.resident:
            return self.x.index_select(0, rows)
        found = torch.empty((len(rows), *self.x.shape[1:]), dtype=self.x.dtype)
        self._reader.read([rows.cpu().numpy()], [found.numpy()])
        return found.to(self.x.device)

    def stream(self, order: Sequence[NDArray[np.int64]]) -> Iterator[Rows]:
        """For each batch of row numbers in turn, what the other methods take.

        Row numbers if the data are resident. Else rows as they are stored, uint8 or float32 ``(b, *shape)``,
        read ahead by threads that end with this generator; see :func:`elboroom.data.stream.stream_rows`.

        Raises
        ------
        FailureError
            Where a row is due that cannot be read.
        """
        if not self.resident:
            read = stream_rows(self._reader, order, self.x.device)
            if self._conditions is None:
                yield from read
            else:
                for x, rows in zip(read, order, strict=True):
                    yield Streamed(x, torch.from_numpy(rows).to(self.x.device))
            return
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            numbers = torch.from_numpy(np.concatenate(some)).to(self.x.device)
            yield from torch.split(numbers, list(map(len, some)))

    def for_training(self, rows: Rows) -> Tensor:
        """As ``batches[rows]``, with the augmentation of training examples."""
        shape = self._data.shape
        x = self._scaled(windows(self._raw(rows), *shape[:2])) if self._larger else self[rows]
        if self.flip:
            x = mirrored(x)
        return cropped(x, self.crop) if self.crop else x

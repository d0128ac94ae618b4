"""From indices to what the model sees: gather, scale, binarise, on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError

Binarize = Literal["none", "threshold", "stochastic"]


class Batches:
    """A data set resident on a device, as the model sees it.

    Parameters
    ----------
    data : Dataset
        Copied to the device once, in its own dtype.
    device : torch.device
        Where batches are made.
    binarize : {"none", "threshold", "stochastic"}
        Leave pixels, cut them at one half, or draw them anew at every look (from torch's generator).
    flip : bool
        Mirror images left to right, each with probability one half, when they are trained on.

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
        flip: bool = False,
    ):
        # A memory map is read-only, which torch warns of; the copy is wanted anyway.
        self.x = torch.from_numpy(np.array(data.x)).to(device)
        self.scale = data.scale
        self.binarize = binarize
        self.flip = flip

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Examples (b, *shape) as floats, the pixel value ``scale`` as 1."""
        x = self.x.index_select(0, indices)
        if x.dtype == torch.uint8:
            x = x.float()
        if self.scale != 1:
            x = x / self.scale
        if self.binarize == "threshold":
            return (x >= 0.5).to(x.dtype)
        if self.binarize == "stochastic":
            return torch.bernoulli(x)
        return x

    def stream(self, order: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
        """For each batch of row numbers in turn, what :meth:`for_training` and ``batches[...]`` take."""
        for rows in order:
            yield torch.from_numpy(rows).to(self.x.device)

    def for_training(self, indices: Tensor) -> Tensor:
        """As ``batches[indices]``, with what is done to training examples only."""
        x = self[indices]
        if not self.flip:
            return x
        mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
        return torch.where(mirrored, x.flip(2), x)


def check_support(data: Dataset, support: tuple[float, float] | None, binarize: Binarize) -> None:
    """Make sure that a likelihood with this support can score the data.

    Raises
    ------
    UsageError
        If values lie outside it; the message says which likelihood fits.
    """
    wanted = (0.0, 1.0) if binarize == "stochastic" else support
    if wanted is None or binarize == "threshold" or not len(data):
        return
    low, high = float(data.x.min()) / data.scale, float(data.x.max()) / data.scale
    if low < wanted[0] or high > wanted[1]:
        raise UsageError(
            f"{data.name} holds values from {low:.6g} to {high:.6g}, outside [0, 1]; "
            "use --likelihood gaussian, or bring the data into [0, 1]"
        )

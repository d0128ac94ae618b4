"""Features as the vectors that a quantiser quantises, with the same location and spread in every batch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import sum_over_batch
from elboroom.probability.layout import Layout

Normalization = Literal["none", "batch"]

_EPS = 1e-5  # added to variances
_RATE = 0.1  # of the running averages, after the first ten batches


class CodeVectors(nn.Module):
    """Features (b, *layout.shape) → vectors (b·P, c), normalised over the batch if that is wanted.

    In its first steps a decoder learns the mean of the data, and an encoder that can serve this end moves all
    its features the same way. A quantiser then sees the same vector everywhere: the tanh of finite scalars
    saturates, and the few entries of a codebook that lie in that direction take all vectors. Normalised
    features cannot move together (arXiv:2005.08520 §3).

    In training mode mean and variance are those of the batch, with their gradients, and of the examples of
    all processes that train together; otherwise they are running averages of these: plain ones over the first
    ten batches, and exponential ones after that. These also serve a batch of a single row, which has no
    variance.

    Parameters
    ----------
    layout : Layout
        Of the features.
    normalization : {"none", "batch"}
        With "batch" each number of a code has mean 0 and variance 1, or, of codes whose channels come first,
        as convolutional networks give them, each channel.

    Examples
    --------
    >>> vectors = CodeVectors(Layout((2, 1), channels_first=False), "batch")
    >>> vectors(torch.tensor([[3.0, 50.0], [5.0, 90.0]])).round(decimals=3).flatten().tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, layout: Layout, normalization: Normalization):
        super().__init__()
        self.layout = layout
        self.normalization = normalization
        if normalization == "batch":
            size = layout.length if layout.first else math.prod(layout.shape)
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("variance", torch.ones(size))
            self.register_buffer("batches", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features and return their vectors."""
        if self.normalization == "none":
            return self.layout.vectors(features)
        if self.layout.first:
            return self._normalized(self.layout.vectors(features).to(self.mean.dtype))
        return self.layout.vectors(self._normalized(features.flatten(1).to(self.mean.dtype)))

    def _normalized(self, rows: Tensor) -> Tensor:
        mean, variance = self._moments(rows) if self.training else (self.mean, self.variance)
        return (rows - mean) * torch.rsqrt(variance + _EPS)

    def _moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the rows of all processes, which the running averages follow."""
        count = sum_over_batch(rows.new_full((1,), float(len(rows))))
        mean = sum_over_batch(rows.sum(0)) / count
        variance = sum_over_batch((rows - mean).square().sum(0)) / count
        several = count > 1
        mean = torch.where(several, mean, self.mean)  # copies, so that the averages may move on
        variance = torch.where(several, variance, self.variance)
        with torch.no_grad():
            self.batches.add_(several[0])
            rate = (1 / self.batches).clamp(min=_RATE, max=1) * several
            self.mean.lerp_(mean, rate)
            self.variance.lerp_(variance * count / (count - 1).clamp(min=1), rate)
        return mean, variance

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"normalization={self.normalization!r}"

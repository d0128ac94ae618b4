"""Likelihoods in the data's own units, made from likelihoods of standardised data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.probability.parameters import Measure, sum_event


@dataclass(frozen=True)
class Standardized:
    """p(x|z) of data x whose standardised form (x − m)/s has the likelihood ``inner``.

    Attributes
    ----------
    inner : Likelihood
        Likelihood of standardised data, (..., *shape).
    location, spread : Tensor
        m and s, (*shape).
    event_dims : int
        Dimensions of one example.
    """

    inner: Any
    location: Tensor
    spread: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Mean in the data's units, (..., *shape)."""
        return self.location + self.spread * self.inner.mean

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of x (b, *shape) in the data's units: that of (x − m)/s, minus Σ log s (Jacobian)."""
        found: Tensor = self.inner.log_prob((x - self.location) / self.spread)
        return found - sum_event(self.spread.log(), self.event_dims)

    def sample(self) -> Tensor:
        """Draw one observation per code in the data's units, (..., *shape)."""
        drawn: Tensor = self.inner.sample()
        return self.location + self.spread * drawn


class StandardizedHead(nn.Module):
    """Wrapper of a likelihood's head that lets the networks work on standardised data.

    Means and standard deviations are saved with the weights. They are 0 and 1 until :meth:`fit` is called.

    Parameters
    ----------
    inner : nn.Module
        The head.
    shape : sequence of int
        Shape of one example.

    Examples
    --------
    >>> from elboroom.probability import GaussianHead
    >>> head = StandardizedHead(GaussianHead((2,), scale=1.0), (2,))
    >>> head.fit(torch.tensor([5.0, 0.0]), torch.tensor([10.0, 0.0]))
    >>> head(torch.zeros(1, 2)).mean.tolist()
    [[5.0, 0.0]]
    """

    def __init__(self, inner: nn.Module, shape: Sequence[int]):
        super().__init__()
        self.constant_buffers = ("location", "spread")  # known before the first step
        head: Any = inner
        self.inner = inner
        self.in_shape: tuple[int, ...] = tuple(head.in_shape)
        self.support: tuple[float, float] | None = None
        self.spacing: float | None = None
        self.measure: Measure | None = head.measure
        self.location: Tensor
        self.spread: Tensor
        self.register_buffer("location", torch.zeros(tuple(shape)))
        self.register_buffer("spread", torch.ones(tuple(shape)))
        self.fitted: Tensor
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Set means and standard deviations (*shape); a feature without variation is only centred."""
        self.location.copy_(mean)
        self.spread.copy_(torch.where(deviation > 0, deviation, 1.0))
        self.fitted.fill_(True)

    def standardize(self, x: Tensor) -> Tensor:
        """Data (..., *shape) in the units of the encoder."""
        return (x - self.location) / self.spread

    def forward(self, features: Tensor) -> Standardized:
        """p(x|z) of codes of any leading shape."""
        return Standardized(self.inner(features), self.location, self.spread, self.location.ndim)

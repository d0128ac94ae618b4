"""Bounds on log p(x), from the terms of one forward pass."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from elboroom.model import Terms

Bound = Callable[[Terms, Tensor], Tensor]


def elbo(terms: Terms, beta: Tensor) -> Tensor:
    """−(distortion + beta · rate), (b,), nats; a bound on log p(x) at beta = 1 (arXiv:1312.6114 eq. 3)."""
    return -(terms.distortion + beta * terms.rate)

"""What a decoder parametrises: p(x|z), and the heads that turn features into it.

A likelihood has ``mean`` (..., *shape), ``log_prob(x)`` summed over the data dimensions (nats, (...))
and ``sample()``. A head is a module with ``in_shape``, what the network must put out for one example,
and ``support``, the closed interval its data must lie in (None: any real number).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LOG_2PI = math.log(2 * math.pi)


class Likelihood(Protocol):
    """p(x|z) for codes of any leading shape."""

    @property
    def mean(self) -> Tensor:
        """The picture to show, (..., *shape)."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density or log-mass of x (b, *shape) in nats, summed over its dimensions: (..., b)."""
        ...

    def sample(self) -> Tensor:
        """Draw one observation per code, (..., *shape)."""
        ...


def _sum_event(values: Tensor, dims: int) -> Tensor:
    return values.flatten(-dims).sum(-1)


@dataclass(frozen=True)
class Bernoulli:
    """Independent coin flips, by their logits (..., *shape).

    For x strictly between 0 and 1 ``log_prob`` is the cross-entropy in common use, which ranks
    models but is not the log of a normalised density (arXiv:1907.06845); binarise for a true one.
    """

    logits: Tensor
    event_dims: int

    @property
    def mean(self) -> Tensor:
        """Probability of a one, (..., *shape)."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ x log μ + (1 − x) log(1 − μ) in nats, from the logits for precision."""
        cross_entropy = F.binary_cross_entropy_with_logits(
            self.logits, x.expand_as(self.logits), reduction="none"
        )
        return -_sum_event(cross_entropy, self.event_dims)

    def sample(self) -> Tensor:
        """Draw zeros and ones, (..., *shape)."""
        return torch.bernoulli(self.mean)


@dataclass(frozen=True)
class Gaussian:
    """Independent normals of mean (..., *shape) and one ``scale`` (standard deviation) for all."""

    mean: Tensor
    scale: Tensor
    event_dims: int

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ −½((x − μ)/σ)² − log σ − ½ log 2π, nats."""
        squares = _sum_event((x - self.mean).square(), self.event_dims)
        size = math.prod(self.mean.shape[-self.event_dims :])
        return -0.5 * squares / self.scale.square() - size * (self.scale.log() + 0.5 * _LOG_2PI)

    def sample(self) -> Tensor:
        """Mean plus noise, (..., *shape)."""
        return self.mean + self.scale * torch.randn_like(self.mean)


class BernoulliHead(nn.Module):
    """Features of the data's own shape, taken as logits → :class:`Bernoulli`."""

    support: tuple[float, float] | None = (0.0, 1.0)

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.in_shape = shape

    def forward(self, features: Tensor) -> Bernoulli:
        """Logits (..., *shape)."""
        return Bernoulli(features, len(self.in_shape))


class GaussianHead(nn.Module):
    """Features of the data's own shape, taken as means → :class:`Gaussian`.

    Parameters
    ----------
    shape : tuple of int
        Of one example.
    scale : float
        Standard deviation in the data's units, or where it starts from if learned. The default √½ makes
        the distortion the summed squared error plus a constant.
    learn_scale : bool
        Learn one scale for all dimensions (as its logarithm).
    mean : {"identity", "sigmoid"}
        "sigmoid" keeps means inside (0, 1), for pictures.
    """

    support: tuple[float, float] | None = None

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        scale: float = math.sqrt(0.5),
        learn_scale: bool = False,
        mean: Literal["identity", "sigmoid"] = "identity",
    ):
        super().__init__()
        self.in_shape = shape
        self.mean = mean
        log_scale = torch.tensor(math.log(scale))
        if learn_scale:
            self.log_scale: Tensor = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self, features: Tensor) -> Gaussian:
        """Means (..., *shape)."""
        mean = torch.sigmoid(features) if self.mean == "sigmoid" else features
        return Gaussian(mean, self.log_scale.exp(), len(self.in_shape))

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        learned = isinstance(self.log_scale, nn.Parameter)
        return f"scale={self.log_scale.exp().item():.4g}, learned={learned}, mean={self.mean!r}"

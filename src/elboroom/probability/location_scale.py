"""Likelihoods of real numbers with a location and a scale: Gaussian, Laplace, Student's t."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from elboroom.probability.parameters import (
    Measure,
    check_above,
    check_choice,
    event_size,
    polynomial,
    softplus_from,
    sum_event,
    widened,
)

LearnScale = Literal["none", "shared", "pixel", "optimal"]

_SPELLED_OUT: dict[Any, Any] = {False: "none", True: "shared"}
_LOG_2PI = math.log(2 * math.pi)
# The running scale averages over about this many recent batches.
_REMEMBERED_BATCHES = 100
_MIN_LEARNED_DF = 1.0
# log Γ(a + ½) − log Γ(a) − ½ log a in powers of 1/a², times a; within 5e-13 for a ≥ 8.
_HALF_STEP_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432)


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions with means (..., *shape).

    ``scale`` is the standard deviation: one for all, (), or one for each number, (..., *shape).
    """

    mean: Tensor
    scale: Tensor
    event_dims: int

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ −½((x − μ)/σ)² − log σ − ½ log 2π, nats."""
        size = event_size(self.mean, self.event_dims)
        if self.scale.ndim:
            squares = sum_event(((x - self.mean) / self.scale).square(), self.event_dims)
            return -0.5 * (squares + size * _LOG_2PI) - sum_event(self.scale.log(), self.event_dims)
        squares = sum_event((x - self.mean).square(), self.event_dims)
        return -0.5 * squares / self.scale.square() - size * (self.scale.log() + 0.5 * _LOG_2PI)

    def sample(self) -> Tensor:
        """Mean plus noise, (..., *shape)."""
        return self.mean + self.scale * torch.randn_like(self.mean)


@dataclass(frozen=True)
class OptimalGaussian:
    """A Gaussian in training, whose scale is the optimal one of the batch it scores (arXiv:2006.13202).

    Attributes
    ----------
    mean : Tensor
        (..., *shape).
    scale : Tensor
        The running standard deviation (), for samples.
    event_dims : int
        Dimensions of one example.
    observe : callable
        Takes the mean squared error (), returns the optimal standard deviation, and updates the running one.
    """

    mean: Tensor
    scale: Tensor
    event_dims: int
    observe: Callable[[Tensor], Tensor]

    def log_prob(self, x: Tensor) -> Tensor:
        """As :meth:`Gaussian.log_prob` at σ*, the root of the mean squared error over all that is scored.

        The mean is over samples, examples and dimensions. σ* is a constant to the gradient, which is exact
        all the same: the derivative of the ELBO with respect to σ vanishes at σ*.
        """
        with torch.no_grad():
            best = self.observe((x - self.mean).square().mean())
        return Gaussian(self.mean, best, self.event_dims).log_prob(x)

    def sample(self) -> Tensor:
        """Mean plus noise with the running scale, (..., *shape)."""
        return Gaussian(self.mean, self.scale, self.event_dims).sample()


@dataclass(frozen=True)
class Laplace:
    """Independent Laplace distributions with means (..., *shape) and ``scale`` b, () or (..., *shape)."""

    mean: Tensor
    scale: Tensor
    event_dims: int

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ −|x − μ|/b − log 2b, nats."""
        return -sum_event((x - self.mean).abs() / self.scale + (2 * self.scale).log(), self.event_dims)

    def sample(self) -> Tensor:
        """Mean plus noise, (..., *shape)."""
        return torch.distributions.Laplace(self.mean, self.scale, validate_args=False).sample()


@dataclass(frozen=True)
class StudentT:
    """Independent Student's t: location (..., *shape), ``scale`` σ, () or (..., *shape), ``df`` ν, ().

    ``mean`` is the location: always the median, and the mean if ν > 1. The standard deviation is
    σ √(ν/(ν − 2)) if ν > 2.
    """

    mean: Tensor
    scale: Tensor
    df: Tensor
    event_dims: int

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ log Γ((ν+1)/2) − log Γ(ν/2) − ½ log πν − log σ − ½(ν+1) log(1 + ((x − μ)/σ)²/ν), nats."""
        size = event_size(self.mean, self.event_dims)
        tails = 0.5 * (self.df + 1) * torch.log1p(((x - self.mean) / self.scale).square() / self.df)
        constant = _log_half_step(0.5 * self.df) - 0.5 * math.log(2 * math.pi)
        return size * constant - sum_event(tails + self.scale.log(), self.event_dims)

    def sample(self) -> Tensor:
        """Location plus noise, (..., *shape)."""
        return torch.distributions.StudentT(self.df, self.mean, self.scale, validate_args=False).sample()


def _log_half_step(a: Tensor) -> Tensor:
    """Return log Γ(a + ½) − log Γ(a) − ½ log a, by a series for large a, where the terms cancel."""
    large = a >= 8
    far, near = torch.where(large, a, 8.0), torch.where(large, 8.0, a)
    exact = torch.lgamma(near + 0.5) - torch.lgamma(near) - 0.5 * near.log()
    return torch.where(large, polynomial(far.square().reciprocal(), _HALF_STEP_SERIES) / far, exact)


class _LocationScaleHead(nn.Module):
    """How the heads below compute mean and scale; :class:`GaussianHead` explains the options."""

    support: tuple[float, float] | None = None
    spacing: float | None = None
    measure: Measure | None = "density"
    learn_scales: tuple[LearnScale, ...] = ("none", "shared", "pixel")
    log_scale: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        scale: float = math.sqrt(0.5),
        learn_scale: LearnScale | bool = "none",
        mean: Literal["identity", "sigmoid"] = "identity",
        min_scale: float = 1e-3,
    ):
        super().__init__()
        check_choice("mean", mean, ("identity", "sigmoid"))
        check_above("min_scale", min_scale, 0)
        self.learn_scale: LearnScale = _SPELLED_OUT.get(learn_scale, learn_scale)
        check_choice("learn_scale", self.learn_scale, self.learn_scales)
        per_pixel = self.learn_scale == "pixel"
        check_above("scale", scale, min_scale if per_pixel else 0)
        self.event_dims = len(shape)
        self.in_shape = widened(shape, 2) if per_pixel else shape
        self.mean = mean
        self.start = scale
        self.min_scale = min_scale
        if not per_pixel:
            log_scale = torch.tensor(math.log(scale))
            if self.learn_scale == "shared":
                self.log_scale = nn.Parameter(log_scale)
            else:
                self.register_buffer("log_scale", log_scale)
        self.constant_buffers = () if self.learn_scale == "optimal" else ("log_scale",)
        if self.learn_scale == "optimal":
            self.register_buffer("batches_seen", torch.zeros(()))

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (..., *shape) and scale, () or (..., *shape), from features (..., *in_shape)."""
        if self.learn_scale == "pixel":
            features, raw = features.chunk(2, dim=-1)
            scale = softplus_from(raw, self.start, self.min_scale)
        else:
            scale = self.log_scale.exp()
        return torch.sigmoid(features) if self.mean == "sigmoid" else features, scale

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        scale = self.start if self.learn_scale == "pixel" else self.log_scale.exp().item()
        return f"scale={scale:.4g}, learn_scale={self.learn_scale!r}, mean={self.mean!r}"


class GaussianHead(_LocationScaleHead):
    """Features of the data's shape, as means → :class:`Gaussian`.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    scale : float
        Standard deviation in the data's units, or its initial value if learned. With the default √½ the
        distortion is the summed squared error plus a constant.
    learn_scale : {"none", "shared", "pixel", "optimal"}
        "none": fixed. "shared": one for all dimensions, learned (as its logarithm). "pixel": the network
        gives one for each number, after the means along the last axis; an output of 0 means ``scale``.
        "optimal": in training the root mean squared error of the batch, which is the maximum-likelihood scale
        (arXiv:2006.13202); in evaluation mode its running mean, so that an example's score depends on no
        other example. False and True mean "none" and "shared".
    mean : {"identity", "sigmoid"}
        "sigmoid" keeps means inside (0, 1), for images.
    min_scale : float
        Lower bound of "pixel" and "optimal" scales, without which a perfectly predicted pixel would have
        infinite density.

    Attributes
    ----------
    log_scale : Tensor
        Logarithm of the single scale, (): a parameter if "shared", otherwise a buffer; absent if "pixel".

    Raises
    ------
    UsageError
        If an option is not one of those listed, or a scale is not above its bound.

    Examples
    --------
    >>> GaussianHead((28, 28, 1), learn_scale="pixel").in_shape
    (28, 28, 2)
    """

    learn_scales = ("none", "shared", "pixel", "optimal")
    batches_seen: Tensor

    def forward(self, features: Tensor) -> Gaussian | OptimalGaussian:
        """Means (..., *shape), from features (..., *in_shape)."""
        mean, scale = self.read(features)
        if self.learn_scale == "optimal" and self.training:
            return OptimalGaussian(mean, scale, self.event_dims, self._observe)
        return Gaussian(mean, scale, self.event_dims)

    def _observe(self, squared_error: Tensor) -> Tensor:
        """Root of a batch's mean squared error; updates the running one, on the device."""
        best = squared_error.sqrt().clamp(min=self.min_scale)
        # A plain mean of the first batches, then an exponential one; both are of variances.
        weight = (self.batches_seen + 1).reciprocal().clamp(min=1 / _REMEMBERED_BATCHES)
        running = torch.lerp((2 * self.log_scale).exp(), best.square().to(self.log_scale), weight)
        self.log_scale.copy_(0.5 * running.log())
        self.batches_seen += 1
        return best


class LaplaceHead(_LocationScaleHead):
    """Features of the data's shape, as means → :class:`Laplace`.

    Options are those of :class:`GaussianHead` except "optimal". ``scale`` is b; the standard deviation is √2
    b.
    """

    def forward(self, features: Tensor) -> Laplace:
        """Means (..., *shape), from features (..., *in_shape)."""
        return Laplace(*self.read(features), self.event_dims)


class StudentTHead(_LocationScaleHead):
    """Features of the data's shape, as locations → :class:`StudentT`.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example.
    df : float
        Degrees of freedom ν, above 0 (1 is the Cauchy, ∞ the Gaussian), or their initial value if learned.
    learn_df : bool
        Learn one ν for all dimensions. It stays above 1, where the location is the mean.
    **options
        Those of :class:`GaussianHead` except "optimal".

    Raises
    ------
    UsageError
        If ``df`` is not above 0, or not above 1 if learned; and as :class:`GaussianHead`.
    """

    def __init__(self, shape: tuple[int, ...], *, df: float = 4.0, learn_df: bool = False, **options: Any):
        super().__init__(shape, **options)
        check_above("df", df, _MIN_LEARNED_DF if learn_df else 0)
        self.df = df
        self.raw_df = nn.Parameter(torch.zeros(())) if learn_df else None

    def forward(self, features: Tensor) -> StudentT:
        """Locations (..., *shape), from features (..., *in_shape)."""
        mean, scale = self.read(features)
        if self.raw_df is None:
            df = torch.full((), self.df, dtype=mean.dtype, device=mean.device)
        else:
            df = softplus_from(self.raw_df, self.df, _MIN_LEARNED_DF)
        return StudentT(mean, scale, df, self.event_dims)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"df={self.df:g}, learn_df={self.raw_df is not None}, {super().extra_repr()}"

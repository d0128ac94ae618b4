"""Posteriors q(z|x), and the heads that turn an encoder's features into them.

A posterior of b examples has ``mean`` (b, d), the code of each, and ``rsample_and_log_prob(k)``: k samples
z (k, b, d), differentiable in the parameters, with their log-densities (k, b) in nats. If the density of
any z is cheap it also has ``log_prob(z)``, and if it factorises ``marginal_log_prob(z)``.
A head is a module with ``in_shape`` (shape of the network's output for one example), ``latent_dim``, and
``makes``, the class of its posteriors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.distributed.noise import normal
from elboroom.errors import UsageError

LOG_2PI = math.log(2 * math.pi)
_SHIFT = 1e-6
Scale = Literal["softplus", "exp"]
Q = TypeVar("Q", bound=Any)


class Posterior(Protocol):
    """q(z|x) for a batch of b examples."""

    @property
    def mean(self) -> Tensor:
        """The code of each example, (b, d)."""
        ...

    @property
    def stochastic(self) -> bool:
        """False if all samples equal the mean, so that there is no density and no estimate of log p(x)."""
        ...

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d), differentiably, and its log-density (k, b) in nats."""
        ...

    def detached(self) -> Self:
        """The same posterior with its parameters detached from the graph."""
        ...


def rows(posterior: Q, index: Tensor) -> Q:
    """Posteriors of the examples ``index`` (n,) of a batch, which may repeat.

    Examples
    --------
    >>> q = DiagonalGaussian(torch.tensor([[1.0], [2.0]]), torch.ones(2, 1))
    >>> rows(q, torch.tensor([1, 1, 0])).mean.tolist()
    [[2.0], [2.0], [1.0]]
    """
    return changed(posterior, lambda parameter: parameter[index])


def changed(posterior: Q, change: Callable[[Tensor], Tensor]) -> Q:
    """Copy of a posterior with ``change`` applied to all its tensors."""
    values = {field.name: getattr(posterior, field.name) for field in fields(posterior)}
    return replace(posterior, **{name: change(v) for name, v in values.items() if isinstance(v, Tensor)})


def noise_like(mean: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Standard normal noise (k, b, d) and its log-density (k, b)."""
    noise = normal(num_samples, *mean.shape, batch_dim=1, like=mean)
    return noise, -0.5 * (noise.square() + LOG_2PI).sum(-1)


def positive_scale(raw: Tensor, scale: Scale, min_scale: float) -> Tensor:
    """σ = softplus(raw), or exp(raw / 2) if raw is a log-variance; ``min_scale`` keeps log σ finite."""
    return (F.softplus(raw) if scale == "softplus" else torch.exp(0.5 * raw)) + min_scale


def at_least(name: str, value: int, least: int) -> None:
    """Refuse a number below ``least``.

    Raises
    ------
    UsageError
        With its name, its value and what is allowed.
    """
    if value < least:
        raise UsageError(f"{name} = {value}: at least {least} is needed")


def unit_vector(raw: Tensor) -> Tensor:
    """Directions of vectors (..., d); a vector of length zero points along the first axis."""
    # A shift far below the size of any feature, without a branch, keeps the gradient finite at zero.
    shifted = torch.cat([raw[..., :1] + _SHIFT, raw[..., 1:]], -1)
    return shifted / torch.linalg.vector_norm(shifted, dim=-1, keepdim=True).clamp_min(_SHIFT * 1e-3)


@dataclass(frozen=True)
class DiagonalGaussian:
    """Independent normals, one per latent dimension.

    Parameters
    ----------
    mean, scale : Tensor
        Both (b, d); ``scale`` is the standard deviation, > 0.
    """

    stochastic: ClassVar[bool] = True
    mean: Tensor
    scale: Tensor

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, (b, d)."""
        return self.scale.square()

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw by reparametrisation (arXiv:1312.6114 §2.4) and share the noise with the density.

        Returns
        -------
        z : Tensor
            (k, b, d).
        log_q : Tensor
            (k, b), nats.
        """
        noise, log_noise = noise_like(self.mean, num_samples)
        return torch.addcmul(self.mean, self.scale, noise), log_noise - self.scale.log().sum(-1)

    def rsample(self, num_samples: int) -> Tensor:
        """Draw the same codes (k, b, d) without their density."""
        noise = normal(num_samples, *self.mean.shape, batch_dim=1, like=self.mean)
        return torch.addcmul(self.mean, self.scale, noise)

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each dimension of z (..., b, d) in nats, (..., b, d).

        For every code under every posterior, (n, b, d), give z[:, None] of shape (n, 1, d).
        """
        standardised = (z - self.mean) / self.scale
        return -0.5 * (standardised.square() + LOG_2PI) - self.scale.log()

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., b, d) in nats, (..., b)."""
        standardised = (z - self.mean) / self.scale
        return -0.5 * (standardised.square() + LOG_2PI).sum(-1) - self.scale.log().sum(-1)

    def detached(self) -> Self:
        """The same posterior with its parameters detached from the graph."""
        return changed(self, Tensor.detach)


@dataclass(frozen=True)
class Deterministic:
    """A point: z = mean, always (arXiv:1903.12436).

    It has no density: ``log_q`` and the rate are 0 by convention, and the ELBO is only −distortion. The
    objective needs a penalty on the code to keep it near the prior.

    Parameters
    ----------
    mean : Tensor
        (b, d).
    """

    stochastic: ClassVar[bool] = False
    mean: Tensor

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Repeat the code k times, (k, b, d), with zeros (k, b)."""
        z = self.mean.expand(num_samples, *self.mean.shape)
        return z, self.mean.new_zeros(z.shape[:-1])

    def detached(self) -> Self:
        """The same posterior with its code detached from the graph."""
        return changed(self, Tensor.detach)


class DiagonalGaussianHead(nn.Module):
    """Features (b, 2d) → :class:`DiagonalGaussian`; the first d are the mean, the rest the raw scale.

    Parameters
    ----------
    latent_dim : int
        d.
    scale : {"softplus", "exp"}
        σ = softplus(raw), or σ = exp(raw / 2), where raw is the log-variance.
    min_scale : float
        Added to σ so that its logarithm stays finite.
    """

    makes = DiagonalGaussian

    def __init__(self, latent_dim: int, *, scale: Scale = "softplus", min_scale: float = 1e-6):
        super().__init__()
        self.latent_dim = latent_dim
        self.scale: Scale = scale
        self.min_scale = min_scale
        self.in_shape: tuple[int, ...] = (2 * latent_dim,)

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """Split the features (b, 2d) into mean and scale."""
        mean, raw = features.chunk(2, dim=-1)
        return DiagonalGaussian(mean, positive_scale(raw, self.scale, self.min_scale))

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}, scale={self.scale!r}, min_scale={self.min_scale}"


class DeterministicHead(nn.Module):
    """Features (b, d), which are the code → :class:`Deterministic`.

    Parameters
    ----------
    latent_dim : int
        d.
    """

    makes = Deterministic

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.in_shape: tuple[int, ...] = (latent_dim,)

    def forward(self, features: Tensor) -> Deterministic:
        """Take the features as they are."""
        return Deterministic(features)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"

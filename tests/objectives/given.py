"""Models whose codes and pictures are given, so that what an objective makes of them is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussian, DiagonalGaussianHead, GaussianHead, StandardNormal

# float64 rounds at 1.1e-16 relative; the sums here have up to a few hundred terms and logarithms of sums:
# 1e-12 relative is that with two digits to spare.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-12}
ONE = torch.tensor(1.0, dtype=torch.float64)


class Given(nn.Module):
    """An encoder that puts out its own parameters (n, m), whatever it is shown."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.features = nn.Parameter(features)

    def forward(self, _x: Tensor) -> Tensor:
        return self.features


class WithLogProb(StandardNormal):
    """A normal prior with a mean to learn, so that generative gradients reach a prior as well."""

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)
        self.mean = nn.Parameter(torch.full((latent_dim,), 0.3))

    def log_prob(self, z: Tensor) -> Tensor:
        return super().log_prob(z - self.mean)


class LinearGaussian:
    """x = W z + σ noise with one x observed: log p(x) and the posterior are known exactly."""

    def __init__(self) -> None:
        directions, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 2)))
        self.weight, self.sigma = directions * [2.0, 0.7], 0.6
        covariance = self.weight @ self.weight.T + self.sigma**2 * np.eye(6)
        marginal = stats.multivariate_normal(np.zeros(6), covariance)
        self.x = marginal.rvs(random_state=5)
        self.evidence = float(marginal.logpdf(self.x))
        # W's columns are orthogonal, so that the posterior's covariance is diagonal
        self.scale = (1 + (self.weight**2).sum(0) / self.sigma**2) ** -0.5
        self.mean = self.x @ self.weight / self.sigma**2 * self.scale**2

    def copies(self, n: int) -> Tensor:
        """The same example n times: independent estimates of everything about it."""
        return torch.from_numpy(np.tile(self.x, (n, 1)))

    def vae(self, n: int, *, shift: float = 0.0, widen: float = 1.0) -> VAE:
        """Model of n copies; its posterior is exact, or moved by ``shift`` and ``widen`` times as wide."""
        decoder = nn.Linear(2, 6, bias=False)
        with torch.no_grad():
            decoder.weight.copy_(torch.from_numpy(self.weight))
        raw = np.log(np.expm1(widen * self.scale - 1e-6))  # what the head's softplus + 1e-6 undoes
        features = torch.from_numpy(np.concatenate([self.mean + shift, raw]))
        head, likelihood = DiagonalGaussianHead(2), GaussianHead((6,), scale=self.sigma)
        return VAE(
            Given(features.repeat(n, 1)),
            decoder,
            StandardNormal(2),
            shape=(6,),
            posterior=head,
            likelihood=likelihood,
        )


@dataclass
class Deterministic:
    """Codes without noise."""

    mean: Tensor
    stochastic: bool = False


def terms_of(posterior: Any, num_samples: int = 1, *, decoder: nn.Module | None = None) -> Terms:
    """One forward pass from a posterior on: x is zero, and the decoder the identity if not given."""
    b, d = posterior.mean.shape
    shape = (d,) if decoder is None else tuple(decoder(torch.zeros(1, d)).shape[1:])
    vae = VAE(
        nn.Identity(),
        decoder or nn.Identity(),
        StandardNormal(d),
        shape=shape,
        posterior=nn.Identity(),
        likelihood=GaussianHead(shape),
    )
    vae.infer = lambda _x, _condition=None: posterior  # type: ignore[method-assign]
    terms: Terms = vae(torch.zeros(b, *shape), num_samples)
    return terms


def gaussian(b: int, d: int, *, spread: float = 1.0, scale: float = 0.5) -> DiagonalGaussian:
    """Posterior of b examples: means of that spread, scales around ``scale``, to differentiate."""
    mean, log_scale = torch.randn(b, d) * spread, 0.2 * torch.randn(b, d)
    return DiagonalGaussian(mean.requires_grad_(), (scale * log_scale.exp()).requires_grad_())


def gradients(value: Callable[[], Tensor], *parameters: Tensor) -> list[Tensor]:
    """Gradients of a scalar with the same noise at every call, 0 where it does not depend."""
    torch.manual_seed(7)
    found = torch.autograd.grad(value(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def assert_equal(actual: Any, expected: Any, **tolerance: float) -> None:
    """Compare numbers of any library: exactly, or within a tolerance."""
    actual, expected = (
        v.detach().double().numpy() if isinstance(v, Tensor) else np.asarray(v, dtype=float)
        for v in (actual, expected)
    )
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, **{"rtol": 0, "atol": 0, **tolerance})


def assert_mean(draws: Tensor, expected: Any) -> None:
    """Compare the mean of independent draws (n, ...) with its exact value: five standard errors and rounding.

    Chance exceeds that once in 1.7 million comparisons, and seeds are fixed.
    """
    error = draws.std(0) / len(draws) ** 0.5
    off = (draws.mean(0) - torch.as_tensor(expected)).abs()
    assert (off <= 5 * error + 1e-12).all(), f"off by {(off / error).max():.1f} standard errors"

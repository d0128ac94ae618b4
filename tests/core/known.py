"""What the known-answer tests measure with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal

# float64 rounds at 1.1e-16 relative; the sums here have up to a few hundred terms of size up to 100,
# and logarithms of sums: 1e-12 relative is that with two digits to spare.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-12}
# float32 rounds at 6e-8 relative; the same two digits of room.
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}


def assert_equal(actual: Any, expected: Any, **tolerance: float) -> None:
    """Compare numbers of any library: exactly, or within a tolerance."""
    actual, expected = (
        v.detach().double().numpy() if isinstance(v, Tensor) else np.asarray(v, dtype=float)
        for v in (actual, expected)
    )
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, **{"rtol": 0, "atol": 0, **tolerance})


def assert_mean(draws: Tensor, expected: Any, standard_errors: float = 5.0) -> None:
    """Compare the mean of independent draws (n, ...) with its exact value.

    Five standard errors are passed by chance once in 1.7 million comparisons, and seeds are fixed.
    """
    error = draws.std(0) / len(draws) ** 0.5
    off = (draws.mean(0) - torch.as_tensor(expected)).abs()
    assert (off <= standard_errors * error).all(), f"off by {(off / error).max():.1f} standard errors"


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + b + σ noise: everything about it is known exactly. W (D, d) has orthogonal columns."""

    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    sigma: float

    @classmethod
    def example(cls) -> LinearGaussian:
        rng = np.random.default_rng(3)
        directions, _ = np.linalg.qr(rng.normal(size=(6, 2)))
        return cls(directions * [2.0, 0.7], rng.normal(size=6), 0.6)

    @cached_property
    def marginal(self) -> Any:
        """p(x) = N(b, WWᵀ + σ²I)."""
        covariance = self.weight @ self.weight.T + self.sigma**2 * np.eye(len(self.bias))
        return stats.multivariate_normal(self.bias, covariance)

    @cached_property
    def posterior_scale(self) -> np.ndarray[Any, Any]:
        """Standard deviation of p(z|x), (d,), the same for every x; its covariance is diagonal as WᵀW is."""
        return (1 + (self.weight**2).sum(0) / self.sigma**2) ** -0.5

    def posterior_mean(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Of p(z|x), (b, d)."""
        return (x - self.bias) @ self.weight / self.sigma**2 * self.posterior_scale**2

    def observe(self, n: int) -> np.ndarray[Any, Any]:
        """Draw examples (n, D)."""
        return np.reshape(self.marginal.rvs(n, random_state=5), (n, -1))

    def vae(self, *, shift: float = 0.0, widen: float = 1.0) -> VAE:
        """Return this as a VAE; its posterior is exact, or moved by ``shift`` and ``widen`` times as wide."""
        D, d = self.weight.shape
        encoder, decoder = nn.Linear(D, 2 * d), nn.Linear(d, D)
        to_code = (self.weight / self.sigma**2 * self.posterior_scale**2).T
        raw_scale = np.log(
            np.expm1(widen * self.posterior_scale - 1e-6)
        )  # what the head's softplus + 1e-6 undoes
        with torch.no_grad():
            encoder.weight.copy_(torch.from_numpy(np.concatenate([to_code, np.zeros((d, D))])))
            encoder.bias.copy_(torch.from_numpy(np.concatenate([shift - to_code @ self.bias, raw_scale])))
            decoder.weight.copy_(torch.from_numpy(self.weight))
            decoder.bias.copy_(torch.from_numpy(self.bias))
        return VAE(
            encoder,
            decoder,
            StandardNormal(d),
            shape=(D,),
            posterior=DiagonalGaussianHead(d),
            likelihood=GaussianHead((D,), scale=self.sigma),
        )

"""Scores beside the exact log-likelihood of a linear-Gaussian model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from elboroom import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal
from elboroom.sklearn import VAETransformer

WEIGHT, BIAS, SIGMA = np.array([[2.0, 0.0], [0.0, 0.7], [1.0, 0.0]]), np.array([1.0, -2.0, 30.0]), 0.6


def linear(widen: float) -> VAE:
    """x = W z + b + σ noise, with the exact posterior or one ``widen`` times as wide."""
    scale = (1 + (WEIGHT**2).sum(0) / SIGMA**2) ** -0.5
    to_code = (WEIGHT / SIGMA**2 * scale**2).T
    encoder, decoder = nn.Linear(3, 4, dtype=torch.float64), nn.Linear(2, 3, dtype=torch.float64)
    raw = np.log(np.expm1(widen * scale - 1e-6))  # what the head's softplus + 1e-6 undoes
    values = (np.vstack([to_code, np.zeros((2, 3))]), np.r_[-to_code @ BIAS, raw], WEIGHT, BIAS)
    with torch.no_grad():
        for parameter, value in zip([*encoder.parameters(), *decoder.parameters()], values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    heads = {"posterior": DiagonalGaussianHead(2), "likelihood": GaussianHead((3,), scale=SIGMA)}
    return VAE(encoder, decoder, StandardNormal(2), shape=(3,), **heads).double()


@pytest.mark.parametrize(("widen", "draws", "tolerance"), [(1.0, 2, 1e-5), (1.3, 4000, 0.05)])
def test_scores_are_exact_log_likelihoods(widen: float, draws: int, tolerance: float) -> None:
    """With the exact posterior every weight is p(x); with a wider one they average to it (ESS about 60 %).

    The head keeps log σ in float32, and a score has a square of size up to 100 in units of σ².
    """
    marginal = stats.multivariate_normal(BIAS, WEIGHT @ WEIGHT.T + SIGMA**2 * np.eye(3))
    x = marginal.rvs(50, random_state=5)
    model = VAETransformer(epochs=1, importance_samples=draws, random_state=0).fit(x)
    model.vae_ = linear(widen)
    np.testing.assert_allclose(model.score_samples(x), marginal.logpdf(x), atol=tolerance)
    assert model.score(x) == pytest.approx(marginal.logpdf(x).mean(), abs=tolerance)

"""Models of tables whose conditional distributions are known: linear-Gaussian, and of a few categories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elboroom.config.columns import Column
from elboroom.models.vae import VAE

# Standardising is undone by the likelihood: locations and scales are not 0 and 1, and exact in float32.
COLUMNS = (
    Column(name="a", kind="real", location=40.0, scale=8.0),
    Column(name="b", kind="real", location=-3.0, scale=0.25),
    Column(name="c", kind="real", location=0.5, scale=2.0),
    Column(name="d", kind="real", location=1000.0, scale=128.0),
)
LOADINGS = torch.tensor([[1.0, 0.5], [-0.8, 0.3], [0.2, 1.1], [0.7, -0.9]], dtype=torch.float64)
BIAS = torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64)
NOISE = torch.tensor([0.5, 0.4, 0.7, 0.3], dtype=torch.float64)


class ExactEncoder(nn.Module):
    """p(z|x_obs) of a linear-Gaussian model as the features of a Gaussian posterior with full covariance.

    ``widening`` multiplies the scales: above 1, q is no longer exact.
    """

    def __init__(self, widening: float = 1.0):
        super().__init__()
        self.widening = widening

    def forward(self, seen: Tensor) -> Tensor:
        x, missing = seen.chunk(2, -1)
        known = 1 - missing
        precision = known / NOISE.square()
        information = torch.eye(2, dtype=seen.dtype) + torch.einsum(
            "bj,ji,jk->bik", precision, LOADINGS, LOADINGS
        )
        covariance = torch.linalg.inv(information)
        gap = (x - BIAS) * precision
        mean = torch.einsum("bik,jk,bj->bi", covariance, LOADINGS, gap)
        factor = torch.linalg.cholesky(covariance)
        scale = factor.diagonal(dim1=-2, dim2=-1)
        mixing = factor[:, 1, 0] / scale[:, 0]
        raw = torch.log(torch.expm1(scale * self.widening - 1e-6))
        return torch.cat([mean, raw, mixing[:, None]], -1)


def linear_gaussian(widening: float = 1.0, columns: tuple[Column, ...] = COLUMNS, **options: Any) -> VAE:
    """Build x = location + scale · (LOADINGS z + BIAS + NOISE ε), z ~ N(0, I), in float64."""
    options |= {"posterior": "full", "likelihood": "mixed", "columns": columns}
    vae = VAE.build(shape=(4,), latent_dim=2, hidden=(), **options)
    vae = vae.double()
    vae.encoder = ExactEncoder(widening)
    layer: Any = vae.decoder[-1]
    # softplus(raw + log(e^(1 − 1e-3) − 1)) + 1e-3 is the scale of the standardised number.
    raw = torch.log(torch.expm1(NOISE - 1e-3)) - math.log(math.expm1(1 - 1e-3))
    with torch.no_grad():
        layer.weight.copy_(torch.cat([LOADINGS, torch.zeros_like(LOADINGS)]))
        layer.bias.copy_(torch.cat([BIAS, raw]))
    return vae


def moments() -> tuple[Any, Any]:
    """Mean (4,) and covariance (4, 4) of x in its own units."""
    location = np.array([c.location for c in COLUMNS])
    scale = np.array([c.scale for c in COLUMNS])
    loadings = LOADINGS.numpy()
    covariance = loadings @ loadings.T + np.diag(NOISE.numpy() ** 2)
    return location + scale * BIAS.numpy(), scale[:, None] * covariance * scale


def conditional(x: Any) -> tuple[Any, Any]:
    """Mean and covariance of the missing cells of one row (4,) given the observed ones."""
    mean, covariance = moments()
    hole = np.isnan(x)
    if hole.all():
        return mean, covariance
    gain = covariance[np.ix_(hole, ~hole)] @ np.linalg.inv(covariance[np.ix_(~hole, ~hole)])
    rest = covariance[np.ix_(hole, hole)] - gain @ covariance[np.ix_(~hole, hole)]
    return mean[hole] + gain @ (x[~hole] - mean[~hole]), rest


def draw(n: int, seed: int = 0) -> Any:
    """Draw n complete rows, (n, 4)."""
    mean, covariance = moments()
    return np.random.default_rng(seed).multivariate_normal(mean, covariance, n)


# A hidden state 0 to 3 with probability ¼ each, the quadrant of z; given it the columns are independent.
STATE_COLUMNS = (
    Column(name="job", kind="category", categories=("cook", "nurse", "smith")),
    Column(name="pay", kind="real", location=50.0, scale=16.0),
    Column(name="smokes", kind="boolean", categories=("no", "yes")),
    Column(name="town", kind="category", categories=("a", "b")),
)
JOB = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]])
SMOKES = np.array([0.9, 0.2, 0.6, 0.3])
TOWN = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1], [0.4, 0.6]])
PAY, PAY_NOISE = np.array([-1.5, -0.5, 0.5, 1.5]), 0.4  # of the standardised number


class StateDecoder(nn.Module):
    """Codes (n, 2) → features of the four columns, which depend on the quadrant alone."""

    def __init__(self) -> None:
        super().__init__()
        raw = math.log(math.expm1(PAY_NOISE - 1e-3)) - math.log(math.expm1(1 - 1e-3))
        spread = np.full(4, raw)
        logit = np.log(SMOKES / (1 - SMOKES))
        # Families in the order in which their first columns come: categories, numbers, booleans.
        parts = [np.log(JOB), np.log(TOWN), PAY[:, None], spread[:, None], logit[:, None]]
        self.features = nn.Parameter(torch.from_numpy(np.concatenate(parts, 1)))

    def forward(self, z: Tensor) -> Tensor:
        quadrant = 2 * (z[:, 0] > 0).long() + (z[:, 1] > 0).long()
        return self.features[quadrant]


class PriorEncoder(nn.Module):
    """q(z|x) = N(0, I) whatever x is."""

    def forward(self, seen: Tensor) -> Tensor:
        raw = math.log(math.expm1(1 - 1e-6))
        return seen.new_tensor([0.0, 0.0, raw, raw]).expand(len(seen), 4)


def hidden_states(**options: Any) -> VAE:
    """Build the model of a hidden state, in float64."""
    options |= {"likelihood": "mixed", "columns": STATE_COLUMNS}
    vae = VAE.build(shape=(4,), latent_dim=2, hidden=(4,), **options)
    vae = vae.double()
    vae.encoder, vae.decoder = PriorEncoder(), StateDecoder()
    return vae


def state_given(row: Any) -> Any:
    """p(state|observed cells) of one row (4,)."""
    p = np.full(4, 0.25)
    job, pay, smokes, town = row
    if not np.isnan(job):
        p = p * JOB[:, int(job)]
    if not np.isnan(pay):
        p = p * np.exp(-0.5 * (((pay - 50) / 16 - PAY) / PAY_NOISE) ** 2)
    if not np.isnan(smokes):
        p = p * (SMOKES if smokes else 1 - SMOKES)
    if not np.isnan(town):
        p = p * TOWN[:, int(town)]
    return p / p.sum()

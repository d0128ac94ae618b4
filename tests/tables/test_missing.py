"""Missing cells: bounds and imputations against exact marginals and conditionals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from elboroom.tables import impute

from .exact import COLUMNS, NOISE, conditional, draw, linear_gaussian, moments

PATTERNS = np.array(list(itertools.product([False, True], repeat=4)))  # True where missing


def _every_pattern(seed: int = 0) -> Any:
    """One row of each of the 16 patterns, (16, 4)."""
    return np.where(PATTERNS, np.nan, draw(16, seed))


def _exact_nll(rows: Any) -> Any:
    mean, covariance = moments()
    found = []
    for row in rows:
        known = ~np.isnan(row)
        normal = (
            stats.multivariate_normal(mean[known], covariance[np.ix_(known, known)]) if known.any() else None
        )
        found.append(-normal.logpdf(row[known]) if normal else 0.0)
    return np.array(found)


def test_the_elbo_of_the_exact_posterior_is_the_marginal_of_the_observed_cells() -> None:
    rows = _every_pattern()
    vae = linear_gaussian()
    exact = _exact_nll(rows)
    # Each single weight equals p(x_obs), so that any number of samples is exact.
    for k in (2, 50):
        nll = vae.nll(rows, k)
        np.testing.assert_allclose(nll.value, exact, atol=1e-5)
    torch.manual_seed(0)
    x = torch.from_numpy(rows)
    terms = vae(x, 3)
    np.testing.assert_allclose(terms.log_weights.detach(), np.broadcast_to(-exact, (3, 16)), atol=1e-5)


def test_the_elbo_in_closed_form_is_the_marginal_of_the_observed_cells() -> None:
    """With the rate in closed form only the distortion is estimated: its exact mean is known as well."""
    rows = _every_pattern(1)
    vae = linear_gaussian()
    q = vae.encode(rows)
    weights = vae.decoder[-1].weight[:4], vae.decoder[-1].bias[:4]
    x = vae.likelihood.standardize(torch.from_numpy(rows))[:, :4]

    mean = q.mean @ weights[0].T + weights[1]
    variance = torch.einsum("ji,bik,jk->bj", weights[0], q.covariance, weights[0])
    spread = torch.tensor([c.scale for c in COLUMNS]).double()
    each = 0.5 * ((x - mean).square() + variance) / NOISE.square() + (NOISE * spread).log()
    each = each + 0.5 * np.log(2 * np.pi)
    distortion = torch.where(torch.from_numpy(rows).isnan(), 0.0, each).sum(-1)
    identity = torch.eye(2).double()
    rate = torch.stack(
        [
            torch.distributions.kl_divergence(
                torch.distributions.MultivariateNormal(m, c),
                torch.distributions.MultivariateNormal(torch.zeros(2).double(), identity),
            )
            for m, c in zip(q.mean, q.covariance, strict=True)
        ]
    )
    np.testing.assert_allclose((distortion + rate).detach(), _exact_nll(rows), atol=1e-5)


def test_importance_samples_of_an_inexact_posterior_converge_to_the_marginal() -> None:
    rows = _every_pattern(2)
    vae = linear_gaussian(widening=1.6)
    torch.manual_seed(0)
    nll = vae.nll(rows, 20_000)
    assert (nll.value - torch.from_numpy(_exact_nll(rows))).abs().max() < 4 * nll.stderr.max()
    assert nll.stderr.max() < 0.02
    gap = -vae.elbo(rows, 2000).numpy() - _exact_nll(rows)
    assert (gap > 0.2).all()  # the KL from q to the posterior, of two dimensions: 0.62 nats


@pytest.mark.parametrize("widening", [1.0, 1.5])
def test_imputations_have_the_exact_conditional_mean_and_spread(widening: float) -> None:
    rows = _every_pattern(3)
    k = 20_000
    found = impute(linear_gaussian(widening), rows, k, 400)
    for row, value, spread, draws, ess in zip(
        rows, found.x, found.spread, found.draws.swapaxes(0, 1), found.ess, strict=True
    ):
        hole = np.isnan(row)
        assert np.array_equal(value[~hole], row[~hole])
        assert np.array_equal(draws[:, ~hole], np.broadcast_to(row[~hole], (400, (~hole).sum())))
        assert np.isnan(spread[~hole]).all()
        if not hole.any():
            assert np.isnan(ess)
            continue
        mean, covariance = conditional(row)
        deviation = np.sqrt(np.diag(covariance))
        assert (np.abs(value[hole] - mean) < 4.5 * deviation / np.sqrt(ess)).all()
        assert (np.abs(spread[hole] / deviation - 1) < 4.5 / np.sqrt(ess)).all()
        assert (np.abs(draws[:, hole].mean(0) - mean) < 4.5 * deviation / 20).all()
        drawn = np.cov(draws[:, hole].T).reshape(hole.sum(), hole.sum())
        scaled = (drawn - covariance) / np.outer(deviation, deviation)
        assert (np.abs(scaled) < 5 * np.sqrt(2 / 400)).all()
    some = PATTERNS.any(1)
    assert (found.ess[some] > k / 3).all()
    if widening == 1:
        np.testing.assert_allclose(found.ess[some], k, rtol=1e-6)
    assert not len(found.poor)

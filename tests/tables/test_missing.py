"""Missing cells: bounds and imputations against exact marginals and conditionals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from elboroom.config.columns import Column
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.tables import impute

from .exact import (
    COLUMNS,
    JOB,
    NOISE,
    PAY,
    PAY_NOISE,
    SMOKES,
    TOWN,
    conditional,
    draw,
    hidden_states,
    linear_gaussian,
    moments,
    state_given,
)

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


def test_a_log_normal_cell_has_its_conditional_mean_and_not_its_median() -> None:
    logged = tuple(
        Column(name=c.name, kind="positive", family="log_normal", location=1.0, scale=0.5) for c in COLUMNS
    )
    vae = linear_gaussian(columns=logged)
    # The same model of the logarithms, in other units: y = (log x − 1) / 0.5.
    spread, location = np.array([c.scale for c in COLUMNS]), np.array([c.location for c in COLUMNS])
    rows = _every_pattern(7)
    k = 50_000
    found = impute(vae, np.exp(1 + 0.5 * (rows - location) / spread), k)
    for row, value, deviation in zip(rows, found.x, found.spread, strict=True):
        hole = np.isnan(row)
        if not hole.any():
            continue
        mean, covariance = conditional(row)
        m = 1 + 0.5 * (mean - location[hole]) / spread[hole]
        v = np.diag(covariance) * (0.5 / spread[hole]) ** 2
        exact = np.exp(m + v / 2)
        exact_spread = exact * np.sqrt(np.expm1(v))
        assert (np.abs(value[hole] - exact) < 4.5 * exact_spread / np.sqrt(k)).all()
        assert np.abs(deviation[hole] / exact_spread - 1).max() < 0.1
        assert (np.exp(m) < exact - 4.5 * exact_spread / np.sqrt(k)).all()


def test_categories_and_numbers_have_the_exact_conditionals_of_a_model_with_a_hidden_state() -> None:
    rows = np.where(PATTERNS, np.nan, np.array([1.0, 60.0, 0.0, 0.0]))
    m = 2000
    found = impute(hidden_states(), rows, 20_000, m)
    for row, value, spread, draws, ess in zip(
        rows, found.x, found.spread, found.draws.swapaxes(0, 1), found.ess, strict=True
    ):
        p = state_given(row)
        yes = np.array([1 - p @ SMOKES, p @ SMOKES])
        for place, exact in ((0, p @ JOB), (2, yes), (3, p @ TOWN)):
            if not np.isnan(row[place]):
                continue
            error = 4.5 * 0.5 / np.sqrt(ess)
            assert spread[place] == pytest.approx(exact.max(), abs=error)
            assert exact[int(value[place])] > exact.max() - 2 * error
            shares = np.bincount(draws[:, place].astype(int), minlength=len(exact)) / m
            assert np.abs(shares - exact).max() < 4.5 * 0.5 * np.sqrt(1 / m + 1 / ess)
        if np.isnan(row[1]):
            mean = 50 + 16 * p @ PAY
            deviation = 16 * np.sqrt(PAY_NOISE**2 + p @ PAY**2 - (p @ PAY) ** 2)
            assert value[1] == pytest.approx(mean, abs=4.5 * deviation / np.sqrt(ess))
            assert spread[1] == pytest.approx(deviation, rel=4.5 / np.sqrt(ess))
    both = np.isnan(rows[:, 0]) & np.isnan(rows[:, 3])
    (one,) = np.nonzero(both & ~np.isnan(rows[:, 1]) & ~np.isnan(rows[:, 2]))[0]
    p = state_given(rows[one])
    exact = np.einsum("s,sj,st->jt", p, JOB, TOWN)  # dependent: drawn together, not column by column
    m = 50_000
    pair = impute(hidden_states(), rows[one : one + 1], m, m)
    places = pair.draws[:, 0][:, [0, 3]].astype(int)
    shares = np.bincount(2 * places[:, 0] + places[:, 1], minlength=6).reshape(3, 2) / m
    error = 4.5 * 0.5 * np.sqrt(1 / m + 1 / pair.ess[0])
    assert np.abs(shares - exact).max() < error
    apart = exact.sum(1)[:, None] * exact.sum(0)
    assert np.abs(exact - apart).max() > error


def test_true_cells_rank_anywhere_among_their_imputations() -> None:
    """Calibration of multiple imputations: the rank of the truth among 19 draws is uniform on 0 to 19."""
    rows = draw(2000, 5)
    holes = np.where(np.random.default_rng(1).random(rows.shape) < 0.4, np.nan, rows)
    found = impute(linear_gaussian(1.3), holes, 200, 19)
    hole = np.isnan(holes)
    ranks = (found.draws < rows).sum(0)[hole]
    counts = np.bincount(ranks, minlength=20)
    assert stats.chisquare(counts).pvalue > 0.001
    inside = ((ranks > 0) & (ranks < 19)).mean()  # 90 % intervals
    assert inside == pytest.approx(0.9, abs=4.5 * np.sqrt(0.09 / hole.sum()))


def test_intervals_by_rubins_rules_cover_the_mean_as_often_as_they_should() -> None:
    """A known model has no uncertain weights, so that the rules cover a little too often: how often is known.

    Of n rows a share f lacks the column, whose variance is v, or v' given the rest. The rules give
    (v + f v' (1 + 1/m)) / n, and the mean of m imputations has the variance (v − f v' (1 − 1/m)) / n.
    """
    repeats, n, m, f = 400, 60, 10, 0.5
    rows = draw(repeats * n, 6)
    rng = np.random.default_rng(2)
    order = rng.random((repeats, n)).argsort(1).ravel()
    holes = rows.copy()
    holes[order < f * n, 0] = np.nan
    found = impute(linear_gaussian(), holes, 20, m).draws[..., 0].reshape(m, repeats, n)
    means = found.mean(-1)
    within, between = found.var(-1, ddof=1).mean(0) / n, means.var(0, ddof=1)
    total = within + (1 + 1 / m) * between
    freedom = (m - 1) * (1 + within / ((1 + 1 / m) * between)) ** 2
    half = stats.t.ppf(0.975, freedom) * np.sqrt(total)
    mean, covariance = moments()
    covered = (np.abs(means.mean(0) - mean[0]) < half).mean()
    v, rest = covariance[0, 0], conditional(np.array([np.nan, *rows[0, 1:]]))[1][0, 0]
    ratio = (v + f * rest * (1 + 1 / m)) / (v - f * rest * (1 - 1 / m))
    exact = 2 * stats.norm.cdf(1.96 * np.sqrt(ratio)) - 1
    assert 0.96 < exact < 0.995
    assert covered == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / repeats) + 0.005)


def test_uneven_weights_are_named() -> None:
    vae = linear_gaussian(widening=0.25)  # q much narrower than the posterior
    rows = _every_pattern(4)
    found = impute(vae, rows, 500)
    assert set(found.poor) <= set(np.nonzero(PATTERNS.any(1))[0])
    assert len(found.poor) >= 5
    assert not len(impute(linear_gaussian(), rows, 500).poor)


def test_imputing_is_repeatable_and_leaves_other_randomness_alone() -> None:
    vae, rows = linear_gaussian(), _every_pattern(5)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, two = (impute(vae, rows, 30, 2, seed=9) for _ in range(2))
    assert np.array_equal(one.draws, two.draws)
    assert np.array_equal(one.x, two.x)
    assert not np.array_equal(one.x, impute(vae, rows, 30, 2, seed=10).x)
    assert torch.equal(before, torch.random.get_rng_state())


def test_nothing_missing_and_no_rows_are_fine() -> None:
    vae = linear_gaussian()
    rows = draw(3).astype(np.float32)
    found = impute(vae, rows, 30, 2)
    assert np.array_equal(found.x, rows)
    assert found.x.dtype == np.float32
    assert np.array_equal(found.draws, rows[None].repeat(2, 0))
    assert np.isnan(found.ess).all()
    assert impute(vae, rows[:0], 30, 2).draws.shape == (2, 0, 4)
    with pytest.raises(UsageError, match="num_samples = 0: at least 1"):
        impute(vae, rows, 0)
    with pytest.raises(UsageError, match=r"shape \(3, 2\)"):
        impute(vae, rows[:, :2])
    plain = VAE.build(shape=(4,), likelihood="gaussian", hidden=(4,))
    with pytest.raises(UsageError, match="does not take missing cells"):
        impute(plain, rows)
    fixed = VAE.build(shape=(4,), likelihood="mixed", columns=COLUMNS, hidden=(4,), posterior="deterministic")
    with pytest.raises(UsageError, match="posterior gives one code and no density"):
        impute(fixed, _every_pattern())


def test_rows_are_imputed_given_their_conditions() -> None:
    vae = VAE.build(
        shape=(4,), likelihood="mixed", columns=COLUMNS, hidden=(8,), condition="labels", condition_dim=2
    )
    rows = np.full((4, 4), np.nan)
    rows[1:3, 0] = 40.0
    found = impute(vae, rows, 2000, 1, condition=[0, 0, 1, 1])
    with torch.no_grad():
        means = [vae.sample(20_000, condition=label).mean(0).numpy() for label in (0, 1)]
    spread = np.nanmax(found.spread[[0, 3]])
    for row, label in ((0, 0), (3, 1)):  # nothing observed: the model's mean given the label
        scale = np.array([c.scale for c in COLUMNS])
        assert np.abs((found.x[row] - means[label]) / scale).max() < 5 * 1.5 / np.sqrt(2000)
    assert spread > 0

"""Cells that are missing because of their value: likelihood, imputations and draws against exact answers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from elboroom.config.columns import Column
from elboroom.models.vae import VAE
from elboroom.probability.missingness import GAIN
from elboroom.probability.mixed import MixedHead
from elboroom.tables import impute

from .exact import (
    JOB,
    PAY,
    PAY_NOISE,
    SMOKES,
    TOWN,
    conditional,
    draw,
    hidden_states,
    linear_gaussian,
    moments,
)

SELF_MASKING = {"missing_mechanism": "self_masking"}
INTERCEPT, SLOPE = np.array([-1.0, 0.5, -2.0, 0.0]), np.array([2.0, -1.5, 3.0, 0.0])
# Of the model of a hidden state.
JOB_ODDS, TOWN_ODDS, SMOKES_ODDS = np.array([2.0, -1.0, 0.5]), np.array([-3.0, 0.0]), np.array([-0.5, 1.5])
PAY_INTERCEPT, PAY_SLOPE = -0.5, 2.5
PATTERNS = np.array(list(itertools.product([False, True], repeat=4)))  # True where missing


def _self_masking(widening: float = 1.0) -> VAE:
    vae = linear_gaussian(widening, **SELF_MASKING)
    (mechanism,) = vae.likelihood.mechanism.typed()
    with torch.no_grad():
        mechanism.raw_intercept.copy_(torch.from_numpy(INTERCEPT / GAIN))
        mechanism.raw_slope.copy_(torch.from_numpy(SLOPE / GAIN))
    return vae


def _standard(x: Any) -> Any:
    return (x - np.array([40.0, -3.0, 0.5, 1000.0])) / np.array([8.0, 0.25, 2.0, 128.0])


def _posterior(row: Any) -> tuple[float, Any, Any]:
    """Log p(x_obs, s), and mean and covariance of the missing cells given both, by Gauss-Hermite sums."""
    hole = np.isnan(row)
    mean, covariance = moments()
    known = ~hole
    total = 0.0
    if known.any():
        total += stats.multivariate_normal(mean[known], covariance[np.ix_(known, known)]).logpdf(row[known])
        total += special.log_expit(-(INTERCEPT + SLOPE * _standard(row)))[known].sum()
    count = int(hole.sum())
    if not count:
        return float(total), None, None
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    grid = np.array(list(itertools.product(nodes, repeat=count)))
    mass = np.prod(list(itertools.product(weights, repeat=count)), axis=1) / np.sqrt(2 * np.pi) ** count
    center, spread = conditional(row)
    cells = center + grid @ np.linalg.cholesky(spread).T
    whole = np.full((len(cells), 4), np.nan)
    whole[:, hole] = cells
    mass = mass * special.expit(INTERCEPT + SLOPE * _standard(whole))[:, hole].prod(1)
    total += np.log(mass.sum())
    mass = mass / mass.sum()
    found = mass @ cells
    return float(total), found, (cells - found).T @ (mass[:, None] * (cells - found))


@pytest.mark.parametrize(("intercept", "slope"), [(-1.0, 2.0), (0.5, -3.5), (-30.0, 5.0), (25.0, 1.0)])
def test_one_missing_number_is_the_integral_over_its_values(intercept: float, slope: float) -> None:
    column = Column(name="a", kind="real", location=40.0, scale=8.0)
    head = MixedHead((1,), columns=[column], **SELF_MASKING).double()
    (mechanism,) = head.mechanism.typed()
    with torch.no_grad():
        mechanism.raw_intercept.fill_(intercept / GAIN)
        mechanism.raw_slope.fill_(slope / GAIN)
    for mean, raw in ((0.3, 0.0), (-2.0, -1.5), (1.0, 0.5)):
        p = head(torch.tensor([[mean, raw]], dtype=torch.float64))
        scale = np.log1p(np.exp(raw + np.log(np.expm1(1 - 1e-3)))) + 1e-3

        def log_joint(y: float, mean: float = mean, scale: float = scale) -> float:
            return float(stats.norm.logpdf(y, mean, scale) + special.log_expit(intercept + slope * y))

        around = np.linspace(mean - 40 * scale, mean + 40 * scale, 2001)
        peak = max(map(log_joint, around))

        def relative(y: float, log_joint: Any = log_joint, peak: float = peak) -> float:
            return float(np.exp(log_joint(y) - peak))

        value, _ = integrate.quad(relative, around[0], around[-1], limit=500, epsabs=1e-12)
        found = p.log_prob(torch.tensor([[torch.nan]]).double()).item()
        # The trapezoidal rule of this distance is exact to e^(−49/|slope · scale|) of the value.
        assert found == pytest.approx(np.log(value) + peak, abs=1e-6 + 4 * np.exp(-49 / abs(slope * scale)))
        observed = p.log_prob(torch.tensor([[50.0]]).double()).item()
        exact = stats.norm.logpdf(50.0, 40 + 8 * mean, 8 * scale)
        exact += special.log_expit(-(intercept + slope * 1.25))
        assert observed == pytest.approx(exact, abs=1e-9)


def test_the_bound_lies_below_the_exact_marginal_of_cells_and_pattern() -> None:
    rows = np.where(PATTERNS, np.nan, draw(16, 3))
    exact = np.array([_posterior(row)[0] for row in rows])
    torch.manual_seed(0)
    vae = _self_masking(1.3)
    elbo = vae.elbo(rows, 1000).numpy()
    assert (elbo < exact - 0.02).all()
    nll = vae.nll(rows, 5_000)
    assert nll.stderr.max() < 0.03
    assert ((-nll.value - torch.from_numpy(exact)).abs() < 4.5 * nll.stderr + 1e-5).all()


@pytest.mark.parametrize("widening", [1.0, 1.4])
def test_imputations_are_those_given_what_is_observed_and_what_is_missing(widening: float) -> None:
    rows = np.where(PATTERNS, np.nan, draw(16, 4))
    found = impute(_self_masking(widening), rows, 2_000, 400)
    for row, value, spread, draws, ess in zip(
        rows, found.x, found.spread, found.draws.swapaxes(0, 1), found.ess, strict=True
    ):
        hole = np.isnan(row)
        if not hole.any():
            assert np.array_equal(value, row)
            continue
        _, mean, covariance = _posterior(row)
        deviation = np.sqrt(np.diag(covariance))
        assert (np.abs(value[hole] - mean) < 4.5 * deviation / np.sqrt(ess)).all()
        assert (np.abs(spread[hole] / deviation - 1) < 4.5 / np.sqrt(ess)).all()
        assert (np.abs(draws[:, hole].mean(0) - mean) < 4.5 * deviation / 20).all()
        drawn = np.cov(draws[:, hole].T).reshape(hole.sum(), hole.sum())
        assert (np.abs(drawn - covariance) / np.outer(deviation, deviation) < 5 * np.sqrt(2 / 400)).all()
    # Ignoring the mechanism would be seen: it moves the first column by many Monte Carlo errors.
    (mean,), ((variance,),) = conditional(rows[8])
    assert _posterior(rows[8])[1][0] - mean > 8 * np.sqrt(variance / 2_000)


def _states(**options: Any) -> VAE:
    vae = hidden_states(**SELF_MASKING, **options)
    named, number, boolean = vae.likelihood.mechanism.typed()
    with torch.no_grad():
        named.raw_table[0].copy_(torch.from_numpy(JOB_ODDS / GAIN))
        named.raw_table[1, :2].copy_(torch.from_numpy(TOWN_ODDS / GAIN))
        number.raw_intercept.fill_(PAY_INTERCEPT / GAIN)
        number.raw_slope.fill_(PAY_SLOPE / GAIN)
        boolean.raw_table[0].copy_(torch.from_numpy(SMOKES_ODDS / GAIN))
    return vae


def _of_states(row: Any) -> tuple[Any, Any]:
    """p(state, x_obs, s) of each state, (4,), and the mean of pay given the state and that it is missing."""
    job, pay, smokes, town = row
    yes = np.stack([1 - SMOKES, SMOKES], 1)
    p = np.full(4, 0.25)
    for value, table, odds in ((job, JOB, JOB_ODDS), (smokes, yes, SMOKES_ODDS), (town, TOWN, TOWN_ODDS)):
        miss = special.expit(odds)
        p = p * (table @ miss if np.isnan(value) else table[:, int(value)] * (1 - miss[int(value)]))
    means = np.empty(4)
    for state, center in enumerate(PAY):

        def joint(y: float, center: float = center) -> float:
            return float(stats.norm.pdf(y, center, PAY_NOISE) * special.expit(PAY_INTERCEPT + PAY_SLOPE * y))

        ends = (center - 5, center + 5)
        mass = integrate.quad(joint, *ends, epsabs=1e-13)[0]
        means[state] = integrate.quad(lambda y, joint=joint: y * joint(y), *ends, epsabs=1e-13)[0] / mass
        if np.isnan(pay):
            p[state] *= mass
        else:
            y = (pay - 50) / 16
            p[state] *= stats.norm.pdf(y, center, PAY_NOISE) / 16
            p[state] *= special.expit(-PAY_INTERCEPT - PAY_SLOPE * y)
    return p, 50 + 16 * means


STATE_ROWS = np.where(PATTERNS, np.nan, np.array([2.0, 61.0, 1.0, 0.0]))


def test_categories_are_summed_over() -> None:
    vae = _states()
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]).double()[:, None]
    z = corners.expand(4, len(STATE_ROWS), 2)
    found = vae.generate(z).log_prob(torch.from_numpy(STATE_ROWS)).detach().numpy()
    exact = np.log(np.array([_of_states(row)[0] for row in STATE_ROWS]).T / 0.25)
    np.testing.assert_allclose(found, exact, atol=1e-7)


def test_imputed_categories_are_those_of_enumeration() -> None:
    found = impute(_states(), STATE_ROWS, 4_000)
    yes = np.stack([1 - SMOKES, SMOKES], 1)
    for row, value, spread, ess in zip(STATE_ROWS, found.x, found.spread, found.ess, strict=True):
        weights, pay = _of_states(row)
        weights = weights / weights.sum()
        error = 4.5 / np.sqrt(ess) if not np.isnan(ess) else 0
        for i, table, odds in ((0, JOB, JOB_ODDS), (2, yes, SMOKES_ODDS), (3, TOWN, TOWN_ODDS)):
            if np.isnan(row[i]):
                tilted = table * special.expit(odds)
                probability = weights @ (tilted / tilted.sum(1, keepdims=True))
                assert np.isclose(spread[i], probability[int(value[i])], atol=0.5 * error)
                assert probability[int(value[i])] > probability.max() - error
        if np.isnan(row[1]):
            assert abs(value[1] - weights @ pay) < error * spread[1] + 1e-6


FAMILIES = (
    Column(name="a", kind="real", location=5.0, scale=2.0),
    Column(name="b", kind="positive", location=1.0, scale=0.5),
    Column(name="c", kind="real", family="quantile", knots=(0.0, 1.0, 5.0), levels=(-1.0, 0.0, 1.5)),
    Column(name="d", kind="real", family="mixture", location=5.0, scale=2.0),
    Column(name="e", kind="real", family="student_t", location=5.0, scale=2.0),
    Column(name="f", kind="count", family="poisson", location=2.0, scale=0.7),
    Column(name="g", kind="count", location=2.0, scale=0.7),
    Column(name="h", kind="count", family="zero_inflated_negative_binomial", location=5.0, scale=0.7),
    Column(name="i", kind="category", categories=tuple("abc")),
    Column(name="j", kind="category", categories=tuple("abcdefghi")),
    Column(name="k", kind="ordinal", categories=tuple("abcd")),
    Column(name="l", kind="ordinal", categories=tuple("ab")),
    Column(name="m", kind="boolean", categories=("no", "yes")),
)
# Of log P(missing | z): what the rule of each family is accurate to.
# The density of the quantile family jumps at its knots, where a sum over a grid by hand is off.
ACCURACY = {
    "quantile": 5e-4,
    "student_t": 2e-3,
    "negative_binomial": 2e-3,
    "zero_inflated_negative_binomial": 2e-3,
}


def _head() -> MixedHead:
    head = MixedHead((len(FAMILIES),), columns=FAMILIES, **SELF_MASKING).double()
    torch.manual_seed(0)
    for parameter in head.mechanism.parameters():
        torch.nn.init.normal_(parameter, std=1.5 / GAIN)
    return head


def _values(column: Column) -> tuple[Any, Any]:
    """Values of a column, and what a sum over them is to be multiplied with."""
    if column.categories:
        values = np.arange(len(column.categories)).astype(float)
    elif column.kind == "count":
        values = np.arange(50_000).astype(float)
    elif column.knots:  # where the density jumps
        ends = np.unique(
            np.concatenate(
                [np.linspace(*pair, 3001) for pair in itertools.pairwise((-30.0, *column.knots, 60.0))]
            )
        )
        return (ends[1:] + ends[:-1]) / 2, np.diff(ends)
    else:
        y = np.sinh(np.linspace(-14, 14, 20_001))
        values = np.exp(1 + 0.5 * np.linspace(-30, 30, 20_001)) if column.kind == "positive" else 5 + 2 * y
        return values, np.gradient(values)
    return values, np.ones(len(values))


def _by_hand(head: MixedHead, features: Any, i: int) -> tuple[Any, Any]:
    """Values of column i, and their joint probability with being missing given one code's features."""
    values, widths = _values(FAMILIES[i])
    rows = head.fill.repeat(len(values), 1)
    rows[:, i] = torch.from_numpy(values)
    # log p(x|z) + log P(observed|x), of a head with the other sign, is that of missing.
    mechanism = head.mechanism
    with torch.no_grad():
        for parameter in mechanism.parameters():
            parameter.neg_()
        found = head(features[None]).log_prob_by_column(rows)[:, i].exp().numpy() * widths
        for parameter in mechanism.parameters():
            parameter.neg_()
    return values, found


@pytest.mark.parametrize("i", range(len(FAMILIES)), ids=[str(c.family) + c.name for c in FAMILIES])
def test_every_family_sums_over_its_values(i: int) -> None:
    head = _head()
    features = 0.7 * torch.randn(5, head.in_shape[0], dtype=torch.float64)
    with torch.no_grad():
        p = head(features)
        found = p.log_prob_by_column(torch.full((5, len(FAMILIES)), torch.nan).double())[:, i].numpy()
        mean = p.if_missing.mean[:, i].numpy()
        torch.manual_seed(1)
        many = head(features[:1].expand(4000, -1)).if_missing.sample()[:, i].numpy()
    for row in range(5):
        values, joint = _by_hand(head, features[row], i)
        tolerance = ACCURACY.get(str(FAMILIES[i].family), 2e-5)
        assert found[row] == pytest.approx(np.log(joint.sum()), abs=tolerance)
        joint = joint / joint.sum()
        if FAMILIES[i].categories:
            assert mean[row] == joint.argmax()
        elif FAMILIES[i].family != "student_t":  # whose mean is of few moments
            deviation = np.sqrt(joint @ (values - joint @ values) ** 2)
            near = 5e-3 if FAMILIES[i].knots else 2e-3  # x is not smooth in y at knots
            assert mean[row] == pytest.approx(joint @ values, abs=near * deviation)
        if row == 0:
            below = np.array([joint[values <= level].sum() for level in np.quantile(many, (0.2, 0.5, 0.8))])
            drawn = np.array([(many <= level).mean() for level in np.quantile(many, (0.2, 0.5, 0.8))])
            assert (np.abs(below - drawn) < 4 * np.sqrt(0.25 / 4000) + 2e-3).all()


def test_the_log_prob_of_a_missing_cell_is_by_bayes() -> None:
    head = _head()
    features = 0.7 * torch.randn(3, head.in_shape[0], dtype=torch.float64)
    x = head.fill.repeat(3, 1)
    x[:, 8:] = 1.0
    x[0, 2], x[1, 9] = torch.nan, torch.nan
    p = head(features)
    missing = p.log_prob_by_column(torch.full_like(x, torch.nan))
    for i in range(len(FAMILIES)):
        rows = x.clone()
        joint = p.log_prob_of_cells(rows)[:, i]
        with torch.no_grad():
            odds = torch.log(-torch.expm1(p.log_prob_by_column(rows) - p.log_prob_of_cells(rows)))[:, i]
        wanted = torch.where(rows[:, i].isnan(), 0.0, joint + odds - missing[:, i])
        torch.testing.assert_close(p.if_missing.log_prob_of_cells(rows)[:, i], wanted, rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_the_sums() -> None:
    head = _head()
    features = (0.7 * torch.randn(2, head.in_shape[0], dtype=torch.float64)).requires_grad_()
    x = torch.full((2, len(FAMILIES)), torch.nan).double()
    parameters = [*head.mechanism.parameters()]

    def likelihood(features: Any, *_: Any) -> Any:
        return head(features).log_prob(x)

    # The points move with the numbers, and have no gradient: what they add is within the rule's accuracy.
    assert torch.autograd.gradcheck(likelihood, (features, *parameters), eps=1e-5, atol=2e-3, rtol=2e-3)


def test_leaving_out_cells_that_are_not_missing_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head = _head()
    x = head.fill.repeat(6, 1)
    x[:, 8:] = 1.0
    x[torch.rand(x.shape, dtype=torch.float64) < 0.4] = torch.nan
    features = (0.7 * torch.randn(3, 6, head.in_shape[0], dtype=torch.float64)).requires_grad_()
    found = []
    for readable in (True, False):
        monkeypatch.setattr("elboroom.probability.missingness._is_readable", lambda _, now=readable: now)
        value = head(features).log_prob_by_column(x)
        wanted = [features, *head.mechanism.parameters()]
        found.append([value.detach(), *torch.autograd.grad(value.square().sum(), wanted)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    # Rows that share one code are not looked up.
    shared = head(features[:, :1]).log_prob_by_column(x)
    same = torch.cat([head(features[:, :1]).log_prob_by_column(x[i : i + 1]) for i in range(6)], 1)
    torch.testing.assert_close(shared, same, rtol=1e-10, atol=1e-12)

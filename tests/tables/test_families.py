"""Each family of columns against scipy, by integration, through units, and where numbers are extreme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from elboroom.config.columns import FAMILIES, KINDS, Column, Family
from elboroom.data.column_fits import fitted_column
from elboroom.errors import UsageError
from elboroom.probability.mixed import MixedHead

NAN = float("nan")
LEVELS = ("low", "middle", "high", "top")
EVERY = [(kind, family) for kind in KINDS for family in FAMILIES[kind]]
DENSITIES = [(kind, family) for kind, family in EVERY if kind in ("real", "positive")]
COUNTED: tuple[Family, ...] = ("negative_binomial", "zero_inflated_negative_binomial", "poisson")
MASSES = [
    (kind, family)
    for kind, family in EVERY
    if kind in ("ordinal", "category", "boolean") or family in COUNTED
]
double = pytest.mark.usefixtures("float64")


def cells_of(kind: str, n: int = 400) -> np.ndarray:
    """Training cells of a kind: skewed positive numbers, counts, two modes."""
    rng = np.random.default_rng(5)
    if kind == "positive":
        return np.exp(2 + 0.8 * rng.standard_normal(n))
    if kind == "count":
        return rng.negative_binomial(2, 0.2, n).astype(float)
    return np.where(rng.random(n) < 0.4, -3, 5) + rng.standard_normal(n)


def column_of(kind: Any, family: Any, name: str = "x", scale: float = 1.0) -> Column:
    sizes: dict[str, tuple[str, ...]] = {"ordinal": LEVELS, "category": LEVELS[:3], "boolean": ("no", "yes")}
    column = Column(name=name, kind=kind, family=family, categories=sizes.get(kind, ()))
    return column if column.categories else fitted_column(column, scale * cells_of(kind))


def head_of(*columns: Column) -> Any:
    return MixedHead((len(columns),), columns=columns)


def draw(head: Any, *lead: int, spread: float = 1.0) -> torch.Tensor:
    torch.manual_seed(3)
    return spread * torch.randn(*lead, *head.in_shape)


def softplus_from(raw: np.ndarray, start: float, least: float) -> np.ndarray:
    return np.logaddexp(0, raw + np.log(np.expm1(start - least))) + least


def frozen(column: Column, f: np.ndarray) -> Any:
    """The distribution of scipy that features f of one cell stand for."""
    at, s = column.location, column.scale
    if column.family == "gaussian":
        return stats.norm(at + s * f[0], s * softplus_from(f[1], 1, 1e-3))
    if column.family == "log_normal":
        return stats.lognorm(s * softplus_from(f[1], 1, 1e-3), scale=np.exp(at + s * f[0]))
    if column.family == "student_t":
        return stats.t(softplus_from(f[2], 4, 1), at + s * f[0], s * softplus_from(f[1], 1, 1e-3))
    if column.family in COUNTED:
        mean = np.exp(np.log(np.expm1(at)) + s * f[0])
        return (
            stats.poisson(mean) if len(f) == 1 else stats.nbinom(np.exp(f[1]), 1 / (1 + mean / np.exp(f[1])))
        )
    raise ValueError(column.family)


@double
@pytest.mark.parametrize(
    ("kind", "family"),
    [
        *(("real", "gaussian"), ("real", "student_t"), ("datetime", "student_t"), ("positive", "gaussian")),
        *(("positive", "log_normal"), ("positive", "student_t"), ("count", "gaussian")),
        *(("count", "negative_binomial"), ("count", "poisson")),
    ],
)
def test_numbers_agree_with_scipy(kind: str, family: str) -> None:
    """Among another column of the family, and one of another family, so that a wrong order shows."""
    other = column_of(kind, family, "other", scale=3.0)
    head = head_of(other, column_of("category", "categorical", "job"), column_of(kind, family))
    features = draw(head, 4, 5)
    x = torch.from_numpy(cells_of(kind)[:5])
    rows = torch.stack([3 * x.flip(0), torch.zeros(5, dtype=x.dtype), x], -1)
    found = head(features).log_prob_by_column(rows).numpy()
    own = features.numpy()[..., : features.shape[-1] - 3].reshape(4, 5, -1, 2)  # (…, parameter, column)
    for k in range(4):
        for b in range(5):
            for i, place in enumerate((0, 2)):
                p = frozen(head.columns[place], own[k, b, :, i])
                log_p = p.logpmf if family in COUNTED else p.logpdf
                np.testing.assert_allclose(found[k, b, place], log_p(float(rows[b, place])), rtol=1e-8)


@double
def test_zero_inflation_adds_zeros() -> None:
    head = head_of(column_of("count", "zero_inflated_negative_binomial"))
    features = draw(head, 6)
    for f in features.numpy():
        extra = 1 / (1 + np.exp(-f[2]))
        counted = frozen(column_of("count", "negative_binomial"), f[:2])
        for count in (0, 1, 7):
            wanted = np.log((1 - extra) * counted.pmf(count) + extra * (count == 0))
            found = head(torch.from_numpy(f)).log_prob(torch.tensor([[float(count)]]))
            np.testing.assert_allclose(found.item(), wanted, rtol=1e-9)


@double
def test_mixtures_agree_with_a_sum_of_normal_densities() -> None:
    column = column_of("real", "mixture")
    head = head_of(column, column_of("real", "mixture", "y", scale=2.0))
    logits, means, raw = draw(head, 7).numpy().reshape(7, 3, 2, 5)[:, :, 0].transpose(1, 0, 2)
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    start = (np.array(column.knots) - column.location) / column.scale
    means, scales = column.scale * (start + means), column.scale * softplus_from(raw, 0.5, 1e-3)
    wanted = np.log((weights * stats.norm(column.location + means, scales).pdf(0.7)).sum(-1))
    found = head(draw(head, 7)).log_prob_by_column(torch.tensor([[0.7, 0.0]]))[:, 0]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)


@double
@pytest.mark.parametrize(("kind", "family"), DENSITIES)
def test_densities_integrate_to_one_and_draws_follow_them(kind: Any, family: Any) -> None:
    head = head_of(column_of(kind, family))
    features = draw(head, 1)[0]
    torch.manual_seed(0)
    drawn = head(features.expand(4000, -1)).sample().squeeze(-1).numpy()
    low, high = np.quantile(drawn, (0.2, 0.8))
    # Heavy tails and the edge at 0 want points that are spread geometrically.
    offset = np.concatenate([-np.geomspace(1e9, 1e-9, 300000), np.geomspace(1e-9, 1e9, 300000)])
    grid = np.geomspace(1e-12, 1e12, 200000) if kind == "positive" and family != "gaussian" else low + offset
    grid = grid if family != "student_t" or kind == "real" else low + offset
    p = head(features.expand(1, -1))
    density = p.log_prob(torch.from_numpy(grid)[:, None]).exp().numpy()
    total = np.trapezoid(density, grid)
    assert total == pytest.approx(1, abs=2e-3)
    within = (grid >= low) & (grid <= high)
    inner = np.trapezoid(density[within], grid[within])
    assert inner == pytest.approx(0.6, abs=0.03)


@double
def test_ordinals_sum_to_one_and_categories_of_any_number_agree_with_softmax() -> None:
    sizes = (2, 5, 3, 9, 4, 17)
    names = [tuple(map(str, range(size))) for size in sizes]
    ordinals = [Column(name=f"o{n}", kind="ordinal", categories=c) for n, c in zip(sizes, names, strict=True)]
    categories = [
        Column(name=f"c{n}", kind="category", categories=c) for n, c in zip(sizes, names, strict=True)
    ]
    head = head_of(*ordinals, *categories)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    features = draw(head, 8, spread=2.0)
    logits = features[:, 2 * len(sizes) :].split(sizes, -1)
    for i, size in enumerate(sizes):
        rows = torch.zeros(size, 2 * len(sizes))
        rows[:, [i, i + len(sizes)]] = torch.arange(size, dtype=rows.dtype)[:, None]
        log_mass = head(features[:, None]).log_prob_by_column(rows)
        total = log_mass[..., i].exp().sum(-1)
        np.testing.assert_allclose(total.detach(), 1, rtol=1e-10)
        np.testing.assert_allclose(
            log_mass[..., i + len(sizes)].detach(), logits[i].log_softmax(-1), rtol=1e-10
        )
        assert torch.equal(head(features).mean[:, i].long(), log_mass[..., i].argmax(-1))
        assert torch.equal(head(features).mean[:, i + len(sizes)].long(), logits[i].argmax(-1))


@double
def test_ordinals_are_cumulative_logits() -> None:
    head = head_of(column_of("ordinal", "ordinal"))
    torch.nn.init.normal_(next(head.parameters()))
    features = draw(head, 3)
    thresholds = next(m for m in head.modules() if hasattr(m, "thresholds")).thresholds[0].detach().numpy()
    assert (np.diff(thresholds) > 0).all()
    for center, raw in features.numpy():
        below = 1 / (1 + np.exp(-softplus_from(raw, 1, 1e-2) * (thresholds - center)))
        wanted = np.log(np.diff(np.concatenate([[0], below, [1]])))
        found = head(torch.tensor([center, raw])).log_prob(torch.arange(4.0)[:, None])
        np.testing.assert_allclose(found.detach(), wanted, rtol=1e-9)


@pytest.mark.parametrize(("kind", "family"), MASSES)
def test_draws_have_the_probabilities_that_they_are_scored_with(kind: str, family: str) -> None:
    head = head_of(column_of("real", "gaussian", "other"), column_of(kind, family))
    features = draw(head, 1, spread=0.5)
    torch.manual_seed(2)
    drawn = head(features.expand(20000, -1)).sample()[:, 1]
    values = (
        torch.arange(max(len(LEVELS), 12))
        if kind == "count"
        else torch.arange(len(head.columns[1].categories))
    )
    rows = torch.stack([torch.zeros(len(values)), values.float()], -1)
    wanted = head(features).log_prob_by_column(rows)[:, 1].exp().detach()
    found = torch.stack([(drawn == value).float().mean() for value in values])
    np.testing.assert_allclose(found, wanted, atol=0.012)


@pytest.mark.parametrize(("kind", "family"), EVERY)
def test_missing_cells_and_extremes_leave_every_gradient_finite(kind: str, family: str) -> None:
    head = head_of(column_of("real", "gaussian", "other"), column_of(kind, family))
    last = len(head.columns[1].categories) - 1
    most = float(last) if last > 0 else 1e12
    least = {"real": -1e12, "datetime": -1e12, "positive": 1e-30}.get(kind, 0.0)
    x = torch.tensor([[0.0, NAN], [NAN, NAN], [NAN, least], [1e12, most], [0.0, 1.0]])
    head.check_values(x)
    for spread in (0.0, 1.0, 30.0, 1e3):
        features = draw(head, 3, len(x), spread=spread).requires_grad_()
        p = head(features)
        by_column = p.log_prob_by_column(x)
        assert by_column.isfinite().all()
        assert by_column[:, 0, 1].eq(0).all()
        assert p.mean.isfinite().all()
        by_column.sum().backward()
        assert features.grad is not None
        assert features.grad.isfinite().all()
        assert features.grad[:, 1].eq(0).all()
        for parameter in head.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            parameter.grad = None
    assert head.standardize(x).isfinite().all()


@double
@pytest.mark.parametrize(("kind", "family"), DENSITIES)
def test_the_jacobian_is_that_of_autograd_and_the_way_back_is_the_inverse(kind: str, family: str) -> None:
    head = head_of(column_of(kind, family))
    (own,) = head.families
    spread = np.concatenate([cells_of(kind)[:50], [1e-3, 400.0] if kind == "positive" else [-40.0, 60.0]])
    x = torch.from_numpy(spread)[:, None].requires_grad_()
    y, log_slope = own.standardized(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(log_slope.detach(), slope.log(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(own.original(y).detach(), x.detach(), rtol=1e-9)


@double
@pytest.mark.parametrize(("kind", "family"), DENSITIES)
def test_nats_in_other_units_differ_by_the_logarithm_of_the_scale(kind: str, family: str) -> None:
    plain, scaled = head_of(column_of(kind, family)), head_of(column_of(kind, family, scale=1000.0))
    features = draw(plain, 50)
    x = torch.from_numpy(cells_of(kind)[:50])[:, None]
    found = scaled(features).log_prob(1000 * x)
    np.testing.assert_allclose(found, plain(features).log_prob(x) - np.log(1000), rtol=1e-7, atol=1e-7)


@double
def test_quantiles_make_training_data_normal() -> None:
    """Also where most cells are 0, and where there is one value alone."""
    column = column_of("real", "quantile")
    cells = cells_of("real", 5000)
    column = fitted_column(Column(name="x", kind="real", family="quantile"), cells)
    seen = head_of(column).standardize(torch.from_numpy(cells)[:, None])[:, 0].numpy()
    assert stats.kstest(seen, "norm").statistic < 0.02
    atom = np.where(np.arange(1000) % 10 > 0, 0, cells[:1000])
    column = fitted_column(Column(name="x", kind="real", family="quantile"), atom)
    assert (np.diff(column.knots) > 1e-5).all()
    constant = fitted_column(Column(name="x", kind="real", family="quantile"), np.full(9, 3.0))
    assert (constant.knots, constant.scale, constant.location) == ((), 1.0, 3.0)


@pytest.mark.parametrize("family", FAMILIES["positive"])
def test_a_constant_column_has_a_bounded_density(family: str) -> None:
    column = fitted_column(Column(name="x", kind="positive", family=family), np.full(9, 3.0))  # type: ignore[arg-type]
    head = head_of(column)
    features = torch.full((1, *head.in_shape), -1e3)
    best = head(features * (torch.arange(head.in_shape[0]) == head.in_shape[0] - 1)).log_prob(
        torch.full((1, 1), 3.0)
    )
    assert best.isfinite().all()
    assert best < 8


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (
            "positive",
            0.0,
            "column 'x': 0 is not above 0, as log_normal requires; make the column of kind real",
        ),
        ("count", 1.5, "1.5 is not a count (0, 1, 2, …), as negative_binomial requires"),
        ("count", -1.0, "-1 is not a count"),
        ("ordinal", 4.0, "4 is not the number of a category; they are 0 to 3"),
        ("real", np.inf, "column 'x': a value is infinite"),
    ],
)
def test_cells_outside_the_support_are_refused(kind: str, value: float, said: str) -> None:
    with pytest.raises(UsageError) as error:
        head_of(column_of(kind, None)).check_values(torch.tensor([[1.0], [value]]), scored=True)
    assert said in str(error.value).replace('"', "'")


@double
@pytest.mark.parametrize(("kind", "family"), [pair for pair in DENSITIES if pair[1] != "student_t"])
def test_the_mass_of_an_interval_is_the_integral_of_the_density_and_draws_stay_within(
    kind: str, family: str
) -> None:
    head = head_of(column_of(kind, family))
    (own,) = head.families
    features = draw(head, 2)
    ends = torch.tensor([[2.0], [6.0]])
    grid = torch.linspace(2, 6, 40001)[:, None]
    density = own.log_prob(features[:, None], grid).exp()[..., 0]
    wanted = torch.trapezoid(density, grid[:, 0])
    np.testing.assert_allclose(own.log_mass_between(features, *ends).exp()[:, 0], wanted, rtol=2e-4)
    whole = own.log_mass_between(features, torch.tensor([-torch.inf]), torch.tensor([torch.inf]))
    np.testing.assert_allclose(whole, 0, atol=1e-9)
    torch.manual_seed(4)
    drawn = own.sample_between(features.repeat_interleave(4000, 0), *ends).view(2, 4000)
    assert drawn.min() >= 2 - 1e-9
    assert drawn.max() <= 6 + 1e-9
    means = torch.trapezoid(density * grid[:, 0], grid[:, 0]) / wanted
    np.testing.assert_allclose(drawn.mean(1), means, atol=0.08)


def test_the_encoder_takes_the_mean_of_a_count_which_is_not_scored() -> None:
    head = head_of(column_of("count", None))
    head.check_values(torch.tensor([[1.5]]))
    assert head.standardize(torch.tensor([[1.5]])).isfinite().all()

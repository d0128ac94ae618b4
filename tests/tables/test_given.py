"""Sampling on condition: against quadrature over a latent line, and every way to ask for it wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from elboroom.config.columns import Column
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.probability import StandardNormal
from elboroom.probability.mixed import MixedHead
from elboroom.probability.truncated import log_normal_mass, truncated_normal
from elboroom.tables.conditions import read_conditions
from elboroom.tables.given import sample_given

AGE = Column(name="age", kind="real", location=40.0, scale=10.0)
JOB = Column(name="job", kind="category", categories=("cook", "nurse", "smith"))
SMOKES = Column(name="smokes", kind="boolean", categories=("no", "yes"))
GRADE = Column(name="grade", kind="ordinal", categories=("low", "mid", "high"))
CHILDREN = Column(name="children", kind="count", location=1.0, scale=1.0)
COLUMNS = (JOB, AGE, SMOKES)


class _Decoder(nn.Module):
    """Features of (age; job; smokes) that depend strongly on z (n, d)."""

    def forward(self, z: Tensor) -> Tensor:
        s = z.sum(-1, keepdim=True) / z.shape[-1] ** 0.5
        logits = torch.cat([2 * s, -s, 1.5 - s.square()], -1)
        # The families follow the order of the columns: categorical, gaussian, bernoulli.
        return torch.cat([logits, 1.2 * s + 0.3 * s.square(), -1.0 + 0.2 * s, 2.5 * s - 1], -1)


def _vae(latent_dim: int) -> VAE:
    head = MixedHead((3,), columns=COLUMNS)
    encoder = nn.Linear(*head.input_shape, 2 * latent_dim)
    return VAE(encoder, _Decoder(), StandardNormal(latent_dim), shape=(3,), likelihood=head)


def _exact(wanted: str) -> tuple[float, Any, Any, Any]:
    """P(E), and given E: probabilities of jobs, P(smokes), and the distribution function of age."""
    s = np.linspace(-8, 8, 4001)
    f = _Decoder()(torch.tensor(s)[:, None]).numpy()
    jobs = np.exp(f[:, :3]) / np.exp(f[:, :3]).sum(1, keepdims=True)
    scale = np.logaddexp(0, f[:, 4] + np.log(np.expm1(1 - 1e-3))) + 1e-3
    age = stats.norm(40 + 10 * f[:, 3], 10 * scale)
    smokes = 1 / (1 + np.exp(-f[:, 5]))
    weight = stats.norm.pdf(s)
    for event in read_conditions(wanted, COLUMNS):
        if event.column is JOB:
            assert event.categories is not None
            kept = [i in event.categories for i in range(3)]
            weight, jobs = weight * jobs[:, kept].sum(1), jobs * kept / jobs[:, kept].sum(1, keepdims=True)
        elif event.column is SMOKES:
            yes = event.categories == frozenset({1})
            weight, smokes = weight * (smokes if yes else 1 - smokes), np.full_like(s, yes)
        elif event.low == event.high:
            weight = weight * age.pdf(event.low)
        else:
            mass = age.cdf(event.high) - age.cdf(event.low)
            weight = weight * mass
    probability = weight.sum() * (s[1] - s[0])
    weight = weight / weight.sum()
    return float(probability), weight @ jobs, float(weight @ smokes), (weight, age)


ASKED = [
    ("job=cook", 1),
    ("job=cook|smith, smokes=no", 3),
    ("age>70", 2),
    ("age>30, age<=32, job!=nurse", 4),
    ("age=55", 1),
    ("age>95, smokes=yes", 2),
    ("job=nurse, age>75", 1),  # each is common, and both together are rare
]


@pytest.mark.parametrize(("wanted", "latent_dim"), ASKED)
def test_rows_follow_the_exact_conditional(wanted: str, latent_dim: int) -> None:
    torch.manual_seed(3)
    n = 8000
    found = sample_given(_vae(latent_dim), wanted, n)
    probability, jobs, smokes, (weight, age) = _exact(wanted)
    assert np.exp(found.log_probability) == pytest.approx(probability, rel=0.15)
    assert found.x.shape == (n, 3)
    x = found.x.double().numpy()
    for event in read_conditions(wanted, COLUMNS):
        inside = x[:, event.place].astype(np.float32)
        if event.categories is not None:
            assert set(np.unique(inside).astype(int)) <= event.categories
        else:
            assert (inside >= np.float32(event.low)).all()
            assert (inside <= np.float32(event.high)).all()
    drawn = np.bincount(x[:, 0].astype(int), minlength=3) / n
    assert 0.5 * np.abs(drawn - jobs).sum() < 0.035
    assert x[:, 2].mean() == pytest.approx(smokes, abs=0.035)
    events = [event for event in read_conditions(wanted, COLUMNS) if event.column is AGE]
    low, high = (events[0].low, events[0].high) if events else (-np.inf, np.inf)
    if low == high:
        assert (x[:, 1] == low).all()
        return
    for at in np.quantile(x[:, 1], [0.1, 0.3, 0.5, 0.7, 0.9]):
        inside = (age.cdf(at) - age.cdf(low)) / np.maximum(age.cdf(high) - age.cdf(low), 1e-300)
        assert (x[:, 1] <= at).mean() == pytest.approx(float(weight @ inside), abs=0.035)


def test_the_mapping_says_the_same_as_the_text() -> None:
    text = read_conditions("job=cook|smith, age>=30, age<=40, smokes=yes", COLUMNS)
    mapping = read_conditions({"job": ["cook", "smith"], "age": (30, 40), "smokes": "yes"}, COLUMNS)
    assert [(e.place, e.categories, e.low, e.high) for e in text] == [
        (e.place, e.categories, e.low, e.high) for e in mapping
    ]


def test_names_and_values_may_have_signs_in_quotes() -> None:
    odd = Column(name='size, in "m" > 1', kind="category", categories=("a|b", "c, d", "e"))
    (event,) = read_conditions('"size, in ""m"" > 1"="a|b"|"c, d"', [odd])
    assert event.categories == frozenset({0, 1})


def test_counts_and_levels_have_strict_and_weak_signs() -> None:
    columns = (GRADE, CHILDREN)
    grade, children = read_conditions("grade>low, children>1, children<4.5", columns)
    assert grade.categories == frozenset({1, 2})
    assert (children.low, children.high) == (2, 4)
    (none,) = read_conditions("children<1", columns)
    assert (none.low, none.high) == (0, 0)


WRONG = [
    ('"age>40', "condition '\"age>40': a double quote is never closed"),
    ('job=cook|"nurse', "a double quote is never closed"),
    ("age>40,", "condition 'age>40,': nothing stands beside a comma"),
    (",age>40", "nothing stands beside a comma"),
    ("age>40,,job=cook", "nothing stands beside a comma"),
    ("job=cook|", "value 'cook|': nothing stands beside a '|'"),
    ("job=|cook", "nothing stands beside a '|'"),
    ("age>40,5", "condition 'age>40,5': a comma separates conditions; write decimals with a point, 40.5"),
    ('age>"40,5"', "column 'age' has numbers, and '40,5' is not one; write 40.5"),
    ("jop=cook", "the model has no column 'jop' (identifiers and ignored columns are not modelled); did you"),
    ("job=cok", "column 'job' has no category 'cok'; did you mean 'cook'"),
    ("job>cook", "column 'job': > needs an order, and the column is of kind category; use = or !="),
    ("age=old", "column 'age' has numbers, and 'old' is not one"),
    ("age=nan", "column 'age' has numbers, and 'nan' is not one"),
    ("age!=3", "column 'age' has numbers: give one value with =, or an interval by < and >"),
    ("age", "condition 'age': after the column comes one of = != < <= > >= and a value"),
    ("age>", "condition 'age>': there is no value after >"),
    ("", "the condition is empty; give one such as 'age>40'"),
    ("age>40, age<30", "the condition 'age > 40 and age < 30' contradicts itself: no value satisfies it"),
    ("age>40, age<40", "contradicts itself"),
    ("job=cook, job=nurse", "the condition 'job = cook and job = nurse' contradicts itself"),
    ("age>1000", "the model gives the condition age > 1000 a probability below 1e-09; loosen it"),
]


@pytest.mark.parametrize(("wanted", "said"), WRONG)
def test_what_cannot_be_sampled_is_refused_in_one_line(wanted: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        sample_given(_vae(1), wanted, 10)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_exact_numbers_in_large_units_are_not_taken_for_impossible() -> None:
    """Their density is about 1e-12, as the standard deviations are 1e6; 100 deviations away is refused."""
    columns = [Column(name=name, kind="real", location=0.0, scale=1e6) for name in "ab"]
    head = MixedHead((2,), columns=columns)
    vae = VAE(
        nn.Linear(*head.input_shape, 2),
        nn.Linear(1, *head.in_shape),
        StandardNormal(1),
        shape=(2,),
        likelihood=head,
    )
    found = sample_given(vae, "a=200000, b=-300000", 20)
    assert found.log_probability < np.log(1e-9)
    assert found.x.tolist() == [[200000.0, -300000.0]] * 20
    with pytest.raises(UsageError, match="below 1e-09"):
        sample_given(vae, "a=200000, b=-1e8", 20)


def test_what_no_draw_from_the_prior_meets_is_not_refused_for_that() -> None:
    """P(E) is 3e-6, nearly all from codes beyond 4.5, of which 2,000 draws have none."""
    head = MixedHead((1,), columns=[SMOKES])
    decoder = nn.Linear(1, 1)
    with torch.no_grad():
        decoder.weight.fill_(60.0)
        decoder.bias.fill_(-270.0)
    vae = VAE(nn.Linear(2, 2), decoder, StandardNormal(1), shape=(1,), likelihood=head)
    s = np.linspace(-9, 9, 20001)
    exact = (stats.norm.pdf(s) / (1 + np.exp(-np.clip(60 * s - 270, -700, 700)))).sum() * (s[1] - s[0])
    torch.manual_seed(0)
    found = sample_given(vae, "smokes=yes", 100)
    assert found.log_probability == pytest.approx(np.log(exact), abs=0.5)


def test_a_count_is_no_fraction() -> None:
    with pytest.raises(UsageError, match="contradicts itself"):
        read_conditions("children=1.5", [CHILDREN])


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1.0, 2.0), (3.0, 3.1), (8.0, np.inf), (9.1, 9.5), (20.0, 20.1), (-np.inf, -6.0), (35.0, 40.0)],
)
def test_truncated_normals_agree_with_scipy(low: float, high: float) -> None:
    ends = (torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64))
    mirrored = (-high, -low) if low > 0 else (low, high)
    wanted = stats.norm.logcdf(mirrored[1]) + np.log(
        -np.expm1(stats.norm.logcdf(mirrored[0]) - stats.norm.logcdf(mirrored[1]))
    )
    assert float(log_normal_mass(*ends)) == pytest.approx(float(wanted), rel=1e-9)
    torch.manual_seed(0)
    drawn = truncated_normal(ends[0].expand(20000), ends[1].expand(20000)).numpy()
    assert drawn.min() >= low
    assert drawn.max() <= high
    sign, (a, b) = (1, (low, high)) if np.isfinite(low) else (-1, (-high, -low))
    mean = sign * stats.truncnorm.mean(a, b) if a < 30 else a + 1 / a
    assert drawn.mean() == pytest.approx(mean, abs=4 * drawn.std() / 140 + 1e-4)

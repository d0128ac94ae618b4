"""Three Bayesian networks: tables of any length whose log-density is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """A distribution of rows.

    Attributes
    ----------
    sample : callable
        (number of rows, generator) → columns by name.
    log_prob : callable
        Columns → log-density or log-probability of each row, (n,), in nats.
    kinds : dict
        Kinds of columns that are not inferred from their cells.
    """

    sample: Callable[[int, np.random.Generator], Table]
    log_prob: Callable[[Table], NDArray[np.float64]]
    kinds: dict[str, str]


def _choose(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One index for each row of probabilities (n, K)."""
    edges = probabilities.cumsum(1)
    drawn: NDArray[np.int64] = (rng.random(len(edges))[:, None] > edges[:, :-1]).sum(1)
    return drawn


def _log_of(probabilities: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log(np.take_along_axis(probabilities, index[:, None], 1)[:, 0])
    return found


def _index(words: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[word] for word in words])


# Survey: categories alone.
_AGES = ("18-29", "30-44", "45-64", "65+")
_JOBS = ("clerk", "cook", "nurse", "retired", "student")
_TOWNS = ("Bonn", "Kiel", "Lund", "Oulu", "Riga", "Turku")
_rng = np.random.default_rng(1)
_AGE = np.array([0.22, 0.27, 0.31, 0.20])
_JOB = np.array([[3, 2, 2, 0.05, 6], [5, 3, 3, 0.1, 0.8], [5, 2, 4, 1.5, 0.1], [0.5, 0.2, 0.3, 9, 0.05]])
_JOB = _JOB / _JOB.sum(1, keepdims=True)
_TOWN = _rng.dirichlet(np.full(6, 0.8), 5)
_SMOKES = np.array(
    [[0.4, 0.5, 0.2, 0.1, 0.3], [0.3, 0.5, 0.2, 0.2, 0.3], [0.2, 0.4, 0.1, 0.15, 0.3], [0.1] * 5]
)
_DRINK = _rng.dirichlet(np.full(4, 0.7), (6, 2))
_DRINKS = ("beer", "coffee", "juice", "tea")


def _survey_parts(age: Any, job: Any, town: Any, smokes: Any) -> list[NDArray[np.float64]]:
    n = len(age)
    smoke = np.stack([1 - _SMOKES[age, job], _SMOKES[age, job]], 1)
    return [np.broadcast_to(_AGE, (n, 4)), _JOB[age], _TOWN[job], smoke, _DRINK[town, smokes]]


def _sample_survey(n: int, rng: np.random.Generator) -> Table:
    age = _choose(np.broadcast_to(_AGE, (n, 4)), rng)
    job = _choose(_JOB[age], rng)
    town = _choose(_TOWN[job], rng)
    smokes = (rng.random(n) < _SMOKES[age, job]).astype(int)
    drink = _choose(_DRINK[town, smokes], rng)
    return {
        "age": np.array(_AGES)[age],
        "job": np.array(_JOBS)[job],
        "town": np.array(_TOWNS)[town],
        "smokes": np.array(["no", "yes"])[smokes],
        "drink": np.array(_DRINKS)[drink],
    }


def _survey_log_prob(table: Table) -> NDArray[np.float64]:
    names = (_AGES, _JOBS, _TOWNS, ("no", "yes"), _DRINKS)
    index = [_index(table[name], words) for name, words in zip(table, names, strict=True)]
    parts = _survey_parts(*index[:4])
    return np.sum([_log_of(p, i) for p, i in zip(parts, index, strict=True)], 0)


# Clinic: real numbers, counts, a boolean and a category, each depending on others.
_DIAGNOSES = ("flu", "heart", "none", "sugar")


def _clinic_of(sex: Any, age: Any, smokes: Any, weight: Any, pressure: Any) -> tuple[Any, ...]:
    """Parameters of the columns that depend on others."""
    smoke = special.expit(-1.2 + 0.5 * sex - 0.02 * (age - 50))
    mean_weight = 62 + 14 * sex + 0.15 * (age - 50) - 3 * smokes
    mean_pressure = 118 + 0.5 * (age - 50) + 0.4 * (weight - 70) + 8 * smokes * (age > 50)
    visits = np.exp(0.2 + 0.015 * (age - 50) + 0.02 * (pressure - 120))
    heart = 0.08 * (age - 60) + 0.04 * (pressure - 130)
    logits = np.stack(np.broadcast_arrays(0 * age, heart, 1 + 0 * age, 0.06 * (weight - 85)), 1)
    return smoke, mean_weight, mean_pressure, visits, special.softmax(logits, 1)


def _sample_clinic(n: int, rng: np.random.Generator) -> Table:
    sex = (rng.random(n) < 0.48).astype(int)
    age = 50 + 16 * rng.standard_normal(n)
    smokes = (rng.random(n) < _clinic_of(sex, age, 0, 70, 120)[0]).astype(int)
    weight = _clinic_of(sex, age, smokes, 70, 120)[1] + 9 * rng.standard_normal(n)
    pressure = _clinic_of(sex, age, smokes, weight, 120)[2] + 10 * rng.standard_normal(n)
    *_, visits, diagnosis = _clinic_of(sex, age, smokes, weight, pressure)
    return {
        "sex": np.array(["f", "m"])[sex],
        "age": age,
        "smokes": np.array(["no", "yes"])[smokes],
        "weight": weight,
        "pressure": pressure,
        "visits": rng.poisson(visits),
        "diagnosis": np.array(_DIAGNOSES)[_choose(diagnosis, rng)],
    }


def _clinic_log_prob(table: Table) -> NDArray[np.float64]:
    sex, smokes = _index(table["sex"], ("f", "m")), _index(table["smokes"], ("no", "yes"))
    age, weight, pressure = table["age"], table["weight"], table["pressure"]
    smoke, mean_weight, mean_pressure, visits, diagnosis = _clinic_of(sex, age, smokes, weight, pressure)
    parts = [
        stats.bernoulli.logpmf(sex, 0.48),
        stats.norm.logpdf(age, 50, 16),
        stats.bernoulli.logpmf(smokes, smoke),
        stats.norm.logpdf(weight, mean_weight, 9),
        stats.norm.logpdf(pressure, mean_pressure, 10),
        stats.poisson.logpmf(table["visits"], visits),
        _log_of(diagnosis, _index(table["diagnosis"], _DIAGNOSES)),
    ]
    return np.sum(parts, 0)


# Shop: several modes, heavy tails, overdispersed counts.
_SEGMENTS = ("family", "pensioner", "student")
_SHARE = np.array([0.5, 0.3, 0.2])
_INCOME, _SPREAD = np.array([10.4, 9.9, 8.8]), np.array([0.5, 0.3, 0.4])
_HOUR = np.array([[17.5, 1.5], [10.0, 1.2], [20.0, 2.0]])
_MEMBER = np.array([0.7, 0.4, 0.15])


def _sample_shop(n: int, rng: np.random.Generator) -> Table:
    segment = _choose(np.broadcast_to(_SHARE, (n, 3)), rng)
    income = np.exp(_INCOME[segment] + _SPREAD[segment] * rng.standard_normal(n))
    member = (rng.random(n) < _MEMBER[segment]).astype(int)
    spent = np.exp(-5.5 + 0.9 * np.log(income) + 0.4 * member + 0.6 * rng.standard_normal(n))
    items = rng.negative_binomial(2.0, 2.0 / (2.0 + 0.12 * spent))
    hour = _HOUR[segment, 0] + _HOUR[segment, 1] * rng.standard_normal(n)
    return {
        "segment": np.array(_SEGMENTS)[segment],
        "income": income,
        "member": np.array(["no", "yes"])[member],
        "spent": spent,
        "items": items,
        "hour": hour,
    }


def _shop_log_prob(table: Table) -> NDArray[np.float64]:
    segment, member = _index(table["segment"], _SEGMENTS), _index(table["member"], ("no", "yes"))
    income, spent = table["income"], table["spent"]
    parts = [
        np.log(_SHARE)[segment],
        stats.norm.logpdf(np.log(income), _INCOME[segment], _SPREAD[segment]) - np.log(income),
        stats.bernoulli.logpmf(member, _MEMBER[segment]),
        stats.norm.logpdf(np.log(spent), -5.5 + 0.9 * np.log(income) + 0.4 * member, 0.6) - np.log(spent),
        stats.nbinom.logpmf(table["items"], 2.0, 2.0 / (2.0 + 0.12 * spent)),
        stats.norm.logpdf(table["hour"], _HOUR[segment, 0], _HOUR[segment, 1]),
    ]
    return np.sum(parts, 0)


NETWORKS: dict[str, Network] = {
    "survey": Network(_sample_survey, _survey_log_prob, {}),
    "clinic": Network(_sample_clinic, _clinic_log_prob, {"visits": "count"}),
    "shop": Network(
        _sample_shop, _shop_log_prob, {"items": "count", "income": "positive", "spent": "positive"}
    ),
}

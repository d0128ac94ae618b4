"""The tables of known truth: their densities are those of their rows; and the benchmark runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from benchmarks.tables.anomaly_sets import anomaly_sets
from benchmarks.tables.models import Table, knn, rows_of, train_elboroom
from benchmarks.tables.networks import _AGES, _DRINKS, _JOBS, _TOWNS, NETWORKS
from scipy import stats


def test_probabilities_of_the_survey_add_up_to_one_and_are_the_frequencies() -> None:
    survey = NETWORKS["survey"]
    cells = list(itertools.product(_AGES, _JOBS, _TOWNS, ("no", "yes"), _DRINKS))
    names = ("age", "job", "town", "smokes", "drink")
    every = {name: np.array(column) for name, column in zip(names, zip(*cells, strict=True), strict=True)}
    probabilities = np.exp(survey.log_prob(every))
    assert probabilities.sum() == pytest.approx(1)
    drawn = survey.sample(50_000, np.random.default_rng(0))
    for name in names:
        for value in np.unique(every[name]):
            share = (drawn[name] == value).mean()
            assert share == pytest.approx(probabilities[every[name] == value].sum(), abs=0.01)


@pytest.mark.parametrize("name", ["clinic", "shop"])
def test_a_density_divided_by_that_of_the_rows_is_one_on_average(name: str) -> None:
    """E_p[q/p] = 1 for every density q: here independent columns, narrower than the rows', in each group."""
    network = NETWORKS[name]
    drawn = network.sample(200_000, np.random.default_rng(1))
    log_q = np.zeros(200_000)
    group = next(cells for cells in drawn.values() if cells.dtype.kind == "U")
    for (column, cells), value in itertools.product(drawn.items(), np.unique(group)):
        rows = group == value
        logged = network.kinds.get(column) == "positive"
        if cells.dtype.kind == "f":
            values = np.log(cells[rows]) if logged else cells[rows]
            middle, spread = np.median(values), 0.4 * values.std()
            log_q[rows] += stats.norm.logpdf(values, middle, spread) - (values if logged else 0)
        elif cells.dtype.kind == "i":
            log_q[rows] += stats.randint.logpmf(cells[rows], 0, np.median(cells[rows]) + 1)
        else:
            log_q[rows] -= np.log(len(np.unique(cells)))
    ratio = np.exp(log_q - network.log_prob(drawn))
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.05
    assert ratio.mean() == pytest.approx(1, abs=4 * error)


def test_rows_of_a_small_model_have_the_columns_of_the_table() -> None:
    import pandas as pd

    network = NETWORKS["shop"]
    table = Table(pd.DataFrame(network.sample(300, np.random.default_rng(0))), network.kinds)
    vae = train_elboroom(table.as_dataset(250), epochs=2, seed=0, hidden=(8,))
    drawn = rows_of(vae, 50, seed=0)
    assert list(drawn) == list(table.frame)
    assert set(drawn["segment"]) <= set(table.frame["segment"])
    assert (drawn["items"] == drawn["items"].round()).all()


def test_anomaly_sets_are_eight_with_some_odd_rows() -> None:
    sets = anomaly_sets(0)
    assert len(sets) == 8
    for task in sets.values():
        assert 0.03 < task.odd.mean() < 0.25
        assert len(task.train) >= 50
    assert np.isfinite(knn(sets["wine"].train, sets["wine"].test, 0)).all()

"""What ``evaluate`` says of a table: nats of each column, accuracies and errors in the column's units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.cli.column_table import table_of_columns
from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.data.columns import from_columns
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate, evaluate_columns
from elboroom.models.vae import VAE
from elboroom.training.prepare import build


def table(n: int = 300) -> Dataset:
    """Ages that depend on the job, with holes; incomes; a column of which nothing is known in a test row."""
    rng = np.random.default_rng(0)
    job = rng.integers(0, 3, n)
    age = 30 + 10 * job + 3 * rng.standard_normal(n)
    age[rng.random(n) < 0.2] = np.nan
    jobs = np.array(["cook", "nurse", "smith"], object)[job]
    jobs[rng.random(n) < 0.1] = None
    cells: dict[str, Any] = {"age": age, "job": jobs, "smokes": rng.random(n) < 0.3}
    cells |= {"income": np.exp(7 + 0.1 * age + rng.standard_normal(n)), "children": rng.poisson(2.0, n)}
    return from_columns(cells, kinds={"income": "positive", "children": "count"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[VAE, Dataset, Path]:
    data, folder = table(), tmp_path_factory.mktemp("table") / "run"
    config = Config().updated(hidden=(16,), epochs=2, batch_size=50, seed=1)
    vae = build(config, data)
    elboroom.fit(vae, data, config=config, out=folder, quiet=True)
    return vae, data, folder


def _batches(data: Dataset) -> Batches:
    return Batches(data, torch.device("cpu"))


def test_the_columns_add_up_to_the_distortion(trained: tuple[VAE, Dataset, Path]) -> None:
    vae, data, _ = trained
    rows = data.indices("test")
    whole = evaluate(vae, _batches(data), rows, num_samples=200, seed=1)
    columns = evaluate_columns(vae, _batches(data), rows, num_samples=200, seed=1)
    assert [c["name"] for c in columns] == ["age", "job", "smokes", "income", "children"]
    total = sum(c["nats"] * c["observed"] for c in columns) / len(rows)
    error = 5 * whole["distortion_stderr"] + 1e-4
    assert total == pytest.approx(whole["distortion"], abs=error)
    assert columns[0]["observed"] == int((~np.isnan(data.x[rows, 0])).sum()) < len(rows)
    assert whole["likelihood_of"] == "log p(observed cells)"
    assert whole["bits_per_dim"] is None
    assert whole["bits_per_dim_reason"] == "the data are a table, whose columns have units of their own"


def test_errors_and_accuracies_are_those_of_the_shown_cells(trained: tuple[VAE, Dataset, Path]) -> None:
    vae, data, _ = trained
    rows = data.indices("test")
    x = data.x[rows]
    shown = vae.reconstruct(x).numpy()
    found = evaluate_columns(vae, _batches(data), rows)
    for i in (0, 3, 4):
        known = ~np.isnan(x[:, i])
        cells = x[known, i].astype(np.float64)
        assert found[i]["rmse"] == pytest.approx(np.sqrt(np.mean((cells - shown[known, i]) ** 2)), rel=1e-5)
        assert found[i]["deviation"] == pytest.approx(cells.std(), rel=1e-5)
    known = ~np.isnan(x[:, 1])
    assert found[1]["accuracy"] == pytest.approx(np.mean(x[known, 1] == shown[known, 1]))
    assert found[1]["majority"] == pytest.approx(
        np.unique(x[known, 1], return_counts=True)[1].max() / known.sum()
    )


def test_a_column_of_holes_has_no_numbers(trained: tuple[VAE, Dataset, Path]) -> None:
    vae, data, _ = trained
    x = data.x[:5].copy()
    x[:, 1] = np.nan
    (_, job, *_) = found = evaluate_columns(
        vae, _batches(Dataset("holes", x, data.split[:5], columns=data.columns)), np.arange(5)
    )
    assert (job["nats"], job["accuracy"], job["majority"], job["observed"]) == (None, None, None, 0)
    json.dumps(found, allow_nan=False)
    assert table_of_columns(found)[2].split() == ["job", "0", "–"]


def test_lines_fit_a_terminal_of_80() -> None:
    long = {
        "name": "a\nvery long name of a column",
        "observed": 12_345_678,
        "nats": -123.4567,
        "nats_stderr": 1.2,
    }
    lines = table_of_columns(
        [long | {"accuracy": 1.0, "majority": 1.0}, long | {"rmse": 1.23e-10, "deviation": 1.24e10}]
    )
    assert max(map(len, lines)) <= 80
    assert all("\n" not in line for line in lines)


def test_only_tables_have_columns() -> None:
    vae = VAE.build(shape=(3,), hidden=(4,))
    data = Dataset("numbers", np.zeros((4, 3), np.float32), np.zeros(4))
    with pytest.raises(UsageError, match="not one of a table"):
        evaluate_columns(vae, _batches(data), np.arange(4))


def test_a_model_trained_in_other_units_says_the_same_in_nats_of_those_units() -> None:
    """Of every family of numbers: hand-scaled data cost Σ log s more."""
    cells = np.random.default_rng(3).gamma(2.0, 3.0, (200, 5)).astype(np.float32)
    families = ("gaussian", "student_t", "mixture", "quantile", "log_normal")
    kinds = ("real", "real", "real", "real", "positive")
    columns = tuple(
        Column(name=family, kind=kind, family=family)  # type: ignore[arg-type]
        for family, kind in zip(families, kinds, strict=True)
    )
    scales = np.array([1.0, 1000.0, 0.01, 3.0, 60.0], np.float32)
    found = []
    for x in (cells, cells * scales):
        data = Dataset("units", x, np.arange(200) % 4 == 0, columns=columns)
        config = Config().updated(hidden=(8,), epochs=3, batch_size=50, seed=1)
        vae = build(config, data)
        elboroom.fit(vae, data, config=config, quiet=True)
        found.append(evaluate_columns(vae, _batches(data), data.indices("test")))
    for plain, scaled, scale in zip(*found, scales, strict=True):
        assert scaled["nats"] - plain["nats"] == pytest.approx(np.log(scale), abs=2e-3)
        assert scaled["rmse"] / plain["rmse"] == pytest.approx(scale, rel=2e-3)

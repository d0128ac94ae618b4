"""``elboroom sample --given`` and ``--privacy``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from .conftest import SMALL, Command


@pytest.fixture
def run(elboroom: Command, undrawn: None) -> str:
    rng = np.random.default_rng(0)
    job = rng.integers(0, 2, 200)
    rows = zip(
        (30 + 20 * job + 3 * rng.standard_normal(200)).round(1),
        np.array(["cook", "nurse"])[job],
        rng.poisson(1 + job),
        np.datetime64("2021-01-01") + rng.integers(0, 300, 200),
        strict=True,
    )
    with Path("people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("age", "job", "kids", "joined"), *rows])
    assert elboroom("train", "people.csv", "--out", "run", *SMALL).code == 0
    return "run"


def test_all_rows_satisfy_the_condition(elboroom: Command, run: str) -> None:
    given = "job=cook, kids>=1, joined<2021-06-01, age>=20"
    result = elboroom("sample", run, "--given", given, "--n", 30, "--out", "s.csv", "--privacy")
    assert result.code == 0, result.err
    assert "probability of the condition under the model: 0." in result.err
    assert "effective sample size 30 of 30" in result.err
    assert "nearer to a training row than to a held-out row" in result.err
    with Path("s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    for row in rows:
        assert row["job"] == "cook"
        assert int(row["kids"]) >= 1
        assert row["joined"] < "2021-06-01"
        assert float(row["age"]) >= 20
    assert elboroom("sample", run, "--given", given, "--n", 30, "--out", "again.csv").code == 0
    assert Path("again.csv").read_text() == Path("s.csv").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--given", "jop=cook"],
            "the model has no column 'jop' (identifiers and ignored columns are not modelled); did you mean",
        ),
        (["--given", "joined>yesterday"], "'yesterday' is not one in the format %Y-%m-%d"),
        (["--given", "age>40, age<30"], "contradicts itself"),
        (["--given", "age>40", "--out", "x.png"], "--out x.png: cannot write a .png"),
    ],
)
def test_wrong_conditions_write_nothing(elboroom: Command, run: str, options: list[str], said: str) -> None:
    result = elboroom("sample", run, *options)
    assert result.code == 2
    assert said in result.err
    assert not list(Path("run").glob("samples/*"))


def test_pictures_have_no_columns(elboroom: Command, undrawn: None) -> None:
    assert elboroom("train", "digits", "--out", "run", *SMALL).code == 0
    for options in (["--given", "age>40"], ["--privacy"]):
        result = elboroom("sample", "run", *options, "--out", "x.npy")
        assert result.code == 2
        assert "table" in result.err
        assert not Path("x.npy").exists()

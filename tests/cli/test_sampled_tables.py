"""Samples of a model of tables, written as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elboroom.data import load_data

from .conftest import SMALL, Command, World

OPTIONS = ["--likelihood", "gaussian", *SMALL]


def _train(elboroom: Command, text: str, *options: str) -> None:
    Path("people.csv").write_text(text)
    result = elboroom("train", "people.csv", "--out", "run", *OPTIONS, *options)
    assert result.code == 0, result.err


def _rows(*, label: bool) -> str:
    rng = np.random.default_rng(0)
    rows = [(1000 + 50 * a, 0.01 * b) for a, b in rng.normal(size=(60, 2))]
    heading = 'income,"rate, yearly"' + (",label\n" if label else "\n")
    ends = [f",{'xy'[i % 2]}" if label else "" for i in range(len(rows))]
    return heading + "".join(f"{a},{b}{end}\n" for (a, b), end in zip(rows, ends, strict=True))


@pytest.mark.parametrize("options", [(), ("--standardize",)])
def test_a_table_of_samples_has_the_columns_and_units_of_the_training_table(
    elboroom: Command, undrawn: None, options: tuple[str, ...]
) -> None:
    _train(elboroom, _rows(label=False), *options)
    assert elboroom("sample", "run", "--n", 9, "--out", "s.csv").code == 0
    assert elboroom("sample", "run", "--n", 9, "--out", "s.npy").code == 0
    assert Path("s.csv").read_text().splitlines()[0] == 'income,"rate, yearly"'
    np.testing.assert_array_equal(load_data("s.csv").x, np.load("s.npy"))
    if options:
        assert 500 < load_data("s.csv").x[:, 0].mean() < 1500


def test_a_conditional_model_writes_the_label_of_each_row(elboroom: Command, undrawn: None) -> None:
    _train(elboroom, _rows(label=True), "--condition", "labels")
    assert elboroom("sample", "run", "--n", 6, "--out", "s.csv").code == 0
    data = load_data("s.csv")
    assert data.label_names == ("x", "y")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert elboroom("sample", "run", "--n", 3, "--label", "y", "--out", "y.csv").code == 0
    assert Path("y.csv").read_text().splitlines()[0] == 'income,"rate, yearly"'


def test_without_the_training_table_columns_are_numbered(elboroom: Command, undrawn: None) -> None:
    _train(elboroom, _rows(label=False))
    Path("people.csv").unlink()
    assert elboroom("sample", "run", "--n", 2, "--out", "s.csv").code == 0
    assert Path("s.csv").read_text().splitlines()[0] == "x1,x2"


def test_pictures_are_no_table(elboroom: Command, world: World) -> None:
    result = elboroom("sample", world.run, "--out", "s.csv")
    assert result.code == 2
    assert "examples have the shape (6, 6, 1), and a table contains rows of numbers" in result.err

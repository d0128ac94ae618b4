"""Rows written in the columns, types and categories of the training table; a round trip changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from elboroom.config.columns import Column
from elboroom.data import load_data
from elboroom.data.columns import fitted_columns
from elboroom.data.table_write import as_csv, decode_cells, to_frame, write_table
from elboroom.errors import UsageError

HEADER = "age,job,kids,smokes,day,when,note\n"
ROWS = [
    "31.5,cook,0,yes,2020-01-05,05.02.2021 10:30,1",
    ",nurse,2,no,2019-12-31,06.02.2021 23:59,2",
    '40.25,"smith, master",,yes,,07.02.2021 00:00,4',
    "7.0,,1,,2020-01-01,,2",
]


def _written(tmp_path: Path, text: str, **options: str) -> str:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    data = load_data(tmp_path / "t.csv", **options)  # type: ignore[arg-type]
    return as_csv(fitted_columns(data), data.x)


def test_a_text_table_is_written_as_it_was(tmp_path: Path) -> None:
    text = HEADER + "\n".join(ROWS * 5) + "\n"
    assert _written(tmp_path, text) == text


def test_decimal_commas_are_kept(tmp_path: Path) -> None:
    text = "a;b\n" + "1,5;x\n22,25;y\n;z\n" * 5
    assert _written(tmp_path, text) == text


@pytest.mark.parametrize("seed", range(6))
def test_reading_writing_and_reading_give_the_same(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(30, 300))
    cells = {
        "real": np.round(rng.normal(0, 10.0 ** rng.integers(-3, 6), n), int(rng.integers(0, 7))),
        "positive": rng.lognormal(0, 2, n),
        "count": rng.poisson(3, n).astype(float),
        "word": rng.choice(["a", "b,c", 'say "x"', "two\nlines", "ä"], n),
        "flag": rng.choice([True, False], n),
        "day": (np.datetime64("1999-02-27") + rng.integers(0, 9000, n)).astype(str),
        "second": (np.datetime64("2020-02-27T00:00:00") + rng.integers(0, 9_000_000, n)).astype(str),
    }
    frame = pd.DataFrame(cells).astype(object)
    frame = frame.mask(rng.random(frame.shape) < 0.1)
    frame.to_csv(tmp_path / "a.csv", index=False)
    first = load_data(tmp_path / "a.csv")
    columns = fitted_columns(first)
    write_table(tmp_path / "b.csv", columns, first.x)
    second = load_data(tmp_path / "b.csv")
    np.testing.assert_array_equal(second.x, first.x)
    assert [c.name for c in second.columns] == list(cells)
    assert [(c.kind, c.categories) for c in second.columns] == [(c.kind, c.categories) for c in columns]
    known = load_data(tmp_path / "b.csv", columns=columns)
    np.testing.assert_array_equal(known.x, first.x)


def test_draws_are_rounded_like_the_table(tmp_path: Path) -> None:
    columns = (
        Column(name="n", kind="count", whole=True),
        Column(name="x", kind="real", decimals=2),
        Column(
            name="d", kind="datetime", step="day", origin="2020-01-01", whole=True, date_format="%d/%m/%y"
        ),
        Column(name="b", kind="boolean", categories=("0", "1")),
    )
    x = np.array([[2.7, 1.23456, 1.4, 1], [np.nan] * 4], np.float32)
    assert as_csv(columns, x, {"score": [1.5, None]}) == "n,x,d,b,score\n3,1.23,02/01/20,1,1.5\n,,,,\n"
    with pytest.raises(UsageError, match=r"rows have shape \(2, 3\); they must be \(n, 4\)"):
        decode_cells(columns, x[:, :3])
    with pytest.raises(UsageError, match=r"table is written as \.csv, \.tsv, \.parquet"):
        write_table(tmp_path / "a.xlsx", columns, x)


def test_a_data_frame_gets_its_types_back() -> None:
    frame = pd.DataFrame(
        {
            "i": np.arange(40) % 7,
            "f": np.linspace(0, 1, 40),
            "I": pd.array([1, None, 2, 5] * 10, dtype="Int64"),
            "b": [True, False] * 20,
            "B": pd.array([True, None, False, True] * 10, dtype="boolean"),
            "o": pd.Categorical(["low", "mid", "high", None] * 10, ["low", "mid", "high"], ordered=True),
            "t": pd.date_range("2020-01-01", periods=40, freq="h", tz="Europe/Berlin"),
            "d": pd.to_timedelta(np.arange(40) % 11, unit="s"),
            "s": ["x", "y"] * 20,
        }
    )
    data = load_data(frame)
    assert [c.kind for c in data.columns] == [
        *("count", "real", "count", "boolean", "boolean", "ordinal", "datetime", "count", "category")
    ]
    back = to_frame(fitted_columns(data), data.x)
    pd.testing.assert_frame_equal(
        back.drop(columns=["f", "t"]),
        frame.drop(columns=["f", "t"]),
        check_dtype=False,
        check_categorical=True,
    )
    np.testing.assert_allclose(back["f"], frame["f"], rtol=1e-6)
    assert (back["t"] == frame["t"]).all()
    kept = ["i", "f", "I", "b", "B", "o", "s"]
    assert back.dtypes[kept].astype(str).tolist() == frame.dtypes[kept].astype(str).tolist()

"""Tables in memory and in Parquet files: the same data set as of the same table in a text file."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elboroom.data import load_data
from elboroom.data.columns import fitted_columns
from elboroom.data.dataset import Dataset
from elboroom.data.table_write import to_frame, write_table
from elboroom.errors import UsageError

N = 60
DAYS = pd.date_range("2020-03-01", periods=N, freq="D")
CELLS: dict[str, Any] = {
    "age": [None if i % 7 == 0 else 20 + i / 8 for i in range(N)],
    "kids": [i % 5 for i in range(N)],
    "job": [None if i % 9 == 1 else ["cook", "nurse", "smith"][i % 3] for i in range(N)],
    "smokes": [i % 4 == 0 for i in range(N)],
    "day": [day.date() for day in DAYS],
}


def _frame() -> pd.DataFrame:
    return pd.DataFrame({**CELLS, "day": DAYS})


def _meaning(data: Dataset) -> list[tuple[Any, ...]]:
    return [(c.name, c.kind, c.categories, c.origin, c.step, c.whole) for c in data.columns]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("text") / "t.csv"
    _frame().to_csv(path, index=False)
    return load_data(path)


def _assert_equal(data: Dataset, text: Dataset) -> None:
    np.testing.assert_array_equal(data.x, text.x)
    assert _meaning(data) == _meaning(text)
    assert data.fingerprint() == text.fingerprint()


def test_data_frames_of_pandas(text: Dataset) -> None:
    frame = _frame()
    _assert_equal(load_data(frame), text)
    _assert_equal(load_data(frame.convert_dtypes()), text)
    _assert_equal(load_data(frame.astype(object)), text)
    _assert_equal(load_data({name: frame[name] for name in frame}), text)
    _assert_equal(load_data(frame.astype({"job": "category"})), text)
    _assert_equal(load_data(frame.set_index(frame.index + 5)), text)


def test_dicts_of_lists_and_structured_arrays(text: Dataset) -> None:
    _assert_equal(load_data(CELLS), text)
    rows = np.zeros(N, [("age", "f8"), ("kids", "i4"), ("job", "U9"), ("smokes", "?"), ("day", "M8[D]")])
    for name, cells in CELLS.items():
        rows[name] = [("" if name == "job" else np.nan) if cell is None else cell for cell in cells]
    _assert_equal(load_data(rows), text)


def test_data_frames_of_polars(text: Dataset) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(CELLS)
    _assert_equal(load_data(frame), text)
    _assert_equal(load_data(frame.with_columns(polars.col("job").cast(polars.Categorical))), text)
    more = polars.DataFrame(
        {
            "size": polars.Series(["S", "L", None, "M"] * 10, dtype=polars.Enum(["S", "M", "L"])),
            "when": polars.Series(
                [datetime.datetime(2020, 1, i % 9 + 1, 12, tzinfo=datetime.UTC) for i in range(40)]
            ),
            "took": polars.Series([datetime.timedelta(seconds=i % 7 + 0.5) for i in range(40)]),
            "flag": polars.Series([True, None, False, True] * 10),
        }
    )
    data = load_data(more)
    assert [data.columns[i].kind for i in (0, 1, 3)] == ["ordinal", "datetime", "boolean"]
    assert data.x[:4, 0].tolist()[:2] == [0, 2]
    assert data.columns[1].timezone == "UTC"
    assert data.x[:2, 2].tolist() == [0.5, 1.5]
    assert np.isnan(data.x[1, 3])


def test_parquet_is_read_and_written(text: Dataset, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    _frame().to_parquet(tmp_path / "a.parquet")
    _assert_equal(load_data(tmp_path / "a.parquet"), text)
    columns = fitted_columns(load_data(tmp_path / "a.parquet"))
    write_table(tmp_path / "b.parquet", columns, text.x, {"score": list(range(N))})
    back = pd.read_parquet(tmp_path / "b.parquet")
    assert back["score"].tolist() == list(range(N))
    _assert_equal(load_data(back.drop(columns="score")), text)
    _assert_equal(load_data(pyarrow.table(CELLS)), text)
    (tmp_path / "c.parquet").write_bytes(b"PAR1" * 5)
    with pytest.raises(UsageError, match=r"c\.parquet: is not a Parquet file or is damaged"):
        load_data(tmp_path / "c.parquet")


def test_types_of_pandas() -> None:
    frame = pd.DataFrame(
        {
            "grade": pd.Categorical(["b", "a", None, "c"] * 10, ["c", "b", "a"], ordered=True),
            "number": pd.Categorical([3, 1, 1, 2] * 10),
            "when": pd.date_range("2020-01-01 00:30", periods=40, freq="7h", tz="Europe/Berlin"),
            "took": pd.to_timedelta(np.arange(40) % 7 + 0.5, unit="s"),
            "flag": pd.array([True, None, False, True] * 10, dtype="boolean"),
            "mixed": [1, "a", 2, None] * 10,
        }
    )
    data = load_data(frame)
    kinds = [c.kind for c in data.columns]
    assert kinds == ["ordinal", "category", "datetime", kinds[3], "boolean", "category"]
    assert data.columns[0].categories == ("c", "b", "a")
    assert data.x[:2, 0].tolist() == [1, 2]
    assert data.columns[1].categories == ("1", "2", "3")
    assert (data.columns[2].step, data.columns[2].origin, data.columns[2].timezone) == (
        *("minute", "2019-12-31"),
        "Europe/Berlin",
    )
    assert data.x[0, 2] == 23 * 60 + 30  # half past midnight in Berlin is half past eleven in UTC
    assert data.columns[3].unit == "s"
    back = to_frame(fitted_columns(data), data.x)
    assert (back["when"] == frame["when"]).all()
    assert back["took"].dt.total_seconds().tolist() == frame["took"].dt.total_seconds().tolist()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pd.DataFrame(), "no rows or no columns"),
        (pd.DataFrame({"a": [1.0, np.inf] * 10}), "column 'a': 'inf' in row 1 (counting from 0) is infinite"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
        ({"a": [1, 2], "b": [1]}, "the columns have 1, 2 cells"),
        ({"a": [[1], [2]]}, "column 'a': row 0 (counting from 0) contains a list"),
        ({"a": [1j, 2j]}, "column 'a': row 0 (counting from 0) contains a complex"),
        (
            pd.DataFrame({"a": [1.5, "x", 3, 4.5] * 9}),
            "column 'a' holds 27 numbers and 9 words, such as 'x' in row 1",
        ),
    ],
)
def test_bad_tables_are_refused_by_column(table: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load_data(table)
    assert said in str(error.value)


def test_labels_and_names_of_rows(tmp_path: Path) -> None:
    frame = _frame().assign(label=[None if i == 4 else "ab"[i % 2] for i in range(N)])
    frame.index = pd.Index([f"person {i}" for i in range(N)])
    frame.to_csv(tmp_path / "t.csv")
    text, data = load_data(tmp_path / "t.csv"), load_data(frame)
    _assert_equal(data, text)
    assert data.labels is not None
    assert text.labels is not None
    assert data.labels.tolist() == text.labels.tolist()
    assert data.label_names == text.label_names == ("a", "b")
    assert data.names == text.names
    assert data.names[4] == "person 5"
    assert data.rows is not None
    assert data.rows[4] == 5
    assert len(data.skipped) == len(text.skipped) == 1

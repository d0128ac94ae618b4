"""``data show`` of a table: one line a column, at 80 columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.data.columns import from_columns
from elboroom.data.table_summary import summary_lines


def _data() -> Any:
    rng = np.random.default_rng(0)
    n = 120
    return from_columns(
        {
            "a very long name of a column": rng.normal(0, 1e5, n),
            "weight": np.where(rng.random(n) < 0.05, np.nan, rng.lognormal(4, 0.5, n)),
            "word": [f"word {i % 60}" for i in range(n)],
            "grade": [["low", "mid", "high", None][i % 4] for i in range(n)],
            "day": (np.datetime64("2020-01-01") + rng.integers(0, 99, n)),
            "same": ["x"] * n,
        },
        kinds={"grade": "ordinal:low<mid<high", "weight": "positive[kg]"},
    )


@pytest.mark.parametrize("width", [72, 80, 120])
def test_each_column_has_a_line_that_fits(width: int) -> None:
    lines = summary_lines(_data(), width)
    assert [line.split()[0] for line in lines] == ["column", "a", "weight", "word", "grade", "day", "same"]
    assert max(map(len, lines)) <= width
    assert lines[2].split()[:4] == ["weight", "[kg]", "positive", f"{np.isnan(_data().x[:, 1]).mean():.1%}"]
    assert "  60 categories" in lines[3]
    assert lines[4].split()[1:5] == ["ordinal", "25%", "ordinal", "low"]
    assert lines[5].endswith("2020-01-01 to 2020-04-08") or width != 80
    assert lines[6].split() == ["same", "ignored", "not", "modelled"]


def test_the_command_shows_columns_and_takes_kinds(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "t.csv"
    path.write_text("größe;zip\n" + "1,5;12345\n2,5;99999\n;12345\n" * 10, encoding="windows-1252")
    main(["data", "show", str(path), "--encoding", "windows-1252", "--kinds", "zip=category"])
    shown = capsys.readouterr().out
    assert "größe   real          33%  gaussian     1,5 to 2,5, median 1,5" in shown
    assert "zip     category       0%  categorical  12345 (20), 99999 (10)" in shown
    assert "decimal commas" in shown
    assert len(load_data(path, encoding="windows-1252")) == 30

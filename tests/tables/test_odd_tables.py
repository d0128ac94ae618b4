"""Text tables that are odd in one place: what is said of it, and that every row keeps its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom.data import load_data
from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.tables.filled import filled_text


def _table(folder: Path, text: str, **options: Any) -> Dataset:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return load_data(path, **options)


DAYS = [f"{i % 28 + 1:02d}/{i % 12 + 1:02d}/2021" for i in range(60)]


def _dates(cells: list[str]) -> str:
    return "d,c\n" + "".join(f"{cell},{'ab'[i % 2]}\n" for i, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([*DAYS, "31/02/2021"], "'31/02/2021' is not a date like the others, %d/%m/%Y, in line 62"),
        (["31/02/2021", *DAYS], "'31/02/2021' is not a date like the others, %d/%m/%Y, in line 2"),
        (["2021-03-05", *DAYS], "'2021-03-05' are dates in two formats, the latter in line 2"),
        # Two in one format, and one that is more often said in another.
        (["2021-03-05", "2021-03-06", *["13/01/2021"] * 60], "'2021-03-05' are dates in two formats"),
        (["01/02/2021", "03/04/2021", "31/02/2021"] * 9, "'01/02/2021' may be %d/%m/%Y or %m/%d/%Y"),
        (["99/01/2021", "99/02/2021"] * 20, "'99/01/2021' in line 2 is not a date; give the format"),
    ],
)  # fmt: skip
def test_the_cell_that_is_no_date_is_named(tmp_path: Path, cells: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        _table(tmp_path, _dates(cells))
    assert said in str(error.value)


def test_the_format_that_a_message_names_reads_the_table(tmp_path: Path) -> None:
    data = _table(tmp_path, _dates(["31/02/2021", *DAYS]), kinds="d=datetime:%d/%m/%Y")
    assert np.isnan(data.x[:, 0]).tolist() == [True] + [False] * 60
    assert any("'31/02/2021' in line 2 is taken as missing" in note for note in data.notes)


GAP = "a,b,c\n,,\n" + "".join(f"{i / 7:.3f},{'' if i % 3 else i / 2},{'uv'[i % 2]}\n" for i in range(40))
GAP = GAP.replace("1.429,", ",,\n1.429,", 1) + ",,\n"


def test_cells_are_filled_in_their_own_row_where_an_empty_one_stands_between(tmp_path: Path) -> None:
    data = _table(tmp_path, GAP)
    assert data.rows is not None
    assert data.rows.tolist() == [*range(1, 11), *range(12, 42)]
    full = np.where(np.isnan(data.x), 777, data.x)
    before, after = GAP.splitlines(), filled_text(tmp_path / "t.csv", data, data.columns, full).splitlines()
    assert len(after) == len(before) - 1  # the empty one at the end is no row
    for old, new in zip(before, after, strict=False):
        cells = old.split(",")
        filled = [cells[0], cells[1] or "777.0", cells[2]] if any(cells) else cells
        assert new.split(",") == filled


def test_rows_are_numbered_alike_whatever_reads_them(tmp_path: Path) -> None:
    text = "a,b\n,\n" + "".join(f"{i / 7:.3f},{i}\n" if i != 5 else ",\n" for i in range(20))
    rows = [_table(tmp_path, text, kinds=kinds).rows for kinds in (None, "numbers")]
    assert all(own is not None and own.tolist() == [*range(1, 6), *range(7, 21)] for own in rows)


@pytest.mark.parametrize("kinds", [None, "numbers"])
def test_a_cell_that_is_too_long_is_named_by_its_line(tmp_path: Path, kinds: str | None) -> None:
    rows = "".join(f"{i / 7:.3f},{i}\n" for i in range(60))
    with pytest.raises(
        UsageError, match=r"t\.csv: line 62 has a cell of more than 131,072 characters; shorten"
    ):
        _table(tmp_path, f"a,b\n{rows}1,{'x' * 200_000}\n", kinds=kinds)
    with pytest.raises(UsageError, match=r"begins in line 62 and goes on in line 63; close its quote"):
        _table(tmp_path, f'a,b\n{rows}1,"x\n{"x" * 200_000}\n', kinds=kinds)
    with pytest.raises(UsageError, match=r"the quote that opens in line 62 is never closed"):
        _table(tmp_path, f'a,b\n{rows}1,"x\n{rows}', kinds=kinds)


def test_a_heading_may_have_several_lines(tmp_path: Path) -> None:
    rows = "".join(f"{i / 7:.3f},{'xy'[i % 2]}\n" for i in range(30))
    data = _table(tmp_path, f'"pay\n(EUR)","a ""b"""\n{rows}')
    assert [column.name for column in data.columns] == ["pay\n(EUR)", 'a "b"']
    assert len(data) == 30
    assert data.x[:2, 0].tolist() == pytest.approx([0, 0.143])
    text = filled_text(tmp_path / "t.csv", data, data.columns, data.x)
    assert text == (tmp_path / "t.csv").read_text(encoding="utf-8")

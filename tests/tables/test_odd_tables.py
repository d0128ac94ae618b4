"""Text tables that are odd in one place: what is said of it, and that every row keeps its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elboroom.config.columns import Column
from elboroom.data import load_data
from elboroom.data.columns import from_columns, match_columns
from elboroom.data.dataset import Dataset
from elboroom.data.table_summary import summary_lines
from elboroom.data.table_write import cell_texts
from elboroom.errors import UsageError
from elboroom.tables.conditions import read_conditions
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


COMPOSED, APART = "Caf\u00e9", "Cafe\u0301"
RUN = Column(name=f"{APART} 1", kind="category", categories=("Bar", APART))


def test_words_in_two_normal_forms_are_one_category_and_this_is_said(tmp_path: Path) -> None:
    words = [COMPOSED, APART, "Bar"]
    data = _table(tmp_path, "a,b\n" + "".join(f"{i % 7},{words[i % 3]}\n" for i in range(60)))
    assert data.columns[1].categories == ("Bar", COMPOSED)
    assert data.x[:3, 1].tolist() == [1, 1, 0]
    assert (
        f"warning: column 'b': '{COMPOSED}' written in several Unicode normal forms: taken as one"
        in data.notes
    )


def test_a_single_normal_form_stays_as_the_source_has_it(tmp_path: Path) -> None:
    data = _table(
        tmp_path, f"a,{APART}\n" + "".join(f"{i},{[APART, 'Bar'][i % 2]}\n" for i in (5, 3, 8) * 20)
    )
    assert data.columns[1].name == APART
    assert data.columns[1].categories == ("Bar", APART)
    assert not any("normal" in note for note in data.notes)


@pytest.mark.parametrize("own", [COMPOSED, APART])
def test_names_and_categories_match_those_of_a_run_in_any_normal_form(tmp_path: Path, own: str) -> None:
    text = f"{own} 1,k\n" + f"{own},1\nBar,2\n" * 15
    read = _table(tmp_path, text, columns=(RUN,))
    assert read.x[:2, 0].tolist() == [1, 0]
    assert match_columns(_table(tmp_path, text), (RUN,)).x[:2, 0].tolist() == [1, 0]
    kinds = {f"{COMPOSED} 1": f"ordinal:{COMPOSED}<Bar"}
    assert _table(tmp_path, text, kinds=kinds).columns[0].categories == (COMPOSED, "Bar")
    (event,) = read_conditions(f"{own} 1={own}", (RUN,))
    assert event.categories == {1}


def test_a_run_that_tells_the_normal_forms_apart_still_does(tmp_path: Path) -> None:
    both = RUN.model_copy(update={"categories": tuple(sorted([COMPOSED, APART]))})
    data = _table(tmp_path, f"{APART} 1\n" + f"{COMPOSED}\n{APART}\n" * 15, columns=(both,))
    assert data.x[:2, 0].tolist() == [both.categories.index(COMPOSED), both.categories.index(APART)]


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["01", "1", "2"], [0, 1, 2], ("01", "1", "2")),
        (["01", "02", "10"], [1, 2, 10], ()),
        (["1", "1.0", "02"], [1, 1, 2], ()),
        ([COMPOSED, APART, "Bar"], [1, 1, 0], ("Bar", COMPOSED)),
    ],
)
@pytest.mark.parametrize("kinds", [None, "numbers"])
def test_labels_that_differ_stay_different(
    tmp_path: Path, labels: list[str], numbers: list[int], names: tuple[str, ...], kinds: str | None
) -> None:
    rows = "".join(f"{i / 7:.3f},{labels[i % 3]}\n" for i in range(30))
    data = _table(tmp_path, f"a,label\n{rows}", kinds=kinds)
    assert data.labels is not None
    assert (data.labels[:3].tolist(), data.label_names) == (numbers, names)


def test_many_columns_that_are_alike_share_one_note() -> None:
    columns: dict[str, Any] = {f"c{i}": np.full(40, float(i)) for i in range(1500)}
    columns |= {"a": np.arange(40.0) % 7, "e": [None] * 40, "é": ["x"] * 40}
    data = from_columns(columns)
    assert data.notes == (
        "column 'c0' has one value (0); it is not modelled; likewise 1,500 more columns: 'c1', 'c2', 'c3' "
        "and 1,497 more",
        "column 'e' is empty; it is not modelled",
    )


def test_infinity_may_be_a_number_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"column 'a': 'inf' in line 62 is infinite, or a number beyond 1\.8e308"
    ):
        _table(tmp_path, "a,b\n" + "1.5,2\n2.5,3\n3.7,1\n" * 20 + "1e400,2\n")


def test_zero_has_no_sign() -> None:
    column = Column(name="a", kind="real", decimals=2)
    x = np.array([[-0.0], [-0.001], [-0.01]], np.float32)
    assert cell_texts([column], x) == [["0.0", "0.0", "-0.01"]]
    data = from_columns({"a": [-0.0, *np.linspace(0.5, 3, 30)], "b": np.arange(31) % 4})
    assert "0 to 3, median" in summary_lines(data)[1]


def test_a_column_without_a_name_is_refused() -> None:
    frame = pd.DataFrame(np.zeros((9, 2)), columns=[None, "b"])
    with pytest.raises(UsageError, match=r"column 0 \(counting from 0\) has no name"):
        load_data(frame)


def test_one_is_not_several() -> None:
    with pytest.raises(UsageError, match="holds 20 numbers and 1 word, such as 'x' in row 20"):
        from_columns({"a": [*map(float, range(20)), "x"], "b": range(21)})


def test_text_that_a_spreadsheet_runs_is_said_and_written_as_it_is() -> None:
    words = ["=1+1", "@SUM(A1)", "-cmd|' /C calc'!A0", "plain", "+", "-5 to 0"]
    for word in words:
        data = from_columns({"a": [word, "other"] * 20, "b": np.arange(40) % 7})
        said = [note for note in data.notes if "spreadsheets" in note]
        assert len(said) == (words.index(word) < 3)
        assert sorted({row[0] for row in zip(*cell_texts(data.columns, data.x), strict=True)}) == sorted(
            [word, "other"]
        )


@pytest.mark.parametrize("kinds", [None, "numbers"])
def test_a_number_sign_may_begin_a_cell(tmp_path: Path, kinds: str | None) -> None:
    """Rows that begin with what spreadsheets write for a missing cell used to be taken for comments."""
    rows = [f"{'#N/A' if i % 9 == 4 else round(i / 7, 3)},{i * 7 % 11}" for i in range(60)]
    data = _table(
        tmp_path,
        "\n".join(["a,b", *rows[:20], "# a comment, of two cells", "#one", *rows[20:], ""]),
        kinds=kinds,
    )
    missing = [i for i in range(60) if i % 9 == 4]
    if kinds is None:
        assert len(data) == 60
        assert np.flatnonzero(np.isnan(data.x[:, 0])).tolist() == missing
        assert not data.skipped
    else:
        assert len(data.skipped) == len(missing)
        assert "has '#N/A' in column 'a' where a number is wanted" in data.skipped[0].reason
        assert data.rows is not None
        assert data.rows.tolist() == [i for i in range(60) if i not in missing]


def test_words_may_begin_with_a_number_sign_and_go_on_in_another_line(tmp_path: Path) -> None:
    rows = "".join(f'#t{i % 3},{i / 7:.3f},"two\n# lines {i % 2}"\n' for i in range(30))
    data = _table(tmp_path, f"tag,a,b\n{rows}")
    assert len(data) == 30
    assert [c.categories for c in data.columns] == [
        ("#t0", "#t1", "#t2"),
        (),
        ("two\n# lines 0", "two\n# lines 1"),
    ]
    text = filled_text(tmp_path / "t.csv", data, data.columns, data.x)
    assert text == (tmp_path / "t.csv").read_text(encoding="utf-8")

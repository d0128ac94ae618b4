"""What is said of columns whose kind is inferred, and first lines that are rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import elboroom
from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError

N = 60
X = [f"{value:.2f}" for value in np.random.default_rng(0).normal(5, 2, N)]


def _load(tmp_path: Path, cells: list[str], separator: str = ",", **options: object) -> Dataset:
    path = tmp_path / "t.csv"
    lines = [f"c{separator}x", *(f"{cell}{separator}{x}" for cell, x in zip(cells, X, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return elboroom.load_data(str(path), **options)


def _cycle(*cells: str) -> list[str]:
    return [cells[i % len(cells)] for i in range(N)]


SAID = {
    "percent": (_cycle("5%", "10%", "20%"), "numbers as text, such as '10%'"),
    "unit": (_cycle("150 cm", "1.6 m", "170 cm"), "numbers as text"),
    "brackets": (_cycle("(3)", "3", "4", "(4)"), "numbers as text"),
    "time": (_cycle("08:30", "9:15", "17:00"), "kinds='c=datetime:%H:%M'"),
    "month": (_cycle("2020-11", "2021-02"), "kinds='c=datetime:%Y-%m'"),
    "NA": (
        _cycle("NA", "EU", "AS"),
        "say 'NA' are taken as missing; if that is a category, give kinds='c=category:AS|EU|NA'",
    ),
    "blanks": (_cycle("New York", "New  York", "Rome"), "1 category of column 'c' differs from others in sp"),
    "invisible": (_cycle("red", "red\u200b", "blue"), "spaces or invisible characters only"),
    "capitals": (_cycle("red", "Red", "blue"), "1 category of column 'c' differs from others in cap"),
    "yes": (_cycle("yes", "no", "true", "false"), "spells yes and no in several ways"),
    "mark": (_cycle("30", "41", "52", "35", "44", "-999"), "-999 stands in 10 cells"),
    "groups": (_cycle("1", "2"), "has two values, 1 and 2"),
    "offsets": (
        [f"2021-0{1 + i % 9}-11T10:00:00{('+02:00', 'Z')[i % 2]}" for i in range(N)],
        "2 offsets from UTC, +02:00, Z",
    ),
    "thousands": (
        _cycle("7.728", "969", "3.141", "12", "1.250"),
        "if the point separates thousands, write 7728",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_odd_columns_are_told(tmp_path: Path, case: str) -> None:
    cells, said = SAID[case]
    notes = "\n".join(_load(tmp_path, cells).notes)
    assert said in notes
    assert "'c'" in notes


FINE = {
    "ordinals": _cycle("1st", "2nd", "3rd"),
    "codes": _cycle("A12", "B7", "C3"),
    "decimals": [f"{i % 7}.{i % 10}{i % 9}{1 + i % 8}" for i in range(N)],
    "one offset": [f"2021-0{1 + i % 9}-11T10:00:00+02:00" for i in range(N)],
    "digits": _cycle("0", "1", "2", "9", "4", "5"),
    "none": _cycle("none", "nuts", "milk"),
}


@pytest.mark.parametrize("case", FINE)
def test_ordinary_columns_are_not_remarked_on(tmp_path: Path, case: str) -> None:
    assert [
        note for note in _load(tmp_path, FINE[case]).notes if "'c'" in note and "read with" not in note
    ] == []


def test_a_point_for_thousands_in_a_file_of_semicolons_is_told(tmp_path: Path) -> None:
    cells = [f"{1 + i % 9}.{100 + 37 * i % 900}" for i in range(N)]
    assert "separates thousands" in "\n".join(_load(tmp_path, cells, ";").notes)
    assert "separates thousands" not in "\n".join(_load(tmp_path, cells, ",").notes)


def test_numbers_with_thousands_and_decimals_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("pay;x\n" + "".join(f"{1 + i % 9}.{100 + i},{10 + i};3,5{i}\n" for i in range(N)))
    with pytest.raises(UsageError, match=r"column 'pay' holds numbers as text, such as '1\.100,10'"):
        elboroom.load_data(str(path))


def test_years_are_no_counts(tmp_path: Path) -> None:
    """Nothing with the variance of a negative binomial has a mean of 2,000 and a spread of 9."""
    column = _load(tmp_path, [str(1990 + 7 * i % 31) for i in range(N)]).columns[0]
    assert (column.kind, column.family, column.whole) == ("real", "gaussian", True)
    assert _load(tmp_path, [str(20 + 7 * i % 60) for i in range(N)]).columns[0].kind == "count"


def test_days_without_separators_are_dates_if_declared(tmp_path: Path) -> None:
    cells = [f"202101{1 + i % 28:02d}" for i in range(N)]
    data = _load(tmp_path, cells, kinds={"c": "datetime:%Y%m%d"})
    assert data.columns[0].kind == "datetime"
    np.testing.assert_array_equal(data.x[:, 0], [i % 28 for i in range(N)])
    again = _load(tmp_path, cells, columns=data.columns)
    np.testing.assert_array_equal(again.x, data.x)
    frame = {"c": np.array(cells, int), "x": np.array(X, float)}
    np.testing.assert_array_equal(elboroom.load_data(frame, kinds={"c": "datetime:%Y%m%d"}).x, data.x)
    np.testing.assert_array_equal(elboroom.load_data(frame, columns=data.columns).x, data.x)


def test_long_numbers_keep_their_digits(tmp_path: Path) -> None:
    """2⁵³ + 1 is no float64; what names a row or a group is its digits."""
    data = _load(tmp_path, [str(2**53 + 1 + 2 * i) for i in range(N)])
    assert [column.kind for column in data.left_out] == ["identifier"]
    assert data.names[1] == str(2**53 + 3)
    groups = [2**53, 2**53 + 1, 2**53 + 2]
    by_text = _load(tmp_path, [str(groups[i % 3]) for i in range(N)])
    by_array = elboroom.load_data({"c": np.array([groups[i % 3] for i in range(N)]), "x": np.array(X, float)})
    by_object = elboroom.load_data({"c": [groups[i % 3] for i in range(N)], "x": np.array(X, float)})
    for data in (by_text, by_array, by_object):
        assert data.columns[0].categories == tuple(map(str, groups))
        np.testing.assert_array_equal(data.x[:, 0], [i % 3 for i in range(N)])


@pytest.mark.parametrize("at", ["file", "array"])
def test_long_numbers_are_numbers_if_declared(tmp_path: Path, at: str) -> None:
    values = [10**17 + 10**15 * i for i in range(N)]
    if at == "file":
        data = _load(tmp_path, list(map(str, values)), kinds={"c": "real"})
    else:
        data = elboroom.load_data({"c": np.array(values), "x": np.array(X, float)}, kinds={"c": "real"})
    np.testing.assert_array_equal(data.x[:, 0], np.array(values, np.float32))


def _rows(tmp_path: Path, text: str) -> Dataset:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return elboroom.load_data(str(path))


def test_a_first_row_that_begins_with_a_tag_is_a_row(tmp_path: Path) -> None:
    rows = [f"{('#one', 'two')[i % 2]},{x}\n" for i, x in enumerate(X)]
    for text in ("".join(rows), "# made by hand, 2021\n" + "".join(rows)):
        data = _rows(tmp_path, text)
        assert len(data) == N
        assert data.columns[0].categories == ("#one", "two")
        np.testing.assert_array_equal(data.x[:, 1], np.array(X, np.float32))
    assert (
        _rows(tmp_path, "#id,x\n" + "".join(f"{i}.5,{x}\n" for i, x in enumerate(X))).columns[0].name == "id"
    )


def test_a_first_row_of_words_that_come_again_is_a_row(tmp_path: Path) -> None:
    rows = "".join(f"{'ab'[i % 2]},{'uvw'[i % 3]}\n" for i in range(12))
    data = _rows(tmp_path, rows)
    assert len(data) == 12
    assert [column.name for column in data.columns] == ["1", "2"]
    twice = _rows(tmp_path, "one,two\n" + rows + "one,two\n" + rows)  # two files, one after the other
    assert [column.name for column in twice.columns] == ["one", "two"]
    assert (
        len(_rows(tmp_path, "".join(f"{'#a' if i % 2 else 'b'},{'uvw'[i % 3]}\n" for i in range(1, 13))))
        == 12
    )


def test_comments_are_told(tmp_path: Path) -> None:
    rows = "".join(f"{x},{x}\n" for x in X)
    assert "line 1 is a comment, as it begins with #" in _rows(tmp_path, "# note\na,b\n" + rows).notes
    assert (
        "2 lines are comments, as they begin with #, the first in line 1"
        in _rows(tmp_path, "#note\na,b\n" + rows + "# end\n").notes
    )
    assert not any("comment" in note for note in _rows(tmp_path, "# a,b\n" + rows).notes)


def test_a_title_above_the_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"line 3 has 2 cells where 1 are wanted, as line 1 has, which is taken for"
    ):
        _rows(tmp_path, "Report of sales\n\na,b\n" + "".join(f"{x},{x}\n" for x in X))

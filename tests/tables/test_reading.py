"""Tables of all kinds read from text: kinds, missing cells, dates, what is refused, and old numbers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elboroom.config.columns import Column
from elboroom.data import load_data
from elboroom.data.columns import as_numbers, from_columns, match_columns
from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError

NAN = float("nan")
RNG = np.random.default_rng(0)
N = 40

# Heading → (cells, kind, categories).
KINDS: dict[str, tuple[list[str], str, tuple[str, ...]]] = {
    "real": ([f"{x:.3f}" for x in RNG.normal(size=N)], "real", ()),
    "negative": ([str(x) for x in RNG.integers(-9, 9, N)], "real", ()),
    "positive": ([f"{x:.3f}" for x in RNG.lognormal(0, 1.5, N)], "positive", ()),
    "narrow": ([f"{x:.3f}" for x in 170 + RNG.normal(size=N)], "real", ()),
    "count": ([str(x) for x in RNG.poisson(3, N)], "count", ()),
    "job": ([["cook", "nurse", "smith"][i % 3] for i in range(N)], "category", ("cook", "nurse", "smith")),
    "smokes": (["yes" if i % 3 else "no" for i in range(N)], "boolean", ("no", "yes")),
    "true": (["TRUE" if i % 3 else "FALSE" for i in range(N)], "boolean", ("FALSE", "TRUE")),
    "binary": ([str(int(i % 3 == 0)) for i in range(N)], "boolean", ("0", "1")),
    "zip": ([["02134", "12345"][i % 2] for i in range(N)], "category", ("12345", "02134")),
    "padded": ([f"{i % 12:03d}"[-3 + (i % 2) :] for i in range(N)], "count", ()),
    "grade": ([["1", "2", "3+"][i % 3] for i in range(N)], "category", ("1", "2", "3+")),
    "day": ([f"2020-01-{i % 28 + 1:02d}" for i in range(N)], "datetime", ()),
    "named": ([f"{i % 28 + 1}-Sep-03" for i in range(N)], "datetime", ()),
    "volume": ([str(20_000_000 + 7919 * i % 4001) for i in range(N)], "real", ()),
    "german": ([f"{i % 28 + 1}.2.2020 10:{i:02d}" for i in range(N)], "datetime", ()),
    "id": ([str(100 + i) for i in range(N)], "identifier", ()),
    "name": ([f"person {i}" for i in range(N)], "identifier", ()),
    "large": ([str(20_000_000 + 3 * i) for i in range(N)], "identifier", ()),
    "constant": (["7"] * N, "ignored", ("",)[:0]),
    "same": (["x"] * N, "ignored", ()),
    "empty": (["", "NA", "?", "-"] * (N // 4), "ignored", ()),
}


def _text(columns: dict[str, list[str]], separator: str = ",") -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join(separator.join(row) for row in [tuple(columns), *rows]) + "\n"


def _table(tmp_path: Path, text: str, **options: Any) -> Dataset:
    (tmp_path / "t.csv").write_text(text, encoding=options.get("encoding") or "utf-8")
    return load_data(tmp_path / "t.csv", **options)


def test_kinds_are_inferred_from_all_cells(tmp_path: Path) -> None:
    data = _table(tmp_path, _text({name: cells for name, (cells, _, _) in KINDS.items()}))
    found = {column.name: column for column in (*data.columns, *data.left_out)}
    assert {name: column.kind for name, column in found.items()} == {
        name: kind for name, (_, kind, _) in KINDS.items()
    }
    assert all(found[name].categories == categories for name, (_, _, categories) in KINDS.items())
    assert data.names[3] == "103"
    by_name = {column.name: data.x[:, i] for i, column in enumerate(data.columns)}
    assert by_name["job"][:4].tolist() == [0, 1, 2, 0]
    assert by_name["zip"][:2].tolist() == [1, 0]
    assert by_name["binary"][:3].tolist() == [1, 0, 0]
    assert by_name["day"][:3].tolist() == [0, 1, 2]
    assert by_name["german"][:2].tolist() == [600, 1440 + 601]  # minutes
    np.testing.assert_array_equal(by_name["real"], np.array(KINDS["real"][0], np.float32))
    assert by_name["named"][:3].tolist() == [0, 1, 2]
    said = " ".join(data.notes)
    assert "warning: column 'volume' holds a different large whole number in each row; if it is an" in said
    for name in ("constant", "same", "empty", "id", "name", "large"):
        assert f"column '{name}'" in said


def test_missing_cells_are_nan_and_rows_stay(tmp_path: Path) -> None:
    words = ["", "NA", "n/a", "NULL", "None", "nan", "?", "-", "NaN", "<NA>"]
    text = "a,b\n" + "".join(f"{word},cook\n1.5,{word}\n2.5,nurse\n" for word in words)
    data = _table(tmp_path, text)
    assert len(data) == 30
    assert data.skipped == ()
    assert np.isnan(data.x).sum(0).tolist() == [10, 9]  # "None" is one of the words
    assert "missing cells: 'a' 10, 'b' 9" in data.notes


def test_numbers_agree_with_pandas_reading_of_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"a": rng.normal(size=3000), "b": rng.integers(0, 99, 3000), "c": rng.normal(size=3000)}
    )
    frame = frame.mask(rng.random(frame.shape) < 0.1)
    frame["word"] = rng.choice(["x", "y,z", 'say "no"', "two\nlines"], 3000)
    frame.to_csv(tmp_path / "t.csv", index=False)
    data, read = load_data(tmp_path / "t.csv"), pd.read_csv(tmp_path / "t.csv")
    np.testing.assert_array_equal(data.x[:, :3], read[["a", "b", "c"]].to_numpy(np.float32))
    words = np.array(data.columns[3].categories)[data.x[:, 3].astype(int)]
    assert words.tolist() == read["word"].tolist()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    cells = {"größe": ["1.5", "2.5"] * 10, "job": ["Köchin", "nurse", "", "smith"] * 5}
    named = {} if encoding.startswith("utf") else {"encoding": encoding}
    (tmp_path / "t.csv").write_text(_text(cells, separator), encoding=encoding)
    data = load_data(tmp_path / "t.csv", **named)  # type: ignore[arg-type]
    assert [column.name for column in data.columns] == ["größe", "job"]
    assert data.columns[1].categories == ("Köchin", "nurse", "smith")


def test_decimal_commas_beside_words(tmp_path: Path) -> None:
    data = _table(tmp_path, "a;b\n" + "1,5;x, y\n2,25;z\n" * 5)
    assert data.x[:2].tolist() == [[1.5, 0], [2.25, 1]]
    assert (data.columns[0].comma, data.columns[0].decimals) == (True, 2)


def test_kinds_can_be_declared(tmp_path: Path) -> None:
    text = "zip,rating,when,w,skip\n" + "12345,mid,01/02/2020,1.5,9\n99999,low,03/02/2020,2,8\n" * 10
    kinds = "zip=category, rating=ordinal:low<mid<high, when=datetime:%d/%m/%Y, w=positive[kg], skip=ignored"
    data = _table(tmp_path, text, kinds=kinds)
    assert [c.kind for c in data.columns] == ["category", "ordinal", "datetime", "positive"]
    assert data.x[:2].tolist() == [[0, 1, 0, 1.5], [1, 0, 2, 2]]
    assert data.columns[3].unit == "kg"
    assert [c.name for c in data.left_out] == ["skip"]


MANY = "".join(f"{i / 7:.3f},{i % 3}\n" for i in range(300))
DATES = "".join(f"{i % 12 + 1:02d}/{i % 11 + 1:02d}/2020,{i % 3}\n" for i in range(60))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (f"a,b\n{MANY}oops,1\n", {"strict": True}, "column 'a' has 'oops' in line 302 where a number"),
        (f"a,b\n{MANY}inf,1\n", {}, "column 'a': 'inf' in line 302 is infinite"),
        (f"a,b\n{MANY}1e39,1\n", {}, "column 'a': '1e+39' in line 302 is beyond float32"),
        ("a,b\n" + "1.5,1\nx,2\n3.7,3\n" * 9, {}, "column 'a' holds 18 numbers and 9 words, such as 'x'"),
        (f"d,b\n{DATES}", {}, "column 'd': '01/01/2020' may be %d/%m/%Y or %m/%d/%Y; give the format, as in"),
        (f"d,b\n{DATES}13/01/2020,1\n01/13/2020,1\n", {}, "are dates in two formats"),
        ("a,a\n1,2\n3,4\n", {}, "two columns are called 'a'"),
        ("w,b\n" + "".join(f"w{i // 2},1\n" for i in range(4000)), {}, "column 'w' has 2,000 different"),
        ("a,b\n" + "x,1.5\n" * 30 + "x,2\n", {}, ""),
        ("a,b\n" + "x,y\n" * 30, {}, "no column is left to model"),
        ("a,b\n1,2\n1,2,3\n4,5,6\n", {}, "most lines cannot be read: line 3 has 3 cells where 2 are wanted"),
        ("a,b\n1,2\n", {"kinds": "c=real"}, "no column 'c'"),
        ("a,b\n1,2\n", {"kinds": "a=reel"}, "column 'a': no kind 'reel'; did you mean 'real'?"),
        ("a,b\n1,2\n", {"kinds": "a=ordinal"}, "column 'a': the order of its levels is missing"),
        ("a,b\nx,2\ny,3\n", {"kinds": "a=ordinal:x<z"}, "column 'a' has 'y' in line 3, which is none"),
        ("a,b\n-1,2\n2,3\n", {"kinds": "a=positive"}, "column 'a': '-1' in line 2 is not above 0"),
        ("a,b\n1.5,2\n2,3\n", {"kinds": "a=count"}, "column 'a': '1.5' in line 2 is not a count"),
        ("a,b\nx,2\ny,3\nz,4\n", {"kinds": "a=boolean"}, "column 'a' has 3 different values and a boolean"),
        ("a,b\n1,2\n", {"encoding": "klingon"}, "encoding = 'klingon': there is no such encoding"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_with_the_column(
    tmp_path: Path, text: str, options: dict[str, Any], said: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    if not said:
        assert load_data(tmp_path / "t.csv", **options).left_out[0].name == "a"
        return
    with pytest.raises(UsageError) as error:
        load_data(tmp_path / "t.csv", **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_stray_words_are_missing_and_said(tmp_path: Path) -> None:
    data = _table(tmp_path, f"a,b\n{MANY}oops,1\n")
    assert np.isnan(data.x[-1]).tolist() == [True, False]
    assert "warning: column 'a': 'oops' in line 302 is taken as missing: not a number" in data.notes
    declared = _table(tmp_path, "a,b\n1.5,1\nx,2\n3.7,3\n", kinds="a=real")
    assert np.isnan(declared.x[:, 0]).tolist() == [False, True, False]


def test_other_tables_are_brought_to_the_columns_of_a_run(tmp_path: Path) -> None:
    run = _table(tmp_path, "age,job,day\n" + "31.5,cook,2020-01-05\n40.25,nurse,2020-02-01\n" * 12).columns
    text = "job,extra,day,age\nnurse,1,2020-01-06,50\n,2,2019-12-31,NA\n"
    matched = match_columns(_table(tmp_path, text, kinds="age=real,job=category:nurse|cook"), run)
    for data in (_table(tmp_path, text, columns=run), matched):
        np.testing.assert_array_equal(data.x, [[50, 1, 1], [NAN, NAN, -5]])
        assert data.columns == run
        assert "columns that the model does not use: 'extra'" in data.notes
    with pytest.raises(UsageError, match="column 'day' of the training table is missing; found 'age', 'job'"):
        _table(tmp_path, "age,job\n1,cook\n", columns=run)
    with pytest.raises(
        UsageError, match=r"column 'job' has 'smith' in line 2, which is none of its 2 categor"
    ):
        _table(tmp_path, "age,job,day\n1,smith,2020-01-01\n", columns=run)
    lenient = tuple(Column(**{**dict(column), "unseen": "missing"}) for column in run)
    data = _table(tmp_path, "age,job,day\n1,smith,2020-01-01\n", columns=lenient)
    assert np.isnan(data.x[0]).tolist() == [False, True, False]
    assert "column 'job': 'smith' in line 2 is taken as missing" in data.notes[-1]


def test_tables_become_the_plain_numbers_that_they_were(tmp_path: Path) -> None:
    rows = [f"{i / 7:.3f},{i % 5},{'' if i % 9 == 0 else i % 2}" for i in range(60)]
    text = "a,b,c\n" + "\n".join(rows) + "\n"
    plain, read = _table(tmp_path, text, kinds="numbers"), as_numbers(_table(tmp_path, text))
    assert np.isnan(_table(tmp_path, text).x).sum() == 7
    np.testing.assert_array_equal(plain.x, read.x)
    np.testing.assert_array_equal(plain.rows, read.rows)
    assert plain.fingerprint() == read.fingerprint()
    assert len(read.skipped) == 7
    with pytest.raises(UsageError, match=r"column 'job' is category, and this model takes plain numbers"):
        as_numbers(_table(tmp_path, "a,job\n" + "1.5,cook\n2,nurse\n" * 9))


def test_pixels_are_images_as_before(tmp_path: Path) -> None:
    data = _table(tmp_path, "pixel0,pixel1,pixel2,pixel3\n" + "0,255,3,4\n" * 12)
    assert (data.shape, data.columns) == ((2, 2, 1), ())


def test_numbers_among_words_are_the_words_that_they_were(tmp_path: Path) -> None:
    codes = [f"{i * 7919 % 4096:03x}" for i in range(60)]
    codes[3], codes[5] = "12e3", "0012"
    data = _table(tmp_path, "code,x\n" + "".join(f"{code},{i % 7}\n" for i, code in enumerate(codes)))
    assert data.left_out[0].kind == "identifier"
    assert data.names == tuple(codes)
    rooms = _table(tmp_path, "room,x\n" + "1a,1\n2b,2\n12,3\n1e1,4\n" * 6)
    assert rooms.columns[0].categories == ("12", "1a", "1e1", "2b")
    declared = _table(
        tmp_path, "id,x\n" + "".join(f"1.{i:02d}0,{i % 7}\n" for i in range(30)), kinds="id=identifier"
    )
    assert declared.names[:2] == ("1.000", "1.010")


def test_a_sentinel_among_many_numbers_is_no_category(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{i},{i % 3}\nunknown,2\nunknown,1\n" for i in range(40))
    with pytest.raises(
        UsageError, match="column 'a' holds 40 numbers and 80 words, such as 'unknown' in line 3"
    ):
        _table(tmp_path, text)


@pytest.mark.parametrize("cells", ["{0},{1:03d}", "{0}%", "${0}.{1}", "{0} kg"])
def test_numbers_with_separators_or_units_are_named(tmp_path: Path, cells: str) -> None:
    text = "a,b\n" + "".join(f'"{cells.format(i + 1, i)}",{i % 3}\n' for i in range(80))
    with pytest.raises(UsageError, match="column 'a' holds numbers as text, such as '"):
        _table(tmp_path, text)


def test_points_among_decimal_commas_are_no_numbers(tmp_path: Path) -> None:
    data = _table(tmp_path, "a;b\n" + "1,5;2\n2,5;3\n" * 100 + "1.234;5\n")
    assert np.isnan(data.x[-1, 0])
    assert "column 'a': '1.234' in line 202 is taken as missing" in data.notes[-1]


def test_categories_that_differ_in_capitals_are_said(tmp_path: Path) -> None:
    data = _table(tmp_path, "a,b\n" + "x,1\nX,2\ny,3\n" * 9)
    assert "warning: 1 category of column 'a' differs from others in capitals only" in data.notes


def test_a_column_in_another_format_is_refused_at_use(tmp_path: Path) -> None:
    run = _table(tmp_path, "age,day\n" + "31.5,2020-01-05\n40.25,2020-02-01\n" * 12).columns
    with pytest.raises(UsageError, match=r"'05.01.2020' in line 2 where a date like %Y-%m-%d is wanted"):
        _table(tmp_path, "age,day\n31.5,05.01.2020\n", columns=run)


def test_a_wide_table_is_read_without_keeping_its_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, rows = 8000, []
    for i in range(n):
        rows.append(",".join([f"{x:.4f}" for x in rng.normal(size=20)] + ["abcd"[i % 4] * 5] * 4))
    text = ",".join(f"c{j}" for j in range(24)) + "\n" + "\n".join(rows) + "\n"
    _table(tmp_path, text)
    tracemalloc.start()
    try:
        data = load_data(tmp_path / "t.csv")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data.shape == (24,)
    assert (
        peak < 10e6
    )  # the cells alone are 192,000 strings of 50 bytes and more, and 4 bytes each in the end


def test_the_fingerprint_tells_what_a_number_means(tmp_path: Path) -> None:
    texts = ["a,b\n" + f"1.5,{one}\n2.5,{other}\n" * 9 for one, other in (("x", "y"), ("x", "z"))]
    first, second = (_table(tmp_path, text) for text in texts)
    np.testing.assert_array_equal(first.x, second.x)
    assert first.fingerprint() != second.fingerprint()


def test_declared_levels_may_be_words_for_missing_cells(tmp_path: Path) -> None:
    cells = ["NA", "some", "-", "all"] * 9
    text, kinds = "a\n" + "\n".join(cells) + "\n", "a=ordinal:NA<some<all"
    for data in (_table(tmp_path, text, kinds=kinds), load_data({"a": cells}, kinds=kinds)):
        np.testing.assert_array_equal(data.x[:4, 0], [0, 1, NAN, 2])
        again = load_data({"a": ["all", "NA"]}, columns=data.columns)
        assert again.x[:, 0].tolist() == [2, 0]
    for data in (_table(tmp_path, text), load_data({"a": cells})):
        np.testing.assert_array_equal(data.x[:4, 0], [NAN, 1, NAN, 0])


def test_numbers_of_rows_identify_them_where_some_are_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{100 + i},{i % 7},{'' if i % 10 == 3 else 'ab'[i % 2]}\n" for i in range(60))
    data = _table(tmp_path, "id,x,label\n" + rows)
    assert (len(data), len(data.skipped)) == (54, 6)
    assert [c.name for c in data.left_out] == ["id"]
    assert data.names[3:5] == ("104", "105")


@pytest.mark.parametrize(
    ("cells", "kind", "missing"),
    [
        (["flu", "none", "heart", "none", "flu", ""], "category", 1),
        (["1.5", "none", "2.5", "None", "4.5", ""], "positive", 3),
        (["2021-05-01", "none", "2021-06-01", "2021-07-02", "2021-08-09", ""], "datetime", 2),
        (["flu", "NA", "heart", "null", "flu", "?"], "category", 3),
    ],
)
@pytest.mark.parametrize("in_memory", [False, True])
def test_none_is_a_word_among_words_and_missing_among_numbers(
    cells: list[str], kind: str, missing: int, in_memory: bool, tmp_path: Path
) -> None:
    values = cells * 5
    if in_memory and kind in ("category", "datetime"):
        data = from_columns({"a": values, "b": list(range(30))[::-1]})
    else:
        path = tmp_path / "t.csv"
        path.write_text("a,b\n" + "".join(f"{cell},{29 - i}\n" for i, cell in enumerate(values)))
        data = load_data(path)
    column = next(each for each in data.columns if each.name == "a")
    assert column.kind in (kind, "real")
    assert int(np.isnan(data.x[:, data.columns.index(column)]).sum()) == 5 * missing


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_quote_that_is_never_closed_is_refused_with_its_line(end: str, tmp_path: Path) -> None:
    rows = [f'{i},"a, {i}",{i}.5' for i in range(30)]
    rows[11] = '11,"a, 11,11.5'
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "\n".join(rows).replace('a, 12"', "a, 12") + end)
    text = path.read_text()
    opened = next(i for i, line in enumerate(text.splitlines(), 1) if line.count('"') % 2)
    path.write_text(text[: text.index("12,")] + "12,a,12.5\n13,b,13.5" + end)
    with pytest.raises(UsageError, match=f"the quote that opens in line {opened} is never closed"):
        load_data(path)


def test_quotes_around_several_lines_and_inches_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pairs = "".join(f'{i},"two\nlines ""{i % 3}"""\n{i},5" pipe\n' for i in range(20))
    path.write_text("a,b\n" + pairs)
    data = load_data(path)
    assert len(data) == 40
    assert not data.skipped

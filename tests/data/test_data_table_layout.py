"""What stands where in a table: header, index, separator, decimal mark, encoding, comments."""

import numpy as np
import pytest

from elboroom.data import load_data
from elboroom.data.dataset import skipped_lines
from elboroom.errors import UsageError

ROWS = [[1.5, 2.5, 3.25], [4.5, 5.5, 6.25]]


def table(tmp_path, text, name="t.csv", encoding="utf-8", **options):
    (tmp_path / name).write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return load_data(tmp_path / name, **options)


# (text, what is said of it)
LAYOUTS = {
    "pandas' default header": ("0,1,2\n1.5,2.5,3.25\n4.5,5.5,6.25\n", "header in line 1: '0', '1', '2'"),
    "counted from 1": ("1,2,3\n1.5,2.5,3.25\n4.5,5.5,6.25\n", "header in line 1"),
    "years": ("1990,1991,1992\n1.5,2.5,3.25\n4.5,5.5,6.25\n", "header in line 1: '1990'"),
    "no header": ("1.5,2.5,3.25\n4.5,5.5,6.25\n", "no header: the first line is data"),
    "pandas' index": (",a,b,c\n0,1.5,2.5,3.25\n1,4.5,5.5,6.25\n", "column 1 has no heading"),
    "pandas' index and header": (",0,1,2\n0,1.5,2.5,3.25\n1,4.5,5.5,6.25\n", "column 1 has no heading"),
    "R's row names": ("a b c\nx 1.5 2.5 3.25\ny 4.5 5.5 6.25\n", "column 1 has no heading"),
    "names of countries": (
        ",1990,1991,1992\nChad,1.5,2.5,3.25\nMali,4.5,5.5,6.25\n",
        "column 1 has no heading",
    ),
    "semicolons": ("a;b;c\n1.5;2.5;3.25\n4.5;5.5;6.25\n", "separator: semicolon"),
    "vertical bars": ("a|b|c\n1.5|2.5|3.25\n4.5|5.5|6.25\n", "separator: |"),
    "blanks": ("1.5 2.5  3.25\n 4.5 5.5 6.25\n", "separator: blank"),
    "numpy.savetxt": ("# a b c\n1.5e+00 2.5e+00 3.25e+00\n4.5 5.5 6.25\n", "header in line 1: 'a', 'b', 'c'"),
    "decimal commas": ("a;b;c\n1,5;2,5;3,25\n4,5;5,5;6,25\n", "decimal commas"),
    "decimal commas without header": ("1,5;2,5;3,25\n4,5;5,5;6,25\n", "separator: semicolon; decimal commas"),
    "decimal commas and tabs": (
        "a\tb\tc\n1,5\t2,5\t3,25\n4,5\t5,5\t6,25\n",
        "separator: tab; decimal commas",
    ),
    "comments": ("# by a program\na,b,c\n# more\n1.5,2.5,3.25\n#\n4.5,5.5,6.25\n", "header in line 2"),
    "a separator too many": ("a,b,c,\n1.5,2.5,3.25,\n4.5,5.5,6.25,\n", "1 empty column left out"),
    "blank lines first": ("\n\na,b,c\n1.5,2.5,3.25\n4.5,5.5,6.25\n", "header in line 3"),
}


@pytest.mark.parametrize(("text", "words"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, text, words):
    data = table(tmp_path, text)
    assert data.x.tolist() == ROWS
    assert words in data.notes[0]
    assert data.skipped == ()


def test_row_names_are_kept(tmp_path):
    assert table(tmp_path, ",a\nx,1.5\ny,2.5\n").names == ("x", "y")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(tmp_path, encoding):
    data = table(tmp_path, "größe;label\n1,5;süß\n2,5;salzig\n", encoding=encoding)
    assert (data.x.tolist(), data.label_names) == ([[1.5], [2.5]], ("salzig", "süß"))


def test_latin_1_is_named(tmp_path):
    with pytest.raises(
        UsageError,
        match=r"is not a text table in UTF-8 .byte 0xf6.; if it is in Latin-1 .*encoding='windows-1252'",
    ):
        table(tmp_path, "größe,b\n1,2\n", encoding="latin-1")


def test_tabs_in_a_tsv(tmp_path):
    assert table(tmp_path, "a\tb\n1,5\t2\n", name="t.tsv").x.tolist() == [[1.5, 2]]


@pytest.mark.parametrize(
    "text", ["1,2\n3,4\n5,6.5\n", "1,2,3\n4,5,7\n", "1,1990\n2,1991.5\n", "3,4,5,6\n1,2,3,4\n"]
)
def test_a_first_row_that_counts_is_data(tmp_path, text):
    assert len(table(tmp_path, text)) == text.count("\n")


def test_rows_keep_their_numbers(tmp_path):
    data = table(tmp_path, "# made\na,b\n1,2\n\n3,\n5,6\nx,y\n7,8\n", kinds="numbers")
    assert data.x.tolist() == [[1, 2], [5, 6], [7, 8]]
    assert data.rows.tolist() == [0, 2, 4]  # as pandas counts them
    lines = skipped_lines(data)
    assert lines[0] == "warning: 2 of 5 (40%) are left out"
    assert lines[1].endswith("t.csv:5: line 5 has nothing in column 'b' where a number is wanted")


def test_few_rows_left_out_are_no_warning_and_many_are_counted(tmp_path):
    few = table(tmp_path, "a,b\n" + "1,2\n" * 30 + "1,\n", kinds="numbers")
    assert [line.split()[0] for line in skipped_lines(few)] == ["skipped"]
    many = table(tmp_path, "a,b\n" + "1,2\n" * 30 + "1,\n" * 30, kinds="numbers")
    assert skipped_lines(many, most=10)[-1] == "skipped 20 more, 30 in all"
    assert len(skipped_lines(many, most=10)) == 12


def test_identifiers_are_refused_where_they_would_become_the_same(tmp_path):
    with pytest.raises(UsageError, match=r"column 'id' contains whole numbers above 16,777,216 .*3 become 2"):
        table(tmp_path, "id,v\n20000000,1\n20000001,2\n20000002,3\n")
    # 20000001 → 20000000 and 20000003 → 20000004 as float32: rounded, and still two
    data = table(tmp_path, "id,v\n20000001,1\n20000003,2\n")
    assert any("warning: column 'id' contains whole numbers" in note for note in data.notes)
    assert len(table(tmp_path, "id,v\n20000002,1\n20000004,2\n").notes) < len(data.notes)  # all exact


def test_numbers_beyond_float32_are_named(tmp_path):
    data = table(tmp_path, "a,b\n1,2\n1e39,3\n4,-1e300\n", kinds="numbers")
    assert data.x.tolist() == [[1, 2]]
    assert [skip.reason for skip in data.skipped] == [
        "line 3 has '1e39' in column 'a', beyond float32 (3.4e38)",
        "line 4 has '-1e300' in column 'b', beyond float32 (3.4e38)",
    ]


def test_columns_of_words_are_named_in_one_line(tmp_path):
    with pytest.raises(
        UsageError, match=r"columns 'name', 'city' contain no numbers .*remove .*or head a column 'label'"
    ):
        table(tmp_path, "name,age,city\nann,3.5,rome\nbob,4.5,oslo\n", kinds="numbers")


def test_columns_of_other_scales_are_pointed_out(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 2)) * [0.01, 100]
    text = "rate,income\n" + "".join(f"{a},{b}\n" for a, b in rows)
    assert any(
        "(column 'rate')" in note and "--standardize" in note
        for note in table(tmp_path, text, kinds="numbers").notes
    )
    even = "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows * [100, 0.01])
    assert len(table(tmp_path, even, kinds="numbers").notes) == 1


def test_large_labels_are_refused(tmp_path):
    for label in ("1e300", "99999999999999999999"):
        with pytest.raises(UsageError, match=r"a label is .*below 2.53"):
            table(tmp_path, f"a,label\n1,{label}\n2,3\n")

import numpy as np
import pytest

from elboroom.data import load_data
from elboroom.errors import UsageError


def table(tmp_path, text, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_data(path, **options)


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n5,6.5\n",
        "a,b\n1,2\n3,4\n5,6.5",
        "\ufeffa,b\r\n1,2\r\n\r\n3, 4\r\n5,6.5\r\n",
        "a;b\n1;2\n3;4\n5;6.5\n",
        "a\tb\n1\t2\n3\t4\n5\t6.5\n",
        '"a","b"\n"1","2"\n3,4\n5,0.65e1\n',
    ],
)
def test_layouts_with_and_without_header(tmp_path, text):
    data = table(tmp_path, text)
    assert data.x.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]
    assert (data.x.dtype, data.scale, data.labels, data.skipped) == (np.float32, 1.0, None, ())


def test_single_column(tmp_path):
    assert table(tmp_path, "1\n2\n").x.tolist() == [[1.0], [2.0]]


def test_labels_as_numbers_and_as_words(tmp_path):
    data = table(tmp_path, "a,Label,b\n1,7,2\n3,0,4\n")
    assert (data.x.tolist(), data.labels.tolist(), data.label_names) == ([[1, 2], [3, 4]], [7, 0], ())
    data = table(tmp_path, "label,0,1\ndog,1,2\ncat,3,4\n")  # numbered columns, as some tools write them
    assert (data.labels.tolist(), data.label_names) == ([1, 0], ("cat", "dog"))


def test_pixel_columns_become_an_image(tmp_path):
    data = table(tmp_path, "label,1x1,1x2,2x1,2x2\n3,0,128,255,1\n4,9,8,7,6\n")
    assert (data.shape, data.x.dtype, data.scale) == ((2, 2, 1), np.uint8, 255.0)
    assert data.x[0, :, :, 0].tolist() == [[0, 128], [255, 1]]
    assert table(tmp_path, "pixel0,pixel1\n0,200\n9,8\n").shape == (2,)
    assert table(tmp_path, "pixel0,pixel1\n0,200.5\n9,8\n").x.dtype == np.float32


def test_bad_lines_are_skipped_with_line_and_column(tmp_path):
    text = "a,b,label\n1,2,x\n3,oops,y\n5,6\n7,,z\nnan,1,w\n8,9,\n10,11,y\n"
    data = table(tmp_path, text, kinds="numbers")
    assert data.x.tolist() == [[1.0, 2.0], [10.0, 11.0]]
    assert data.label_names == ("x", "y")
    assert [skip.reason for skip in data.skipped] == [
        "line 3 has 'oops' in column 'b' where a number is wanted",
        "line 4 has 2 cells where 3 are wanted",
        "line 5 has nothing in column 'b' where a number is wanted",
        "line 6 has 'nan' in column 'a' where a number is wanted",
        "line 7 has no label",
    ]
    assert data.skipped[0].path.endswith("t.csv:3")
    assert "5 skipped" in data.describe()
    with pytest.raises(UsageError, match=r"t.csv: line 3 has 'oops' in column 'b'"):
        table(tmp_path, text, strict=True, kinds="numbers")


def test_bad_first_line_without_header(tmp_path):
    data = table(tmp_path, "1,oops\n3,4\n5,6\n", kinds="numbers")
    assert data.x.tolist() == [[3.0, 4.0], [5.0, 6.0]]
    assert data.skipped[0].reason == "line 1 has 'oops' in column '2' where a number is wanted"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no row of numbers"),
        ("\n\n", "contains no row of numbers"),
        ("a,b\n", "contains no row of numbers"),
        ("a,b\nx,y\n", "no row of numbers: line 2 has 'x' in column 'a'"),
        ("label\n1\n2\n", "contains labels only"),
        (b"a,b\n1,\xff\xfe\n", "not a text table"),
        (b"\x00\x01\x02\x03,\x00\n1,2\x00\n", "t.csv"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        table(tmp_path, text, kinds="numbers")
    assert "\n" not in str(caught.value)

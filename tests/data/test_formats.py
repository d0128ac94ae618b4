"""Everything about a data format is derived from its row."""

import pytest

from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.data.formats import FORMATS, file_suffixes
from elboroom.errors import UsageError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.what)
def test_the_example_of_a_format_is_recognised_by_its_row_and_read(row, tmp_path):
    if row.what == "a .parquet table":
        pytest.importorskip("pyarrow")
    if row.what == "an .h5ad file of AnnData":
        pytest.importorskip("anndata", reason="an .h5ad file needs anndata")
    path = row.example(tmp_path)
    assert next(each for each in FORMATS if each.recognises(path)) is row
    data = load_data(path)
    assert len(data) == 4
    assert not data.skipped
    assert data.origin
    if row.origin:
        assert data.origin == row.origin
    assert (path.suffix in row.suffixes) == bool(row.suffixes)


@pytest.mark.parametrize("verb", [("train",), ("data", "show"), ("data", "join")])
def test_help_lists_every_format(verb, capsys):
    assert main([*verb, "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert all(row.what in words for row in FORMATS)


def test_a_file_of_no_format_is_answered_with_all_of_them(tmp_path):
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    with pytest.raises(UsageError) as caught:
        load_data(tmp_path / "rows.xlsx")
    assert all(row.what in str(caught.value) for row in FORMATS)


def test_no_two_formats_claim_one_suffix():
    assert len(set(file_suffixes())) == len(file_suffixes())

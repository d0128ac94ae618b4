"""What would give a wrong answer without a word: it is refused, or said."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elboroom.data import load_data
from elboroom.data.precision import Rounding
from elboroom.errors import UsageError


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _picture(path: Path, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 3).save(path)


def test_two_labels_of_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(4), labels=[0, 1, 2, 0], label_names=["a", "b", "a"])
    with pytest.raises(UsageError, match="two labels are called 'a'; give each"):
        load_data(tmp_path / "a.npz")


def test_two_columns_of_labels_are_refused(tmp_path):
    with pytest.raises(UsageError, match="2 columns are headed 'label'; one may hold labels"):
        load_data(_written(tmp_path / "a.csv", "x,label,Label\n1,2,3\n4,5,6\n"))


def test_masked_values_are_refused_and_others_taken():
    x = np.ma.masked_equal(np.arange(12.0).reshape(4, 3), 5)
    with pytest.raises(UsageError, match="has masked values; fill them"):
        load_data(x)
    assert load_data(np.ma.masked_equal(np.arange(12.0).reshape(4, 3), 99)).x[1].tolist() == [3, 4, 5]


def test_entries_of_an_archive_that_are_not_read_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(4), y=np.arange(4))
    assert load_data(tmp_path / "a.npz").notes == ("entries that are not read: 'y'",)


def test_labels_of_tars_that_only_look_like_numbers_are_words(tmp_path):
    picture = io.BytesIO()
    Image.new("L", (4, 4)).save(picture, "PNG")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, label in enumerate((b"--5", b"7", b"-5")):
            for name, content in ((f"{number}.png", picture.getvalue()), (f"{number}.cls", label)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert load_data(tmp_path / "a.tar").label_names == ("--5", "-5", "7")


def test_photos_of_kinds_that_are_not_read_are_named(tmp_path):
    _picture(tmp_path / "a.png")
    for name in ("b.jfif", "c.avif"):
        (tmp_path / name).write_bytes(b"x")
    data = load_data(tmp_path)
    assert [(Path(skip.path).name, skip.reason) for skip in data.skipped] == [
        (name, "is of a kind that is not read; save it as JPEG or PNG") for name in ("b.jfif", "c.avif")
    ]


@pytest.mark.parametrize("times", [1, 2])  # the second time from the cache
def test_images_that_are_cropped_or_not_alone_in_their_file_are_spoken_of(tmp_path, times):
    for number in range(3):
        _picture(tmp_path / "a" / f"{number}.png", (40 + number, 30))
    (tmp_path / "b").mkdir()
    pages = [Image.new("L", (4, 4), shade) for shade in range(3)]
    pages[0].save(tmp_path / "b/a.tif", save_all=True, append_images=pages[1:])
    _picture(tmp_path / "c/a.png")
    for _ in range(times):
        cropped, stacked, plain = (load_data(tmp_path / name) for name in "abc")
    assert cropped.notes == ("images of 3 sizes: the middle of each was cropped and resized to 64×64",)
    assert stacked.notes == ("some files hold several images or frames; only the first was read",)
    assert plain.notes == ()


def test_folders_that_look_like_a_split_are_spoken_of(tmp_path):
    for name in ("train", "testing"):
        _picture(tmp_path / "a" / name / "0.png")
        _picture(tmp_path / "b" / name.removesuffix("ing") / "0.png")
    [note] = load_data(tmp_path / "a").notes
    assert note.startswith("warning: the folders testing, train are taken for labels")
    assert load_data(tmp_path / "b").notes == ()


def test_a_first_line_that_only_excel_reads_is_no_header(tmp_path):
    data = load_data(_written(tmp_path / "a.csv", "sep=;\na;b\n1;2\n3;4\n5;6\n"))
    assert data.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert not data.skipped


def test_columns_that_count_the_rows_are_spoken_of(tmp_path):
    rows = "".join(f"{number},{number * number % 7}.5\n" for number in range(100, 130))
    data = load_data(_written(tmp_path / "a.csv", "id,x\n" + rows), kinds="numbers")
    assert [note for note in data.notes if "counts" in note] == [
        "warning: column 'id' counts the rows and is taken for a feature; remove it if it is an identifier"
    ]


@pytest.mark.parametrize("form", ["table", "array"])
def test_values_that_float32_blurs_are_spoken_of(tmp_path, form):
    """Seconds since 1970, of which float32 holds every 128th."""
    times = 1_600_000_000.25 + 10 * np.arange(2000.0)
    for low, blurred in ((0, True), (1_600_000_000, False)):
        x = np.stack([times - low, np.arange(2000.0) % 7], 1)
        if form == "table":
            text = "t,x\n" + "".join(f"{t},{v}\n" for t, v in x.tolist())
            data = load_data(_written(tmp_path / f"{low}.csv", text))
        else:
            data = load_data(x)
        found = [note for note in data.notes if "float32 rounds its values by up to 63.8" in note]
        assert len(found) == blurred
        np.testing.assert_array_equal(data.x, x.astype(np.float32))
    with pytest.raises(UsageError, match="which float32 cannot tell apart; subtract a constant"):
        load_data(np.stack([1.6e12 + np.arange(9.0), np.arange(9.0)], 1))


def test_whole_numbers_that_float32_holds_are_not_spoken_of():
    rounding = Rounding()
    rounding.add(np.array([[16_777_215.0, 1.0], [16_777_216.0, 0.1]]))
    assert rounding.notes("ab", "x") == []

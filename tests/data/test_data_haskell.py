import numpy as np
import pytest
from PIL import Image

from elboroom.data import load_data, load_haskell_directory
from elboroom.errors import UsageError


def write(folder, name, label, pixels):
    (folder / name).write_text(f"{label}," + ",".join(map(str, pixels)))


def test_directory_of_the_program(tmp_path):
    for i in (10, 2, 0):
        write(tmp_path, f"{i}.txt", i % 3, [i, "12.0", 255, *range(6)])
    (tmp_path / "notes.txt").write_text("not data")
    data = load_data(tmp_path)
    assert data.x[:, 0, 0, 0].tolist() == [0, 2, 10]  # by number, not by name
    assert (data.shape, data.x.dtype, data.scale) == ((3, 3, 1), np.uint8, 256.0)
    assert data.labels.tolist() == [0, 2, 1]
    assert data.x[0, 0, :, 0].tolist() == [0, 12, 255]
    assert data.values(np.array([0]))[0, 0, 2, 0] == 255 / 256
    assert not data.published_split


def test_count_that_is_no_square_stays_flat(tmp_path):
    write(tmp_path, "0.txt", 1, range(5))
    write(tmp_path, "1.txt", 1, range(5))
    assert load_data(tmp_path).shape == (5,)


def test_corrupt_files_are_skipped_with_the_reason(tmp_path):
    write(tmp_path, "0.txt", 1, [1, 2, 3, 4])
    bad = {
        "1.txt": ("", "is empty"),
        "2.txt": ("3,1,2,3", "has 3 pixels where the files before it have 4"),
        "3.txt": ("3,1,x,3,4", "has 'x' in column 3 where a number is wanted"),
        "4.txt": ("3,1,2,3,256", "has pixels from 1 to 256 where 0 to 255 is wanted"),
        "5.txt": ("3,1,2,3,4.5", "has a value that is not a whole number"),
        "6.txt": ("3,1,2,3,nan", "has a value that is not a whole number"),
        "7.txt": ("3", "has no pixels after the label"),
        "8.txt": ("1,1,2,3,4\n1,1,2,3,4", "has 2 lines where one line label,p0,p1,… is wanted"),
    }
    for name, (text, _) in bad.items():
        (tmp_path / name).write_text(text)
    write(tmp_path, "9.txt", 2, [5, 6, 7, 8])
    data = load_haskell_directory(tmp_path)
    assert data.x.reshape(-1, 4).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert data.labels.tolist() == [1, 2]
    assert [skip.reason for skip in data.skipped] == [reason for _, reason in bad.values()]
    with pytest.raises(UsageError, match=r"1.txt: is empty"):
        load_data(tmp_path, strict=True)


def test_numbered_captions_beside_images_are_no_data(tmp_path):
    (tmp_path / "0.txt").write_text("a cat on a mat")
    Image.new("L", (4, 4), 9).save(tmp_path / "0.png")
    assert load_data(tmp_path).x.tolist() == np.full((1, 4, 4, 1), 9).tolist()


def test_nothing_readable(tmp_path):
    (tmp_path / "0.txt").write_text("")
    with pytest.raises(
        UsageError, match=r"none of 1 <number>.txt files can be read; the first, 0.txt, is empty"
    ):
        load_data(tmp_path)

import json

import pytest

from elboroom.data.faces.landmarks import Landmarks, find_table, read_dog_parts, read_table, read_utkface_name
from elboroom.errors import UsageError

HEAD = "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y"
DOG = "231 77\n273 76\n249 103\n201 3\n229 36\n253 32\n279 32\n299 1\n"


def table(tmp_path, text, name="landmarks.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_table(tmp_path / name)


def test_csv_with_all_parts_and_other_columns(tmp_path):
    found = table(
        tmp_path,
        f"\ufeff{HEAD}, nose_x,nose_y,mouth_x,mouth_y,remark\n"
        'a.jpg,1,2,3.5,4,5,6,,,"fine, really"\n"sub\\b.jpg",1,2,3,4,,,7,8,\n\n',
    )
    assert found.get("a.jpg") == Landmarks(
        {"left_eye": (1, 2), "right_eye": (3.5, 4), "nose": (5, 6)}, "landmarks.csv"
    )
    given = found.get("nothing", "sub/b.jpg")
    assert isinstance(given, Landmarks)
    assert given.points["mouth"] == (7, 8)
    assert found.get("c.jpg") is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.jpg,one,2,3,4", "line 2: left_eye is ('one', '2'), not two numbers"),
        ("a.jpg,1,2,3", "line 2: right_eye is ('3', None), not two numbers"),
        ("a.jpg,1,2,,", "line 2: has no right_eye"),
        ("a.jpg,,,,", "line 2: has no left_eye and no right_eye"),
        ("a.jpg,nan,2,3,4", "line 2: left_eye is (nan, 2), not a place in a photo"),
        ("a.jpg,1e308,2,3,4", "line 2: left_eye is (1e+308, 2), not a place in a photo"),
        ("a.jpg,1,2,3,-inf", "line 2: right_eye is (3, -inf), not a place in a photo"),
        (f"a.jpg,1,{'2' * 5000},3,4", "line 2: left_eye is (1, inf), not a place in a photo"),
        ("a.jpg,1,2,3,4\na.jpg,1,2,3,5", "is named more than once"),
    ],
)
def test_bad_rows_spoil_their_photo_only(tmp_path, row, reason):
    found = table(tmp_path, f"{HEAD}\n{row}\nb.jpg,1,2,3,4\n")
    assert reason in found.get("a.jpg")
    assert isinstance(found.get("b.jpg"), Landmarks)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found: nothing"),
        ("name,left_eye_x\n", "has no column 'file'"),
        ("file,left_eye_x,left_eye_y,right_eye_x,right_eye_Y\n", "did you mean 'right_eye_Y'"),
    ],
)
def test_a_csv_without_the_columns_is_refused(tmp_path, text, reason):
    with pytest.raises(UsageError, match=reason):
        table(tmp_path, text)


def test_json(tmp_path):
    faces = {
        "a.jpg": {"left_eye": [1, 2], "right_eye": [3, 4], "mouth": [5, 6], "tail": [0, 0]},
        "b.jpg": {"left_eye": [1, 2, 3], "right_eye": [3, 4]},
        "c.jpg": [1, 2],
    }
    found = table(tmp_path, json.dumps(faces), "landmarks.json")
    given = found.get("a.jpg")
    assert isinstance(given, Landmarks)
    assert dict(given.points) == {"left_eye": (1, 2), "right_eye": (3, 4), "mouth": (5, 6)}
    assert "left_eye is [1, 2, 3]" in found.get("b.jpg")
    assert "has no left_eye and no right_eye" in found.get("c.jpg")
    twice = '{"a": {"left_eye": [1, 2], "right_eye": [3, 4]}, "a": {}}'
    assert "more than once" in table(tmp_path, twice, "landmarks.json").get("a")


def test_a_huge_whole_number_spoils_its_photo_only(tmp_path):
    good = {"left_eye": [1, 2], "right_eye": [3, 4]}
    text = json.dumps({"a": {**good, "left_eye": [1, 10**400]}, "b": good})
    found = table(tmp_path, text, "landmarks.json")
    assert found.get("a").endswith("…, not two numbers")
    assert len(found.get("a")) < 200
    assert isinstance(found.get("b"), Landmarks)


@pytest.mark.parametrize("text", ["{", "[1, 2]", '"x"', "3", '{"a": ' + "9" * 5000 + "}", "[" * 100_000])
def test_what_is_no_json_mapping_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match=r"landmarks\.json"):
        table(tmp_path, text, "landmarks.json")


def test_files_that_cannot_be_landmarks(tmp_path):
    with pytest.raises(UsageError, match="no landmarks file"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(UsageError, match=r"\.csv and \.json"):
        table(tmp_path, "x", "points.txt")
    (tmp_path / "landmarks.csv").write_bytes(b"\xff\xfe\x00file")
    with pytest.raises(UsageError, match="UTF-8"):
        find_table(tmp_path)
    (tmp_path / "landmarks.csv").unlink()
    assert find_table(tmp_path) is None


def test_columbia_layout(tmp_path):
    photo = tmp_path / "CU" / "dogImages" / "006.Eskimo" / "Eskimo_00394.jpg"
    parts = tmp_path / "CU" / "dogParts" / "006.Eskimo" / "Eskimo_00394.txt"
    parts.parent.mkdir(parents=True)
    parts.write_text(DOG)
    # The dog's right eye comes first and is on the left of the picture.
    wanted = {"left_eye": (231, 77), "right_eye": (273, 76), "nose": (249, 103)}
    assert read_dog_parts(photo) == Landmarks(wanted, "parts")
    beside = tmp_path / "dog.txt"
    beside.write_text(DOG.replace(" ", "\t").replace("\n", "\r\n"))
    given = read_dog_parts(tmp_path / "dog.jpg")
    assert isinstance(given, Landmarks)
    assert dict(given.points) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2\n3 4\n", "without 8 lines"),
        (DOG.replace("273 76", "273"), "without 8 lines"),
        (DOG.replace("273 76", "273 top"), "right_eye"),
        (DOG.replace("231 77", "-1 -1"), "has no left_eye"),
    ],
)
def test_bad_part_files(tmp_path, text, reason):
    (tmp_path / "dog.txt").write_text(text)
    assert reason in read_dog_parts(tmp_path / "dog.jpg")


@pytest.mark.parametrize("text", ["", "a caption of this photo", "\n"])
def test_other_text_files_are_passed_over(tmp_path, text):
    (tmp_path / "dog.txt").write_text(text)
    assert read_dog_parts(tmp_path / "dog.jpg") is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("61_1_3_20170109150557335.jpg.chip.jpg", ("61", "1", "3")),
        ("10_0_0_20170110225035898.jpg.jpg", ("10", "0", "0")),
        ("39_1_20170116174525125.jpg.chip.jpg", ("39", "1", "")),
        ("61_2_3_20170109150557335.jpg", None),
        ("IMG_20170109.jpg", None),
    ],
)
def test_utkface_names(name, found):
    read = read_utkface_name(name)
    assert (read and tuple(read.values())) == found

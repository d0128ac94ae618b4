"""Sets that were made apart, in one folder."""

import re

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.commands.data_join import DataJoin
from elboroom.data import load_data
from elboroom.data.dataset import TEST
from elboroom.data.faces.prepare import load_prepared, prepare_faces
from elboroom.data.join import join_data
from elboroom.errors import UsageError

from .drawn import read_csv


def images(count, seed, shape=(64, 64, 1)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def words(data):
    return [data.label_names[label] for label in data.labels]


def test_faces_with_faces(photos, tmp_path):
    prepare_faces([photos("people", 12), photos("kittens", 3)], tmp_path / "a")
    (tmp_path / "photos" / "kittens").rename(tmp_path / "photos" / "first")
    prepare_faces([photos("dogs", 11), photos("kittens", 5, first=3)], tmp_path / "b", align={"dogs": "crop"})
    one, two = (load_prepared(tmp_path / name) for name in "ab")
    made = join_data([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert (made.kept, made.duplicates) == ({"people": 12, "kittens": 3 + 5, "dogs": 11}, 0)
    both = load_data(tmp_path / "c")
    assert (both.x == np.concatenate([one.x, two.x])).all()
    assert (both.split == np.concatenate([one.split, two.split])).all()
    assert words(both) == words(one) + words(two)
    assert both.scale == 255
    assert not both.published_split
    ways = dict(both.preparation.by_label)
    assert ways == {**dict(two.preparation.by_label), **dict(one.preparation.by_label)}
    assert (ways["dogs"].align, ways["people"].align) == ("crop", "auto")
    rows = read_csv(tmp_path / "c" / "manifest.csv")
    files = [row["file"] for name in "ab" for row in read_csv(tmp_path / name / "manifest.csv")]
    assert [row["file"] for row in rows] == files
    assert [row["label"] for row in rows] == words(both)
    assert [row["split"] for row in rows] == ["test" if part == TEST else "train" for part in both.split]
    assert join_data([tmp_path / "a", tmp_path / "b"], tmp_path / "c").reused


def test_what_two_sets_hold_is_kept_once(photos, tmp_path):
    """By the photo, though it was cut otherwise, and by the pixels."""
    folder = photos("people", 12)
    prepare_faces([folder], tmp_path / "a")
    photos("people", 3, first=12)
    prepare_faces([folder], tmp_path / "b", align="crop")
    made = join_data([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert (made.kept, made.duplicates) == ({"people": 15}, 12)
    x = images(6, 0)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.concatenate([x[4:], images(4, 1)]))
    made = join_data([tmp_path / "x.npy", tmp_path / "y.npy"], tmp_path / "d")
    assert (made.kept, made.duplicates) == ({"x": 6, "y": 4}, 2)
    rejected = read_csv(tmp_path / "d" / "rejected.csv")
    assert [row["file"] for row in rejected] == [f"{tmp_path / 'y.npy'}:{row}" for row in (0, 1)]
    assert {row["reason"] for row in rejected} == {"is in an earlier set as well"}


def test_arrays_faces_and_folders_of_images(photos, tmp_path):
    prepare_faces([photos("people", 4)], tmp_path / "faces", size=32)
    x, split = images(5, 1, (32, 32, 1)), np.array([0, 0, 0, 1, 1])
    np.savez(tmp_path / "pets.npz", x=x, labels=np.array(["dog", "people", "cat", "dog", "cat"]), split=split)
    for name in ("birds/a.png", "birds/b.png", "fish/c.png"):
        (tmp_path / "zoo" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images(1, len(name), (40, 50, 3))[0]).save(tmp_path / "zoo" / name)
    (tmp_path / "zoo" / "fish" / "bad.png").write_text("no picture")
    join_data([tmp_path / "faces", tmp_path / "pets.npz", tmp_path / "zoo"], tmp_path / "all")
    both = load_prepared(tmp_path / "all")
    assert words(both)[4:] == ["dog", "people", "cat", "dog", "cat", "birds", "birds", "fish"]
    assert (both.x[4:9] == x).all()
    assert (both.x[9:] == load_data(tmp_path / "zoo", size=32, channels=1).x).all()
    assert both.split[4:9].tolist() == split.tolist()
    assert [skip.reason for skip in both.skipped] == ["is not an image that can be read"]
    assert {name: way.align for name, way in both.preparation.by_label} == {
        "people": "auto",
        "birds": "crop",
        "fish": "crop",
    }


def test_numbers_are_names_too(tmp_path):
    for name, labels in (("a", [7, 3, 10]), ("b", [3, 11, 7])):
        np.savez(
            tmp_path / f"{name}.npz",
            x=np.random.default_rng(len(name + "b")).random((3, 4)) + ord(name),
            labels=labels,
        )
    join_data([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "c")
    both = load_prepared(tmp_path / "c")
    assert both.label_names == ("3", "7", "10", "11")
    assert words(both) == ["7", "3", "10", "3", "11", "7"]
    assert both.x.dtype == np.float32


def test_sets_that_do_not_fit_are_refused_by_name(photos, tmp_path):
    prepare_faces([photos("people", 3)], tmp_path / "faces", size=32, channels=3)
    prepare_faces([photos("people", 3)], tmp_path / "larger")
    for name, x in {
        "grey": images(3, 0, (32, 32, 1)),
        "grey2": images(3, 0, (16, 32, 1)),
        "bits": images(3, 0, (32, 32, 1)) % 2,
        "unit": np.random.default_rng(0).random((3, 32, 32, 1)),
        "signed": np.random.default_rng(0).random((3, 32, 32, 1)) * 2 - 1,
    }.items():
        np.save(tmp_path / f"{name}.npy", x)
    for one, two, reason in [
        (
            "faces",
            "larger",
            r"larger has examples of 64×64×1 and \S+faces of 32×32×3; .* --size 32 --rgb'",
        ),
        (
            "grey.npy",
            "grey2.npy",
            r"grey2\.npy has examples of 16×32×1 and \S+grey\.npy of 32×32×1; .*other$",
        ),
        ("grey.npy", "bits.npy", r"in \S+bits\.npy the value 1 is seen as 1, and in \S+grey\.npy 255"),
        ("grey.npy", "unit.npy", r"unit\.npy contains float32 values and \S+grey\.npy uint8"),
        (
            "unit.npy",
            "signed.npy",
            r"of \S+signed\.npy run from -1 to 1 and those of \S+unit\.npy from 0 to 1",
        ),
    ]:
        with pytest.raises(UsageError) as caught:
            join_data([tmp_path / one, tmp_path / two], tmp_path / "out")
        assert re.search(reason, str(caught.value)), caught.value
    with pytest.raises(UsageError, match="data sets to join: 1; name at least two"):
        join_data([tmp_path / "faces"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_folder_is_not_replaced(photos, tmp_path):
    for name, first in (("a", 0), ("b", 3), ("c", 6)):
        folder = photos(f"people{name}", 3, first=first)
        prepare_faces([folder], tmp_path / name)
    join_data([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(UsageError, match="--overwrite"):
        join_data([tmp_path / "a", tmp_path / "c"], tmp_path / "out")
    with pytest.raises(UsageError, match="choose another out="):
        join_data([tmp_path / "a", tmp_path / "c"], tmp_path / "a", overwrite=True)
    join_data([tmp_path / "a", tmp_path / "c"], tmp_path / "out", overwrite=True)
    assert load_prepared(tmp_path / "out").label_names == ("peoplea", "peoplec")


def test_the_verb(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("people.npy", images(40, 0))
    np.save("dogs.npy", np.concatenate([images(2, 0), images(8, 1)]))
    DataJoin(sources=("people.npy", "dogs.npy"), out=tmp_path / "all")()
    assert capsys.readouterr().err.splitlines() == [
        "joined   40 people, 8 dogs: 64×64×1",
        "left out 2 duplicates of an earlier set; see all/rejected.csv",
        "picture  all/contact_sheet.png",
        "problem  there are too few examples to train on: 8 of dogs; at least 30 of each",
    ]

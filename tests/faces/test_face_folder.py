"""What is written, when it is written anew, and what is left when it cannot be."""

import errno
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from elboroom.data import images, load_data
from elboroom.data.dataset import TEST
from elboroom.data.faces import prepare
from elboroom.data.faces.align import parse_align
from elboroom.data.faces.files import split_by_content
from elboroom.data.faces.prepare import is_prepared, load_prepared, prepare_faces
from elboroom.data.faces.prepared_photo import prepare_photo
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import FailureError, UsageError

from .drawn import dotted, read_csv, turned, write_landmarks


def test_what_is_written(photos, tmp_path):
    folders = [photos("people", 20), photos("dogs", 11)]
    seen = []
    made = prepare_faces(folders, tmp_path / "faces", on_progress=lambda *numbers: seen.append(numbers))
    assert made.kept == {"people": 20, "dogs": 11}
    assert made.rejected == ()
    assert seen == [(done, 31) for done in range(1, 32)]
    assert is_prepared(tmp_path / "faces")
    assert not is_prepared(folders[0])
    data = load_prepared(tmp_path / "faces")
    assert isinstance(data.x, np.memmap)
    assert data.describe() == (
        "faces: 28 train, 3 test, 64×64×1 uint8, 2 labels (from prepared faces)"  # 2 of 20 and 1 of 11
    )
    assert data.label_names == ("people", "dogs")
    assert data.labels.tolist() == [0] * 20 + [1] * 11
    rows = read_csv(tmp_path / "faces" / "manifest.csv")
    assert [row["index"] for row in rows] == [str(i) for i in range(31)]
    assert [row["split"] == "test" for row in rows] == (data.split == TEST).tolist()
    row = rows[20]
    assert (row["file"], row["label"], row["landmarks"]) == ("dogs/000.png", "dogs", "landmarks.csv")
    points = turned(-10, 1.5, (150, 130))
    assert float(row["left_eye_x"]) == pytest.approx(points["left_eye"][0], abs=0.005)
    # A crop of 1/1.5 of the photo's size, turned back by 10°: a + ib = e^(10°i) / 1.5.
    turn = np.exp(1j * np.deg2rad(10)) / 1.5
    assert (float(row["a"]), float(row["b"])) == pytest.approx((turn.real, turn.imag), abs=1e-5)
    assert (tmp_path / "faces" / "rejected.csv").read_text() == "file,reason\n"


def parts(out):
    return {row["sha256"]: row["split"] for row in read_csv(out / "manifest.csv")}


def test_split_depends_on_contents_only(photos, tmp_path):
    folder = photos("people", 30)
    prepare_faces([folder], tmp_path / "one")
    points = {row["file"]: row for row in read_csv(folder / "landmarks.csv")}
    renamed = tmp_path / "other" / "men"
    renamed.mkdir(parents=True)
    table = []
    for index, name in enumerate(reversed(points)):
        shutil.copy(folder / name, renamed / f"{index:04d}.png")
        table.append(",".join([f"{index:04d}.png", *list(points[name].values())[1:]]))
    head = ",".join(next(iter(points.values())))
    (renamed / "landmarks.csv").write_text("\n".join([head, *table]))
    prepare_faces([renamed], tmp_path / "two")
    assert parts(tmp_path / "one") == parts(tmp_path / "two")
    assert list(parts(tmp_path / "one").values()).count("test") == 3


def test_split_of_few():
    keys = np.arange(5, dtype=np.uint64)
    assert split_by_content(np.zeros(1, int), keys[:1]).tolist() == [0]
    assert split_by_content(np.array([0, 0, 1, 1, 1]), keys).tolist() == [1, 0, 1, 0, 0]


def test_duplicates_are_kept_once(photos, tmp_path):
    people, dogs = photos("people", 3), photos("dogs", 3)
    shutil.copy(people / "001.png", people / "copy.png")
    shutil.copy(people / "002.png", dogs / "stray.png")
    face = turned(0, 1.5, (150, 130))
    for folder, name in ((people, "copy.png"), (dogs, "stray.png")):
        faces_of = {f"{i:03d}.png": turned(3 * i - 10, 1.5, (150 + i, 130)) for i in range(3)}
        write_landmarks(folder, {**faces_of, name: face})
    made = prepare_faces([people, dogs], tmp_path / "out", strict=False)
    assert made.kept == {"people": 3, "dogs": 3}
    assert [(skip.path, skip.reason) for skip in made.rejected] == [
        ("people/copy.png", "is a duplicate of people/001.png"),
        ("dogs/stray.png", "is a duplicate of people/002.png"),
    ]
    assert made.reasons == [("is a duplicate", 2)]
    assert [skip.path for skip in load_prepared(tmp_path / "out").skipped] == [
        "people/copy.png",
        "dogs/stray.png",
    ]


def test_a_second_run_reuses_and_a_change_does_not(photos, tmp_path):
    folder, out = photos("people", 4), tmp_path / "out"
    first = prepare_faces([folder], out)
    before = (out / "x.npy").stat().st_mtime_ns
    again = prepare_faces([folder], out)
    assert (first.reused, again.reused) == (False, True)
    assert again.kept == first.kept
    assert (out / "x.npy").stat().st_mtime_ns == before
    write_landmarks(folder, {f"{i:03d}.png": turned(0, 1.6, (150, 130)) for i in range(3)})
    moved = prepare_faces([folder], out)  # the same folders and options, so it may be replaced
    assert (moved.reused, moved.kept) == (False, {"people": 3})
    with pytest.raises(UsageError, match="--overwrite"):
        prepare_faces([folder], out, size=32)
    assert prepare_faces([folder], out, size=32, overwrite=True).kept == {"people": 3}
    assert load_prepared(out).shape == (32, 32, 1)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_crops_pass_as_they_are(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    write_landmarks(folder, {"a.png": turned(40, 0.5, (20, 20))})
    prepare_faces([folder], tmp_path / "out", align="none", channels=3)
    assert (load_prepared(tmp_path / "out").x[0] == pixels).all()
    assert read_csv(tmp_path / "out" / "manifest.csv")[0]["landmarks"] == "none"


def test_utkface_names(tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "31_1_2_20170109150557335.png")
    Image.fromarray(pixels[:, :50]).save(folder / "31_1_3_20170109150557335.png")  # not square: no crop
    dotted(turned(0, 2, (150, 130))).save(folder / "7_0_1_20170109150557335.png")
    write_landmarks(folder, {"7_0_1_20170109150557335.png": turned(0, 2, (150, 130))})
    made = prepare_faces([folder], tmp_path / "out", detector="none")
    assert [skip.path for skip in made.rejected] == ["people/31_1_3_20170109150557335.png"]
    one, two = read_csv(tmp_path / "out" / "manifest.csv")
    assert (one["landmarks"], one["age"], one["gender"], one["race"]) == ("utkface", "31", "1", "2")
    assert (two["landmarks"], two["age"], two["gender"]) == ("landmarks.csv", "7", "0")
    assert (load_prepared(tmp_path / "out").x[0, ..., 0] == pixels).all()


def test_columbia_folder(tmp_path):
    for breed in ("001.Affenpinscher", "002.Afghan_hound"):
        for kind in ("dogImages", "dogParts"):
            (tmp_path / "CU_Dogs" / kind / breed).mkdir(parents=True)
        points = turned(10 if "1" in breed else -10, 2.0, (150, 130), "dog")
        dotted(points).save(tmp_path / "CU_Dogs" / "dogImages" / breed / "a_1.png")
        lines = ["%.0f %.0f" % points[part] for part in ("left_eye", "right_eye", "nose")]  # noqa: UP031
        parts_file = tmp_path / "CU_Dogs" / "dogParts" / breed / "a_1.txt"
        parts_file.write_text("\n".join([*lines, *["0 0"] * 5]))
    made = prepare_faces([tmp_path / "CU_Dogs" / "dogImages"], tmp_path / "out", detector="none")
    assert made.kept == {"dogImages": 2}
    rows = read_csv(tmp_path / "out" / "manifest.csv")
    assert {(row["landmarks"], row["template"]) for row in rows} == {("parts", "dog")}


def test_template_on_demand(photos, tmp_path):
    folder = photos("people", 2)
    made = prepare_faces([folder], tmp_path / "out", template="dog")
    assert made.by_label["people"].template == "dog"
    assert {row["template"] for row in read_csv(tmp_path / "out" / "manifest.csv")} == {"dog"}
    assert prepare_faces([folder], tmp_path / "out", template="dog").reused
    with pytest.raises(UsageError, match="--overwrite"):
        prepare_faces([folder], tmp_path / "out")


def test_one_landmarks_file_for_all_folders(photos, tmp_path):
    people, dogs = photos("people", 2), photos("dogs", 2)
    (people / "landmarks.csv").unlink()
    (dogs / "landmarks.csv").unlink()
    face = turned(0, 1.5, (150, 130))
    write_landmarks(tmp_path, {"people/000.png": face, "dogs/000.png": face, "001.png": face}, "all.csv")
    made = prepare_faces([people, dogs], tmp_path / "out", landmarks=tmp_path / "all.csv")
    assert made.kept == {"people": 2, "dogs": 2}


def test_faces_beyond_the_edge_are_rejected(photos, tmp_path):
    folder = photos("people", 2)
    write_landmarks(folder, {"000.png": turned(0, 2, (150, 130)), "001.png": turned(0, 3, (20, 30))})
    made = prepare_faces([folder], tmp_path / "out")
    assert [skip.reason for skip in made.rejected] == [
        "has 61% of the face's square beyond its edges"
    ]  # 1 - (116/192) · (126/192) by hand


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 7}, "size is 7"),
        ({"size": (64, 0)}, "size is"),
        ({"size": 64.0}, "size is 64.0"),
        ({"channels": 2}, "channels is 2"),
        ({"workers": 0}, "workers is 0"),
        ({"detector": "harr"}, "no detector 'harr'"),
        ({"template": "cat"}, "no template 'cat'; known: auto, dog, person"),
        ({"landmarks": "nowhere.csv"}, "no landmarks file"),
    ],
)
def test_wrong_options(photos, tmp_path, options, reason):
    with pytest.raises(UsageError, match=reason):
        prepare_faces([photos("people", 1)], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_one_bad_row_of_landmarks_costs_one_photo(photos, tmp_path):
    folder = photos("people", 6)
    table = (folder / "landmarks.csv").read_text().splitlines()
    table[3] = "002.png,1e308,-1e308,1e308,1e308,,,,"
    (folder / "landmarks.csv").write_text("\n".join(table))
    made = prepare_faces([folder], tmp_path / "out")
    assert made.kept == {"people": 5}
    assert [skip.path for skip in made.rejected] == ["people/002.png"]
    assert made.reasons == [("has a bad row in its landmarks file", 1)]


def test_wrong_folders(photos, tmp_path):
    people = photos("people", 2)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.psd").write_bytes(b"x")
    twin = tmp_path / "more" / "people"
    shutil.copytree(people, twin)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("precious")
    file = tmp_path / "file"
    file.write_text("")
    out = tmp_path / "out"
    for folders, target, reason in [
        ([], out, "no folder named"),
        ([tmp_path / "gone"], out, "does not exist"),
        ([file], out, "is a file"),
        ([empty], out, r"contains no photos that can be read; 1 file is left out: a.psd is of a kind"),
        ([people, twin], out, "have one name"),
        ([people], taken, "something other than prepared faces"),
        ([people], file, "is a file"),
        ([people], people / "faces", "whose photos are read"),
        ([people], people.parent, "contains the photos"),
    ]:
        with pytest.raises(UsageError, match=reason):
            prepare_faces(folders, target, overwrite=True)
    assert (taken / "thesis.txt").read_text() == "precious"
    assert not out.exists()


def test_nothing_usable_names_the_commonest_reason(photos, tmp_path):
    folder = photos("people", 3)
    (folder / "landmarks.csv").unlink()
    with pytest.raises(
        UsageError,
        match=r"none of the 3 photos can be used: each has no landmarks.* \(such as people/000\.png\)",
    ):
        prepare_faces([folder], tmp_path / "out", align="landmarks")
    assert list(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_strict_stops_at_the_first(photos, tmp_path):
    folder = photos("people", 3)
    (folder / "001.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"001\.png: is empty; correct or remove it"):
        prepare_faces([folder], tmp_path / "out", strict=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_an_interrupted_run_leaves_what_was_there(photos, tmp_path):
    folder, out = photos("people", 5), tmp_path / "out"
    prepare_faces([folder], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_faces([folder], out, size=32, overwrite=True, on_progress=stop)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


@pytest.mark.parametrize("when", ["reserve", "finish"])
def test_a_full_disk_leaves_nothing(photos, tmp_path, monkeypatch, when):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if when == "reserve":
        monkeypatch.setattr("os.posix_fallocate", full)
    else:
        monkeypatch.setattr("elboroom.data.cache._save", full)
    with pytest.raises(FailureError, match="No space left"):
        prepare_faces([photos("people", 2)], tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_damaged_faces_are_named(photos, tmp_path):
    prepare_faces([photos("people", 2)], tmp_path / "out")
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    (tmp_path / "out" / "meta.json").write_text(json.dumps({**meta, "fingerprint": "0"}))
    with pytest.raises(UsageError, match="damaged"):
        load_prepared(tmp_path / "out")


def test_few_photos_are_ahead(photos, tmp_path, monkeypatch):
    """Memory is bounded because no more than some crops per worker wait to be written."""
    folder, ahead = photos("people", 60), []
    made, real = [], prepare.make_face
    monkeypatch.setattr(prepare, "make_face", lambda *a: made.append(1) or real(*a))
    prepare_faces(
        [folder], tmp_path / "out", workers=2, on_progress=lambda done, _: ahead.append(len(made) - done)
    )
    assert max(ahead) <= 16


def test_the_array_ends_with_the_last_face(photos, tmp_path, monkeypatch):
    """Reserved for all photos, mapped anew now and then, cut at the end: nothing is lost or left over."""
    monkeypatch.setattr("elboroom.data.faces.files._MAPPED_BYTES", 3 * 64 * 64)
    folder = photos("people", 120)
    prepare_faces([folder], tmp_path / "all")
    for index in (0, 7, 119, *range(20, 110)):
        (folder / f"{index:03d}.png").write_bytes(b"")
    prepare_faces([folder], tmp_path / "some")
    every, some = load_prepared(tmp_path / "all").x, load_prepared(tmp_path / "some").x
    kept = [i for i in range(120) if i not in (0, 7, 119) and not 20 <= i < 110]
    assert (some == every[kept]).all()
    assert (tmp_path / "some" / "x.npy").stat().st_size == 128 + 27 * 64 * 64


def test_faces_of_an_earlier_version_say_how_they_were_made(photos, tmp_path):
    """Whose meta.json has no preparation, and one way for all folders."""
    prepare_faces([photos("people", 3), photos("dogs", 2)], tmp_path / "out", channels=3, size=(48, 32))
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    del meta["preparation"]
    meta["faces"] = {**meta["faces"], "align": True, "template": "auto", "detector": "auto (haar)"}
    del meta["faces"]["version"]
    (tmp_path / "out" / "meta.json").write_text(json.dumps(meta))
    way = PhotoSteps("auto", (48, 32), 3, "person", "haar")
    assert load_prepared(tmp_path / "out").preparation == Preparation(
        "faces", (("people", way), ("dogs", way))
    )
    meta["faces"]["align"] = False
    (tmp_path / "out" / "meta.json").write_text(json.dumps(meta))
    assert [way.align for _, way in load_prepared(tmp_path / "out").preparation.by_label] == ["crop", "crop"]


def test_each_folder_has_its_own_way(photos, tmp_path):
    """Landmarks where they are, the middle where most photos have none, and what was asked for."""
    known, few, none = photos("known", 4), photos("few", 5), photos("none", 3)
    write_landmarks(few, {"000.png": turned(0, 1.5, (150, 130)), "001.png": turned(0, 1.5, (150, 130))})
    (none / "landmarks.csv").unlink()
    made = prepare_faces([known, few, none], tmp_path / "out", detector="none")
    assert made.sources == {
        "known": {"landmarks.csv": 4},
        "few": {"crop": 3, "landmarks.csv": 2},
        "none": {"crop": 3},
    }
    assert [(name, way.align, way.detector) for name, way in made.by_label.items()] == [
        ("known", "auto", "none"),
        ("few", "crop", "none"),
        ("none", "crop", "none"),
    ]
    assert made.notes == tuple(
        f"{name}: no faces were looked for; the middle of each photo was cut out instead"
        for name in ("few", "none")
    )
    data = load_prepared(tmp_path / "out")
    assert (data.x[-1] == images.decode(none / "002.png", (64, 64, 1))).all()
    assert dict(data.preparation.by_label) == made.by_label
    ways = {"known": "crop", "few": "landmarks"}
    again = prepare_faces([known, few, none], tmp_path / "out", detector="none", align=ways, overwrite=True)
    assert again.sources == {"known": {"crop": 4}, "few": {"landmarks.csv": 2}, "none": {"crop": 3}}
    assert [(skip.path, skip.reason) for skip in again.rejected] == [
        (f"few/{index:03d}.png", "has no landmarks") for index in (2, 3, 4)
    ]
    assert prepare_faces([known, few, none], tmp_path / "out", detector="none", align=ways).reused


def test_crops_of_another_shape_are_not_taken_as_they_are(photos, tmp_path):
    folder = photos("people", 2)
    with pytest.raises(
        UsageError, match=r"each is 300×260, not the shape of a 64×64 face crop; align it with 'crop'"
    ):
        prepare_faces([folder], tmp_path / "out", align="none")
    assert prepare_faces([folder], tmp_path / "out", size=(52, 60), align="none").kept == {"people": 2}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cats=crop"], "no folder is named 'cats'; known: dogs, people"),
        (["dog=crop"], "no folder is named 'dog'; did you mean 'dogs'?"),
        (["dogs=cut"], "'cut' is not an alignment method; choose one of auto, detect, landmarks, crop, none"),
        (["dogs=crop", "dogs=none"], "'dogs' is given two methods, crop and none; give one"),
        (["crop", "none"], "all folders are given two methods, crop and none; give one"),
    ],
)
def test_ways_that_are_none(words, reason):
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_align(words, ["people", "dogs"])


def test_detection_needs_a_detector(photos, tmp_path):
    with pytest.raises(
        UsageError, match="cannot be detected in the photos of people, as the detector is 'none'"
    ):
        prepare_faces([photos("people", 2)], tmp_path / "out", align={"people": "detect"}, detector="none")


@pytest.mark.parametrize("align", ["auto", "crop"])
def test_12_bit_photos_give_the_faces_of_8_bit_ones(photos, tmp_path, align):
    """Also with a photo of 8 bits among them, and when one of them is prepared alone."""
    folder = photos("people", 4)
    deep = shutil.copytree(folder, tmp_path / "deep" / "people")
    for path in sorted(deep.glob("*.png"))[1:]:
        values = np.asarray(Image.open(path).convert("L"), np.uint16)
        values[0, 0] = 255  # so that the highest value is white
        Image.fromarray(values.astype(np.uint8)).save(folder / path.name)
        Image.fromarray(np.rint(values / 255 * 4095).astype(np.uint16)).save(path)
    shallow = load_data(prepare_faces([folder], tmp_path / "8", align=align).path)
    made = prepare_faces([deep], tmp_path / "12", align=align)
    found = load_data(made.path)
    np.testing.assert_array_equal(found.x, shallow.x)
    assert made.by_label["people"].white == 4095
    assert shallow.preparation.by_label[0][1].white == 65535
    for ways in (found.preparation.for_new_photos(), shallow.preparation.for_new_photos()):
        alone = prepare_photo(deep / "001.png", ways[0])
        np.testing.assert_array_equal(alone.pixels, found.x[1])
    assert prepare_faces([deep], tmp_path / "12", align=align).reused

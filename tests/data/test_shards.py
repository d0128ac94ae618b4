"""Tar shards of WebDataset and .npy shards."""

import io
import json
import shutil
import tarfile

import numpy as np
import psutil
import pytest
from PIL import Image

from elboroom.data import TEST, TRAIN, VALIDATION, cache_dir, load_data, memory, tars
from elboroom.data.rows import Joined
from elboroom.data.shards import find_shards
from elboroom.errors import UsageError


def png(shade, size=(6, 5), kind="PNG"):
    """A flat image of a shade (a number: grey; three: colour); size is width, height."""
    file = io.BytesIO()
    Image.new("L" if isinstance(shade, int) else "RGB", size, shade).save(file, kind)
    return file.getvalue()


def npy(x):
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def pack(path, members, form=tarfile.PAX_FORMAT):
    """A tar of (name, bytes) or of ready TarInfo objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def samples(start, stop, labels=True):
    for i in range(start, stop):
        yield f"{i:04d}.png", png(i)
        if labels:
            yield f"{i:04d}.cls", str(i % 3).encode()


def shades(data):
    return np.asarray(data.x).reshape(len(data), -1)[:, 0].tolist()


# What is read.


def test_samples_in_order_with_labels(tmp_path):
    for number in range(3):
        pack(tmp_path / f"part-{number:03d}.tar", samples(10 * number, 10 * number + 10))
    data = load_data(tmp_path)
    assert shades(data) == list(range(30))
    assert data.labels.tolist() == [i % 3 for i in range(30)]
    assert (data.shape, data.scale, data.label_names, data.published_split) == ((5, 6, 1), 255.0, (), False)
    assert data.name == tmp_path.name
    assert data.describe().endswith("27 train, 3 test, 5×6×1 uint8, 3 labels (from 3 tar shards)")
    assert isinstance(data.x, np.memmap)
    assert cache_dir() in data.x.filename.parents


def test_every_kind_of_member(tmp_path):
    colour = np.zeros((5, 6, 3), np.uint8) + 9
    path = pack(
        tmp_path / "a.tar",
        [
            ("./deep/er/a.jpg", png((200, 10, 10), kind="JPEG")),
            ("./deep/er/a.json", json.dumps({"label": "dog", "width": 6}).encode()),
            ("b.WEBP", png((1, 2, 3), (60, 50), kind="WEBP")),
            ("b.cls", b"cat\n"),
            ("c.seg.png", png(99)),
            ("c.npy", npy(colour)),
            ("c.json", b'{"label": "dog"}'),
            ("d.input.png", png(7)),
            ("d.cls", b"ant"),
            ("e.npy", npy(np.asfortranarray(np.arange(30, dtype=np.uint8).reshape(5, 6)))),
            ("e.cls", b"ant"),
        ],
    )
    data = load_data(path, size=(5, 6))
    assert data.skipped == ()
    assert data.shape == (5, 6, 3)
    assert data.label_names == ("ant", "cat", "dog")
    assert data.labels.tolist() == [2, 1, 2, 0, 0]
    np.testing.assert_array_equal(data.x[2], colour)
    np.testing.assert_array_equal(data.x[4][..., 0], np.arange(30).reshape(5, 6))
    assert data.x[3, 0, 0].tolist() == [7, 7, 7]
    assert data.x[0, 0, 0].tolist() == pytest.approx([200, 10, 10], abs=4)  # JPEG keeps colours roughly


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_hidden_names(tmp_path, form):
    long = "/".join(["x" * 60] * 2) + "/ü" * (form != tarfile.USTAR_FORMAT)
    folder = tarfile.TarInfo("folder.png")
    folder.type = tarfile.DIRTYPE
    members = [(f"{long}/1.png", png(1)), folder, ("._2.png", b"mac"), ("2.png", png(2)), ("README", b"text")]
    assert shades(load_data(pack(tmp_path / "a.tar", members, form))) == [1, 2]


def test_labels_are_numbers_only_if_all_are(tmp_path):
    path = pack(tmp_path / "a.tar", [("a.png", png(1)), ("a.cls", b"10"), ("b.png", png(2)), ("b.cls", b"x")])
    assert (load_data(path).label_names, load_data(path).labels.tolist()) == (("10", "x"), [0, 1])
    path = pack(tmp_path / "b.tar", [("a.png", png(1)), ("a.json", b'{"label": -3}')])
    assert (load_data(path).label_names, load_data(path).labels.tolist()) == ((), [-3])
    path = pack(tmp_path / "c.tar", [("a.png", png(1)), ("a.json", b'{"width": 3}')])
    assert load_data(path).labels is None


def test_what_cannot_be_used_is_skipped_with_its_reason(tmp_path):
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    good = png(5)
    path = pack(
        tmp_path / "a.tar",
        [
            ("good.png", good),
            ("good.cls", b"1"),
            ("cut.png", good[:-25]),
            ("cut.cls", b"1"),
            ("text.jpg", b"no image"),
            ("empty.png", b""),
            ("two.png", good),
            ("two.jpg", good),
            ("lonely.cls", b"2"),
            link,
            ("bad.png", good),
            ("bad.json", b"{"),
            ("list.png", good),
            ("list.json", b'{"label": [1, 2]}'),
            ("silent.png", good),
            ("float.npy", npy(np.zeros((5, 6)))),
            ("liar.npy", npy(np.zeros((5, 6), np.uint8))[:-1]),
            ("objects.npy", b"\x93NUMPY\x01\x00\xff\xff"),
        ],
    )
    data = load_data(path)
    assert (shades(data), data.labels.tolist()) == ([5], [1])
    reasons = {skip.path.rpartition(":")[2]: skip.reason for skip in data.skipped}
    expected = {
        "cut.png": "is damaged",
        "text.jpg": "is not an image that can be read",
        "empty.png": "is empty",
        "two.png": "contains 2 images (png, jpg); each sample must have exactly one",
        "lonely.cls": "contains no image",
        "link.png": "is a link",
        "bad.png": "its .json is damaged",
        "list.png": "its label in .json is '[1, 2]'",
        "silent.png": "has no label, and others have",
        "float.npy": "contains (5, 6) float64",
        "liar.npy": "is damaged (29 bytes of values where shape (5, 6) is stated)",
        "objects.npy": "is damaged",
    }
    assert reasons.keys() == expected.keys()
    for name, start in expected.items():
        assert reasons[name].startswith(start)
    with pytest.raises(
        UsageError, match=r"a.tar:cut.png: is damaged .* \(and 11 more\); correct or remove it"
    ):
        load_data(path, strict=True)


def test_a_damaged_shard_gives_what_comes_before(tmp_path):
    whole = pack(tmp_path / "whole.tar", samples(0, 10, labels=False)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: 4 * 1024 + 512 + 30])  # a header and an image are 1024 bytes
    data = load_data(tmp_path / "cut.tar")
    assert shades(data) == [0, 1, 2, 3]
    assert [skip.reason.split(" (")[0] for skip in data.skipped] == [
        "is cut short",
        "is cut short or damaged after 0004.png",
    ]
    (tmp_path / "bad.tar").write_bytes(whole[:4096] + b"?" * 512 + whole[4608:])
    data = load_data(tmp_path / "bad.tar")
    assert shades(data) == [0, 1, 2, 3]
    assert [skip.reason.split(",")[0] for skip in data.skipped] == ["is damaged after 0003.png"]


def test_any_damage_to_a_shard_is_skipped_or_a_usage_error(tmp_path):
    rng = np.random.default_rng(0)
    whole = pack(tmp_path / "a.tar", samples(0, 4)).read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole) - 9000, 12):  # the end of a tar is padding
            damaged[place] = rng.integers(256)
        (tmp_path / "a.tar").write_bytes(damaged)
        try:
            assert load_data(tmp_path / "a.tar").shape == (5, 6, 1)
        except UsageError as error:
            message = str(error)
            assert "\n" not in message


def test_nothing_is_left_to_use(tmp_path):
    pack(tmp_path / "a.tar", [("a.png", b"?"), ("b.png", b"")])
    with pytest.raises(
        UsageError, match=r"no image in the tar shards can be used \(2 skipped; the first, .*a.png"
    ):
        load_data(tmp_path / "a.tar")
    with pytest.raises(UsageError, match=r"\(0 skipped\)"):
        load_data(pack(tmp_path / "b.tar", []))


# Which files.


def test_compressed_and_other_files_are_refused(tmp_path):
    whole = pack(tmp_path / "a.tar", samples(0, 3)).read_bytes()
    for mode, kind in (("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")):
        path = tmp_path / f"b.tar.{mode}"
        with tarfile.open(path, f"w:{mode}") as tar:
            tar.add(tmp_path / "a.tar", "a.tar")
        with pytest.raises(
            UsageError, match=rf"{path.name}: is compressed with {kind}, and shards .* plain .tar"
        ):
            load_data(path)
        path.unlink()
    for contents in (b"", b"PK\3\4" + whole, whole[:300]):
        (tmp_path / "c.tar").write_bytes(contents)
        with pytest.raises(UsageError, match=r"c.tar: is not a tar file"):
            load_data(tmp_path / "c.tar")


def test_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(12):
        pack(tmp_path / "in" / f"train-{i:02d}.tar", samples(10 * i, 10 * i + 2, labels=False))
    for i in range(2):
        pack(tmp_path / "in" / f"test-{i:02d}.tar", samples(200 + 10 * i, 202 + 10 * i, labels=False))
    assert shades(load_data("in/train-{08..10}.tar")) == [80, 81, 90, 91, 100, 101]
    assert shades(load_data("in/train-0[12].tar")) == [10, 11, 20, 21]
    both = load_data(
        str(tmp_path / "in" / "{train-{00..01},test-*}.tar").replace("{train-{00..01},", "{train-00,")
    )
    assert shades(both) == [0, 1, 200, 201, 210, 211]
    assert both.split.tolist() == [TRAIN] * 2 + [TEST] * 4
    assert both.published_split
    assert load_data("in").published_split
    for pattern, message in [
        ("in/train-{10..13}.tar", "there is no file in/train-12.tar"),
        ("in/none-*.tar", "there is no file in/none"),
        ("in/train-{9..2}.tar", r"\{9..2\} must go from a lower number"),
        ("in/train-{0..99999999}.tar", "must go from a lower number"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_data(pattern)
    (tmp_path / "in" / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"names in/notes.txt; a pattern is for"):
        load_data("in/*.{txt,tar}")


def test_splits_by_name_or_folder(tmp_path):
    for place in ("train/0.tar", "val/0.tar", "x-test-0.tar"):
        pack(tmp_path / place, samples(1, 3, labels=False))
    data = load_data(tmp_path)
    assert sorted(data.split.tolist()) == [TRAIN, TRAIN, TEST, TEST, VALIDATION, VALIDATION]
    assert data.published_split
    pack(tmp_path / "other.tar", samples(1, 3, labels=False))
    with pytest.raises(UsageError, match=r"other.tar: its name contains no split word"):
        load_data(tmp_path)
    assert not load_data(tmp_path / "train" / "0.tar").published_split


def test_what_a_folder_is(tmp_path):
    pack(tmp_path / "a.tar", samples(0, 3))
    pack(tmp_path / ".hidden.tar", samples(0, 3))
    assert find_shards(tmp_path) == [tmp_path / "a.tar"]
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(UsageError, match=r"contains both .tar and .npy files"):
        load_data(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1))  # then they lie beside a folder of images
    assert load_data(tmp_path).origin == "a folder of images"
    with pytest.raises(UsageError, match="no data set or path"):
        load_data(tmp_path / "gone")
    for nowhere in ("a\0{b}", "a" * 5000 + "*"):
        with pytest.raises(UsageError, match=r"there is no file a|no data set or path"):
            load_data(nowhere)


# The cache.


def test_decoded_once_until_a_shard_changes(tmp_path, monkeypatch):
    path = pack(tmp_path / "in" / "a.tar", samples(0, 5))
    load_data(path)
    with monkeypatch.context() as patched:
        patched.setattr(tars, "samples", lambda _: pytest.fail("read again"))
        again = load_data(path)
    assert (shades(again), again.origin) == ([0, 1, 2, 3, 4], "cache")
    pack(path, samples(7, 9))
    assert shades(load_data(path)) == [7, 8]
    assert load_data(path, size=4).shape == (4, 4, 1)
    # One entry for each size; the shard as it was before is forgotten.
    assert len([entry for entry in cache_dir().iterdir() if entry.name.startswith("shards-")]) == 2


def test_without_a_cache_it_is_kept_in_memory(tmp_path, monkeypatch):
    path = pack(tmp_path / "a.tar", [*samples(0, 5), ("z.png", png(1)[:50])])
    (tmp_path / "file").touch()
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "file" / "below"))
    data = load_data(path)
    assert (shades(data), len(data.skipped)) == ([0, 1, 2, 3, 4], 1)
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    with pytest.raises(UsageError, match="without a cache 5 images are kept in memory"):
        load_data(path)


def test_memory_stays_flat_while_shards_are_decoded(tmp_path):
    image = npy(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
    pack(tmp_path / "a.tar", ((f"{i}.npy", image) for i in range(600)))
    load_data(pack(tmp_path / "warm.tar", samples(0, 3)))
    before = psutil.Process().memory_info().rss
    data = load_data(tmp_path / "a.tar")
    assert data.x.nbytes > 117e6
    # 64 MB of pixels under way; written through a map, all 118 MB would stay besides.
    assert psutil.Process().memory_info().rss - before < 100e6


# .npy shards.


def test_npy_shards_are_one_array(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8)
    for i, part in enumerate(np.split(x, [5, 6])):
        np.save(tmp_path / f"{'train' if i else 'test'}-{i}.npy", part)
    data = load_data(tmp_path)
    assert isinstance(data.x, Joined)
    np.testing.assert_array_equal(data.values(slice(None)), x[..., None] / np.float32(255))
    assert (
        data.describe() == f"{tmp_path.name}: 15 train, 5 test, 4×4×1 uint8, no labels (from 3 .npy shards)"
    )
    assert data.split.tolist() == [TEST] * 5 + [TRAIN] * 15
    whole = load_data(x)
    assert data.with_validation(0.2).fingerprint() != data.fingerprint()
    np.testing.assert_array_equal(load_data(tmp_path, size=2).x, load_data(whole, size=2).x)
    assert list(cache_dir().iterdir()) == []


def test_npy_shards_of_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.save(tmp_path / "0.npy", x[:9])
    np.save(tmp_path / "1.npy", x[9:])
    np.testing.assert_array_equal(load_data(str(tmp_path / "*.npy")).x, x.astype(np.float32))
    np.save(tmp_path / "1.npy", np.where(x[9:] == x[12, 1], np.nan, x[9:]))
    with pytest.raises(UsageError, match=r"1 value\(s\) in 1 row\(s\) are nan.* in row 12"):
        load_data(tmp_path)
    np.save(tmp_path / "1.npy", x[9:, :2])
    with pytest.raises(
        UsageError, match=r"1.npy: contains rows of \(2,\) float64, and 0.npy of \(3,\) float64"
    ):
        load_data(tmp_path)
    np.save(tmp_path / "1.npy", x[0, 0])
    with pytest.raises(UsageError, match=r"1.npy: contains an array of shape \(\); a shard must be"):
        load_data(tmp_path)
    np.save(tmp_path / "1.npy", np.asfortranarray(x[9:]))
    with pytest.raises(UsageError, match=r"1.npy: is stored column by column"):
        load_data(tmp_path)


# The command line.


def test_train_and_show(tmp_path, capsys, monkeypatch):
    from elboroom.cli.main import main  # all of elboroom, which the tests above do without

    monkeypatch.chdir(tmp_path)
    for i in range(3):
        pack(tmp_path / "shards" / f"{i}.tar", samples(20 * i, 20 * i + 20))
    assert main(["data", "show", "shards"]) == 0
    assert "54 train, 6 test, 5×6×1 uint8, 3 labels (from 3 tar shards)" in capsys.readouterr().out
    assert main(["train", "shards/{0..2}.tar", "--dry-run"]) == 0
    assert "49 train, 5 validation, 6 test" in capsys.readouterr().err
    np.save(tmp_path / "0.npy", np.arange(60, dtype=np.uint8).reshape(20, 3))
    assert main(["data", "show", "?.npy"]) == 0
    assert "values  0 to 59; the model sees 255 as 1" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "shards")
    assert main(["data", "show", "shards/*.tar"]) == 2
    assert "there is no file shards/*.tar" in capsys.readouterr().err

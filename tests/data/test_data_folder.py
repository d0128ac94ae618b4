import numpy as np
import pytest
from PIL import Image

from elboroom.data import TEST, TRAIN, VALIDATION, cache_dir, load_data
from elboroom.errors import UsageError


def paint(path, shade=0, size=(6, 5)):
    """A flat image of a shade (a number: grey; three: colour); size is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(shade, int) else "RGB", size, shade).save(path)


def shades(data):
    return data.x.reshape(len(data), -1)[:, 0].tolist()


def test_flat_folder_in_order_of_names(tmp_path):
    for i, name in enumerate(["c.png", "a.PNG", "b.bmp"]):
        paint(tmp_path / name, 10 * i)
    paint(tmp_path / ".hidden.png", 99)
    (tmp_path / "notes.md").write_text("no image")
    data = load_data(tmp_path)
    assert shades(data) == [10, 20, 0]
    assert data.shape == (5, 6, 1)
    assert (data.scale, data.labels, data.skipped, data.published_split) == (255.0, None, (), False)
    assert data.name == tmp_path.name
    assert data.origin == "a folder of images"


def test_size_and_channels(tmp_path):
    paint(tmp_path / "a.png", 10, (6, 5))
    paint(tmp_path / "b.png", (255, 0, 0), (7, 7))
    assert load_data(tmp_path).shape == (64, 64, 3)
    data = load_data(tmp_path, size=(4, 3), channels=1)
    assert data.shape == (4, 3, 1)
    assert shades(data) == [10, 76]
    assert load_data(tmp_path, size=8).shape == (8, 8, 3)
    paint(tmp_path.with_name("large") / "a.png", 10, (513, 20))
    assert load_data(tmp_path.with_name("large")).shape == (64, 64, 1)
    assert load_data(tmp_path.with_name("large"), size=(20, 513)).shape == (20, 513, 1)
    with pytest.raises(UsageError, match=r"size is 0"):
        load_data(tmp_path, size=0)


def test_sub_folders_are_labels(tmp_path):
    paint(tmp_path / "people" / "x.png", 1)
    paint(tmp_path / "dogs" / "deep" / "deeper" / "y.png", 2)
    paint(tmp_path / "dogs" / "z.png", 3)
    paint(tmp_path / ".git" / "w.png", 4)
    data = load_data(tmp_path)
    assert data.label_names == ("dogs", "people")
    assert list(zip(shades(data), data.labels.tolist(), strict=True)) == [(2, 0), (3, 0), (1, 1)]


def as_run(folder):
    """The files that tell a run folder, and one of its figures."""
    paint(folder / "figures" / "loss.png", 99)
    for name in ("config.json", "history.jsonl"):
        (folder / name).write_text("{}")


def test_figures_of_runs_are_no_data(tmp_path):
    """A training in the folder of the photos leaves a run there; the next one must not learn its figures."""
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "b.png", 2)
    as_run(tmp_path / "runs" / "one")
    data = load_data(tmp_path)
    assert (shades(data), data.labels) == ([1, 2], None)
    assert [skipped.path for skipped in data.skipped] == [str(tmp_path / "runs" / "one")]
    with pytest.raises(UsageError, match="is a run or a comparison"):
        load_data(tmp_path, strict=True)


def test_a_folder_of_runs_and_a_run_are_refused_as_data(tmp_path):
    as_run(tmp_path / "runs" / "one")
    as_run(tmp_path / "runs" / "two")
    with pytest.raises(UsageError, match=r"but 2 folders that elboroom wrote; name one run, such as .*one"):
        load_data(tmp_path / "runs")
    with pytest.raises(UsageError, match="its pictures are no data"):
        load_data(tmp_path / "runs" / "one")


def test_images_beside_labels_are_skipped(tmp_path):
    paint(tmp_path / "cats" / "a.png", 1)
    paint(tmp_path / "cover.png", 2)
    data = load_data(tmp_path)
    assert shades(data) == [1]
    assert data.skipped[0].reason == "lies beside the label folders, so it has no label"
    with pytest.raises(UsageError, match=r"cover.png: lies beside the label folders"):
        load_data(tmp_path, strict=True)


def test_train_and_test_folders_are_the_split(tmp_path):
    for i, place in enumerate(["train/a", "train/b", "Test/b", "val/a", "train/a"]):
        paint(tmp_path / place / f"{i}.png", 10 * i)
    data = load_data(tmp_path)
    assert data.published_split
    assert data.label_names == ("a", "b")
    rows = sorted(zip(shades(data), data.split.tolist(), data.labels.tolist(), strict=True))
    assert rows == [(0, TRAIN, 0), (10, TRAIN, 1), (20, TEST, 1), (30, VALIDATION, 0), (40, TRAIN, 0)]


def test_split_without_labels_and_lone_train(tmp_path):
    for i in range(20):
        paint(tmp_path / "one" / "train" / f"{i:02}.png", i)
    paint(tmp_path / "two" / "train" / "a.png", 1)
    paint(tmp_path / "two" / "test" / "b.png", 2)
    lone = load_data(tmp_path / "one")
    assert (len(lone.indices("test")), lone.published_split, lone.labels) == (2, False, None)
    both = load_data(tmp_path / "two")
    assert (both.published_split, both.labels, both.split.tolist()) == (True, None, [TEST, TRAIN])
    other = load_data(tmp_path)  # 'one' and 'two' are labels here
    assert other.label_names == ("one", "two")


@pytest.mark.parametrize("cached", [True, False])
def test_corrupt_images_are_skipped_and_rows_stay_aligned(tmp_path, monkeypatch, cached):
    if not cached:
        blocker = tmp_path / "blocker"
        blocker.touch()
        monkeypatch.setenv("ELBOROOM_CACHE", str(blocker / "cache"))
    root = tmp_path / "images"
    for i in range(30):
        paint(root / ("even" if i % 2 == 0 else "odd") / f"{i:02}.png", 3 * i)
    (root / "even" / "04.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    noise = np.random.default_rng(0).integers(0, 256, (5, 6), dtype=np.uint8)
    Image.fromarray(noise).save(root / "odd" / "07.png")
    whole = (root / "odd" / "07.png").read_bytes()
    (root / "odd" / "07.png").write_bytes(whole[:50])  # its header is whole, its pixels are not
    (root / "odd" / "09.png").write_bytes(b"")
    (root / "odd" / "gone.png").symlink_to(root / "nowhere.png")
    for _ in range(2):
        data = load_data(root)
        left = [i for i in (*range(0, 30, 2), *range(1, 30, 2)) if i not in (4, 7, 9)]
        assert shades(data) == [3 * i for i in left]
        assert data.labels.tolist() == [i % 2 for i in left]
        assert sorted(skip.path.rsplit("/", 1)[1] for skip in data.skipped) == [
            "04.png",
            "07.png",
            "09.png",
            "gone.png",
        ]
        assert isinstance(data.x, np.memmap) == cached
    with pytest.raises(UsageError, match=r"\(and 3 more\); correct or remove it"):
        load_data(root, strict=True)


def test_folders_without_usable_images(tmp_path):
    with pytest.raises(UsageError, match="contains no images"):
        load_data(tmp_path)
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UsageError, match=r"none of 1 images can be used; the first, a.png, is not an image"):
        load_data(tmp_path)
    (tmp_path / "idx").mkdir()
    (tmp_path / "idx" / "train-images-idx3-ubyte").touch()
    with pytest.raises(UsageError, match="set ELBOROOM_DATA to this folder"):
        load_data(tmp_path / "idx")


def test_links_in_a_circle_end(tmp_path):
    paint(tmp_path / "a" / "x.png", 5)
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert shades(load_data(tmp_path)) == [5]


def test_cache_follows_the_files(tmp_path):
    root = tmp_path / "images"
    for i in range(3):
        paint(root / f"{i}.png", i)
    first = load_data(root)
    assert load_data(root).origin == "cache"
    assert load_data(root, size=4).origin == "a folder of images"
    assert len(list(cache_dir().iterdir())) == 2
    paint(root / "0.png", 200)
    changed = load_data(root)
    assert shades(changed) == [200, 1, 2]
    assert shades(first) == [0, 1, 2]
    assert len(list(cache_dir().iterdir())) == 2  # the entry of the folder as it was is gone
    (root / "2.png").unlink()
    assert shades(load_data(root)) == [200, 1]

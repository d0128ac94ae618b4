import numpy as np
import pytest

from elboroom.data import Dataset, load_data
from elboroom.errors import UsageError
from elboroom.figures.grids import images_of
from elboroom.models.vae import VAE


def test_array_of_grey_images_gains_a_channel_and_scale_255():
    x = np.arange(20 * 6, dtype=np.uint8).reshape(20, 2, 3)
    data = load_data(x)
    assert (data.shape, data.scale, data.is_image, data.published_split) == ((2, 3, 1), 255.0, True, False)
    assert data.x[7, 1, 2, 0] == 47
    assert [len(data.indices(part)) for part in ("train", "test")] == [18, 2]


def test_scales_by_type():
    binary = np.tile(np.array([0, 1], np.uint8), (4, 2, 1))
    assert load_data(binary).scale == 1.0
    assert load_data(binary.astype(bool)).x.dtype == np.uint8
    assert load_data(binary.astype(np.int64) * 2).scale == 255.0
    assert load_data(np.full((4, 784), 200, np.uint8)).scale == 255.0
    table = load_data(np.array([[1, -5], [70000, 2]]))  # whole numbers in rows are measurements
    assert (table.scale, table.x.dtype) == (1.0, np.float32)
    assert table.x.tolist() == [[1.0, -5.0], [70000.0, 2.0]]
    assert load_data(np.full((4, 2), 0.5)).values(np.array([0])).tolist() == [[0.5, 0.5]]


def test_images_of_many_bands():
    x = np.arange(5 * 8 * 9 * 6, dtype=np.uint8).reshape(5, 8, 9, 6)
    data = load_data(x)
    assert data.shape == (8, 9, 6)
    np.testing.assert_array_equal(data.values(np.array([3]))[0], x[3].astype(np.float32) / 255)
    assert "6 bands, of which pictures show the first three" in data.describe()
    vae = VAE.build(shape=data.shape, hidden=[4])
    shown = images_of(vae, data.values(np.arange(5)))
    np.testing.assert_array_equal(shown, (x[..., :3] / 255).astype(np.float32))
    with pytest.raises(UsageError, match=r"channels of an image come last, so give \(8, 9, 6\)"):
        VAE.build(shape=(6, 8, 9), hidden=[4])


def test_arrays_that_cannot_be_used():
    with pytest.raises(UsageError, match="9 channels; the last axis must be 1 "):
        load_data(np.zeros((5, 8, 8, 9), np.uint8))
    with pytest.raises(UsageError, match=r"6 channels first, .*numpy\.moveaxis\(x, 1, -1\)"):
        load_data(np.zeros((5, 6, 8, 9), np.uint8))
    with pytest.raises(UsageError, match=r"3 channels first, .*numpy\.moveaxis\(x, 1, -1\)"):
        load_data(np.zeros((5, 3, 8, 8), np.uint8))
    with pytest.raises(UsageError, match="int32 values run from 0 to 300"):
        load_data(np.array([[[0, 300]]], dtype=np.int32))
    with pytest.raises(UsageError, match="16,777,216"):
        load_data(np.array([[1 << 25]]))
    with pytest.raises(UsageError, match="Python objects"):
        load_data(np.array([["a", None]], dtype=object))
    with pytest.raises(UsageError, match="data has type list"):
        load_data([[1.0]])
    with pytest.raises(UsageError, match=r"shape \(0, 4\)"):
        load_data(np.zeros((0, 4)))


def test_data_set_passes_through_and_binary_images_are_not_resized():
    data = load_data(np.zeros((4, 5, 6), np.uint8))
    assert load_data(data) is data
    assert isinstance(data, Dataset)
    assert load_data(data, size=(5, 6), channels=1) is data
    with pytest.raises(UsageError, match=r"array is 5×6×1 and 5×5×1 was asked for"):
        load_data(data, size=5)
    with pytest.raises(UsageError, match=r"array is 5×6×1 and 5×6×3 was asked for"):
        load_data(data, channels=3)
    with pytest.raises(UsageError, match=r"rows of numbers"):
        load_data(np.zeros((4, 5), np.float32), size=5)
    with pytest.raises(UsageError, match=r"channels is 2; it must be 1 \(grey\) or 3"):
        load_data(data, channels=2)
    for size in (0, -1, 2.5, (1, 2, 3), "8"):
        with pytest.raises(UsageError, match="whole number of pixels"):
            load_data(data, size=size)


def test_pixels_are_cropped_to_the_centre_resized_and_turned_grey():
    wide = np.zeros((3, 4, 8, 3), np.uint8)
    wide[:, :, 2:6] = [200, 100, 50]  # the middle square; the edges are cut off
    wide[:, :, 0] = 255
    square = load_data(wide, size=4)
    assert square.shape == (4, 4, 3)
    assert (square.x == [200, 100, 50]).all()
    grey = load_data(wide, size=2, channels=1)
    # Luma of ITU-R 601: 0.299, 0.587, 0.114.
    assert (grey.x == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
    assert load_data(wide, size=(4, 8)).x is not None


def test_npy_is_memory_mapped(tmp_path):
    x = np.arange(60, dtype=np.float64).reshape(20, 3)
    np.save(tmp_path / "a.npy", x.astype(np.uint8).reshape(20, 3, 1))
    data = load_data(tmp_path / "a.npy")
    assert isinstance(data.x, np.memmap)
    assert data.x[19, 2, 0, 0] == 59
    np.save(tmp_path / "b.npy", x)
    assert load_data(str(tmp_path / "b.npy")).x[19].tolist() == [57.0, 58.0, 59.0]


def test_npz_with_everything(tmp_path):
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    np.savez(
        tmp_path / "all.npz",
        images=images,
        labels=np.array([0, 1, 0, 1, 0, 1], np.uint8),
        label_names=np.array([b"person", b"dog"]),
        split=np.array([0, 0, 0, 0, 1, 2]),
        age=np.array([None]),  # pickled, and never read
    )
    data = load_data(tmp_path / "all.npz")
    assert data.label_names == ("person", "dog")
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert [data.indices(part).tolist() for part in ("train", "test", "validation")] == [
        [0, 1, 2, 3],
        [4],
        [5],
    ]
    assert data.published_split
    assert data.x[5, 1, 1, 0] == 23


def test_npz_rows_with_words_for_labels(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.eye(3), labels=np.array(["dog", "cat", "dog"]))
    data = load_data(tmp_path / "x.npz")
    assert (data.labels.tolist(), data.label_names) == ([1, 0, 1], ("cat", "dog"))
    assert not data.published_split
    assert data.x.dtype == np.float32


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"pictures": np.zeros((2, 3))}, r"neither 'images' nor 'x' \(found: pictures\)"),
        ({"images": np.zeros((2, 3, 3)), "x": np.zeros((2, 3))}, r"both 'images' and 'x'"),
        ({"images": np.zeros((2, 3))}, r"'images' has shape \(2, 3\)"),
        (
            {"x": np.array([["a", 1]], dtype=object)},
            r"entry 'x': contains arrays of Python objects.*never unpickled",
        ),
        (
            {"x": np.zeros((2, 3)), "labels": np.array(["a", 1], dtype=object)},
            r"entry 'labels': contains arrays of",
        ),
        (
            {"x": np.zeros((2, 3)), "labels": np.array([0.5, 1])},
            "of 2 examples is 0.5, which is not a whole",
        ),
        ({"x": np.zeros((2, 3)), "labels": np.array([0])}, r"labels have shape \(1,\)"),
        ({"x": np.array([[1.0], [np.nan], [np.nan]])}, r"2 value\(s\) in 2 row\(s\).*first in row 1"),
        ({"x": np.zeros((2, 3)), "split": np.array([0, 7])}, "split contains"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path, entries, message):
    np.savez(tmp_path / "bad.npz", **entries)
    with pytest.raises(UsageError, match=message) as caught:
        load_data(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickles_and_damaged_files_are_refused(tmp_path):
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"object.npy: contains arrays of Python objects"):
        load_data(tmp_path / "object.npy")
    (tmp_path / "pickle.npz").write_bytes(b"\x80\x04]\x94.")
    with pytest.raises(UsageError, match=r"pickle.npz: is not a .npz file"):
        load_data(tmp_path / "pickle.npz")
    (tmp_path / "empty.npy").touch()
    with pytest.raises(UsageError, match=r"empty.npy: is not a .npy file \(is empty\)"):
        load_data(tmp_path / "empty.npy")
    np.save(tmp_path / "whole.npy", np.zeros((10, 10)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:300])
    with pytest.raises(UsageError, match=r"cut.npy: is damaged"):
        load_data(tmp_path / "cut.npy")
    np.savez_compressed(tmp_path / "whole.npz", x=np.random.default_rng(0).normal(size=(50, 10)))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:1000])
    with pytest.raises(UsageError, match=r"cut.npz"):
        load_data(tmp_path / "cut.npz")
    middle = bytearray(whole)
    middle[500:600] = bytes(100)
    (tmp_path / "rotten.npz").write_bytes(bytes(middle))
    with pytest.raises(UsageError, match=r"rotten.npz: entry 'x': is damaged"):
        load_data(tmp_path / "rotten.npz")
    (tmp_path / "whole.npy").rename(tmp_path / "misnamed.npz")
    with pytest.raises(UsageError, match=r"misnamed.npz: is a .npy file; rename it to end in .npy"):
        load_data(tmp_path / "misnamed.npz")


def test_unknown_sources():
    with pytest.raises(
        UsageError, match=r"no data set or path 'minst': it is neither a named set .*; did you mean 'mnist'\?"
    ):
        load_data("minst")
    for odd in ("", "a\0b", "x" * 5000, "~nobody-of-this-name/data"):
        with pytest.raises(UsageError, match="no data set or path"):
            load_data(odd)


def test_unsupported_suffix_names_the_allowed(tmp_path):
    (tmp_path / "train.gz").touch()
    with pytest.raises(UsageError, match=r"ending in '.gz' cannot be loaded; give a .npy array, an .npz"):
        load_data(tmp_path / "train.gz")


def test_any_damage_to_an_array_file_is_a_usage_error(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", np.arange(48, dtype=np.uint8).reshape(3, 4, 4))
    np.savez_compressed(tmp_path / "a.npz", x=np.ones((4, 4)), labels=np.array(["u", "v"] * 2))
    refusals = []
    for name in ("a.npy", "a.npz"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(300):
            bad = bytearray(whole)
            for at in rng.integers(0, min(len(bad), 200), 3):
                bad[at] = rng.integers(256)
            (tmp_path / f"bad-{name}").write_bytes(bad)
            try:
                load_data(tmp_path / f"bad-{name}")
            except UsageError as error:
                refusals.append(str(error))
    assert len(refusals) > 400
    assert not any("\n" in refusal for refusal in refusals)

import numpy as np
import pytest

from elboroom.data import TEST, TRAIN, VALIDATION, Dataset, Skipped, rows
from elboroom.data import dataset as module
from elboroom.data.dataset import draw_split
from elboroom.errors import UsageError


def make(n=10, **changes):
    x = np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2, 1)
    split = np.zeros(n, np.uint8)
    split[-2:] = TEST
    return Dataset(**({"name": "toy", "x": x, "split": split, "scale": 255.0} | changes))


def test_values_are_x_over_scale_in_float32():
    data = make(x=np.full((10, 2, 2, 1), 51, np.uint8))
    values = data.values(np.array([3, 4]))
    assert values.dtype == np.float32
    assert values.shape == (2, 2, 2, 1)
    assert (values == np.float32(51) / np.float32(255)).all()
    assert (make(x=np.full((10, 2, 2, 1), 64, np.uint8), scale=256).values(np.arange(10)) == 0.25).all()


def test_indices_of_every_part():
    data = make()
    assert data.indices("train").tolist() == list(range(8))
    assert data.indices("test").tolist() == [8, 9]
    assert data.indices("validation").tolist() == []
    assert data.indices("all").tolist() == list(range(10))
    assert {data.indices(part).dtype for part in ("train", "validation", "all")} == {np.dtype(np.int64)}
    with pytest.raises(UsageError, match=r"no part 'trian'.*train, test, validation, all"):
        data.indices("trian")


def test_wide_floats_narrow_and_integers_never_wrap():
    assert make(x=np.ones((10, 3))).x.dtype == np.float32
    assert make(x=np.full((10, 3), 255, np.int64)).x.dtype == np.uint8
    with pytest.raises(UsageError, match=r"int64 values run from 0 to 256"):
        make(x=np.array([[0], [256]] * 5))
    with pytest.raises(UsageError, match=r"int16 values run from -1 to 0"):
        make(x=np.array([[0], [-1]] * 5, dtype=np.int16))
    with pytest.raises(UsageError, match="complex128"):
        make(x=np.ones((10, 3), dtype=complex))
    with pytest.raises(UsageError, match="object"):
        make(x=np.empty((10, 3), dtype=object))


def test_non_finite_values_are_counted_and_the_first_row_named(monkeypatch):
    x = np.zeros((10, 3), np.float32)
    x[4, 1], x[4, 2], x[7, 0] = np.nan, np.inf, -np.inf
    monkeypatch.setattr(rows, "_CHUNK_BYTES", 24)  # two rows a chunk, so that counting crosses chunks
    with pytest.raises(UsageError, match=r"3 value\(s\) in 2 row\(s\).*first in row 4"):
        make(x=x)
    with pytest.raises(UsageError, match=r"1 value\(s\) in 1 row\(s\).*first in row 0"):
        make(x=np.array([[1e300]] + [[0.0]] * 9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((0, 2), np.float32), "split": np.zeros(0)}, r"shape \(0, 2\)"),
        ({"x": np.zeros(10, np.float32)}, r"shape \(10,\)"),
        ({"x": np.zeros((10, 2, 2), np.uint8)}, r"shape \(10, 2, 2\)"),
        ({"split": np.zeros(9)}, r"split has shape \(9,\).*\(10,\)"),
        ({"split": np.full(10, 3)}, r"split contains .*3.*0 \(train\), 1 \(test\) or 2 \(validation\)"),
        ({"split": np.ones(10)}, "no example is for training"),
        ({"labels": np.zeros(9, np.int64)}, r"labels have shape \(9,\)"),
        ({"labels": np.full(10, np.nan)}, "the label of 10 of 10 examples is nan, first in row 0"),
        (
            {"labels": np.full(10, 2), "label_names": ("a", "b")},
            r"run from 2 to 2 and there are 2 label names",
        ),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": float("nan")}, "scale is nan"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_fingerprint_follows_content_shape_type_and_split():
    data = make()
    assert data.fingerprint() == make().fingerprint()
    assert len(data.fingerprint()) == 64
    x = data.x.copy()
    x[5, 1, 1, 0] ^= 1
    split = data.split.copy()
    split[0] = TEST
    others = [
        make(x=x),
        make(split=split),
        make(x=data.x.reshape(10, 4, 1, 1)),
        make(x=data.x.reshape(10, 4).astype(np.float32)),
    ]
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 5


def test_fingerprint_of_large_data_reads_evenly_spaced_rows(monkeypatch):
    monkeypatch.setattr(module, "_FINGERPRINT_BYTES", 16)  # four rows of four bytes: 0, 33, 66, 99
    n = 100
    x = np.zeros((n, 2, 2, 1), np.uint8)
    base = make(n, x=x).fingerprint()
    for row, seen in ((0, True), (33, True), (99, True), (50, False)):
        changed = x.copy()
        changed[row, 0, 0, 0] = 1
        assert (make(n, x=changed).fingerprint() != base) == seen


def test_validation_is_an_exact_count_moved_from_training_only():
    data = make(103)
    moved = data.with_validation(0.25, seed=3)
    assert [len(moved.indices(part)) for part in ("train", "validation", "test")] == [76, 25, 2]
    assert moved.indices("test").tolist() == data.indices("test").tolist()
    assert sorted([*moved.indices("train"), *moved.indices("validation")]) == data.indices("train").tolist()
    assert (moved.split == data.with_validation(0.25, seed=3).split).all()
    assert (moved.split != data.with_validation(0.25, seed=4).split).any()
    assert (data.split != VALIDATION).all()
    assert data.with_validation(0) is data
    assert len(data.with_validation(1e-6).indices("validation")) == 1


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan")])
def test_validation_fraction_out_of_range(fraction):
    with pytest.raises(UsageError, match=r"at least 0 and below 1"):
        make().with_validation(fraction)


def test_validation_leaves_something_to_train_on():
    with pytest.raises(UsageError, match="takes all 8 training examples"):
        make().with_validation(0.99)


def test_drawn_split_is_a_tenth_and_always_alike():
    assert np.flatnonzero(draw_split(20)).tolist() == np.flatnonzero(draw_split(20)).tolist()
    assert [int(draw_split(n).sum()) for n in (1, 2, 5, 15, 100, 1797)] == [0, 1, 1, 2, 10, 180]
    # Written down once, so that a new numpy or a refactoring cannot silently change everyone's test set.
    assert np.flatnonzero(draw_split(30) == TEST).tolist() == [2, 11, 26]
    assert set(draw_split(30).tolist()) == {TRAIN, TEST}


def test_describe():
    data = make(
        labels=np.arange(10) % 2,
        label_names=("a", "b"),
        skipped=(Skipped("x.png", "is empty"),),
        origin="cache",
    ).with_validation(0.25)
    assert (
        data.describe() == "toy: 6 train, 2 validation, 2 test, 2×2×1 uint8, 2 labels, 1 skipped (from cache)"
    )
    assert make(labels=np.zeros(10, int)).describe() == "toy: 8 train, 2 test, 2×2×1 uint8, 1 label"

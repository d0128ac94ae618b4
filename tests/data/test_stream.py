"""Rows read from files, batches read ahead, and the order that spares disks."""

import gc
import threading
import time

import numpy as np
import psutil
import pytest
import torch

from elboroom.data import dataset, memory, rows
from elboroom.data.rows import Joined, RowReader, chunks, extent, take
from elboroom.data.stream import chunked_permutation, stream_rows
from elboroom.errors import FailureError

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def joined(tmp_path, cuts=(7, 8, 30)):
    paths = []
    for i, part in enumerate(np.split(IMAGES, cuts)):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], part)
    return Joined([np.load(path, mmap_mode="r") for path in paths])


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("elboroom-reader")]


def through_stream(x, order, **options):
    return [batch.numpy() for batch in stream_rows(RowReader(x), order, CPU, **options)]


# What is read is what numpy indexes.


@pytest.mark.parametrize(
    "key", [slice(3, 40, 2), slice(None), slice(0, 0), [49, 0, 0, -1], np.arange(50) % 3 == 0]
)
def test_take_is_indexing(mapped, tmp_path, key):
    for x in (mapped, joined(tmp_path), IMAGES):
        found = take(x, np.array(key) if isinstance(key, list) else key)
        np.testing.assert_array_equal(found, IMAGES[key])
    assert RowReader(mapped).from_file
    assert not RowReader(IMAGES).from_file


def test_views_of_a_map_are_read_from_their_own_place(mapped):
    # numpy gives a view the offset of the map that it is cut from.
    for view in (mapped[10:20], mapped[10:20][3:], mapped.reshape(50, 48), np.asarray(mapped)[5:, None]):
        assert RowReader(view).from_file
        np.testing.assert_array_equal(take(view, np.array([1, 0])), np.asarray(view)[[1, 0]])
    for view in (mapped[::2], mapped[..., :1], mapped[::-1]):  # not one after the other in the file
        assert not RowReader(view).from_file
        np.testing.assert_array_equal(take(view, np.array([2, 0])), np.asarray(view)[[2, 0]])


def test_floats_and_column_order(tmp_path):
    x = RNG.normal(size=(9, 5)).astype(np.float32)
    np.save(tmp_path / "c.npy", x)
    np.save(tmp_path / "f.npy", np.asfortranarray(x))
    for name, from_file in (("c", True), ("f", False)):
        held = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        assert RowReader(held).from_file is from_file
        np.testing.assert_array_equal(take(held, np.array([8, 1])), x[[8, 1]])


def test_joined_is_concatenate(tmp_path):
    x = joined(tmp_path)
    assert (x.shape, x.dtype, x.ndim, x.nbytes, len(x)) == (IMAGES.shape, np.uint8, 4, IMAGES.nbytes, 50)
    np.testing.assert_array_equal(np.asarray(x), IMAGES)
    np.testing.assert_array_equal(np.stack(list(x)), IMAGES)
    np.testing.assert_array_equal(x[-1], IMAGES[-1])
    in_memory = Joined(np.split(IMAGES, [20]))
    np.testing.assert_array_equal(take(in_memory, np.array([49, 19, 20])), IMAGES[[49, 19, 20]])
    with pytest.raises(IndexError):
        x[50]


def test_neighbours_come_in_one_read(mapped, monkeypatch):
    calls = []
    real = rows.os.preadv
    monkeypatch.setattr(
        rows.os, "preadv", lambda fd, views, at: calls.append(len(views)) or real(fd, views, at)
    )
    monkeypatch.setattr(rows, "_MOST_BUFFERS", 4)
    order = np.array([11, 30, 10, 12, 12, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(take(mapped, order), IMAGES[order])
    # 0-3 (four buffers at most), 4, 10-12, 12 again, 30.
    assert calls == [4, 1, 3, 1, 1]


def test_a_read_that_ends_early_is_taken_up_again(mapped, monkeypatch):
    real = rows.os.preadv
    monkeypatch.setattr(rows.os, "preadv", lambda fd, views, at: real(fd, [views[0][:5]], at))
    np.testing.assert_array_equal(take(mapped, np.array([3, 4, 9])), IMAGES[[3, 4, 9]])


def test_a_replaced_or_removed_file_is_read_through_its_map(mapped, tmp_path):
    reader, found = RowReader(mapped), np.empty_like(IMAGES[:2])
    np.save(tmp_path / "y.npy", 255 - IMAGES)
    (tmp_path / "y.npy").rename(tmp_path / "x.npy")
    reader.read([np.array([4, 2])], [found])
    np.testing.assert_array_equal(found, IMAGES[[4, 2]])
    (tmp_path / "x.npy").unlink()
    reader.read([np.array([5, 3])], [found])
    np.testing.assert_array_equal(found, IMAGES[[5, 3]])
    np.testing.assert_array_equal(take(mapped, np.array([7])), IMAGES[[7]])


def test_rows_out_of_range_are_refused(mapped):
    for wrong in (-1, 50):
        with pytest.raises(IndexError, match="of 50"):
            RowReader(mapped).read([np.array([wrong])], [np.empty_like(IMAGES[:1])])


def test_chunks_and_extent(mapped, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_CHUNK_BYTES", 7 * 48)
    for x in (mapped, joined(tmp_path), IMAGES):
        parts = list(chunks(x))
        assert [len(part) for part in parts] == [7] * 7 + [1]
        np.testing.assert_array_equal(np.concatenate(parts), IMAGES)
        assert extent(x) == (IMAGES.min(), IMAGES.max())
    assert np.isnan(extent(np.array([[0.0], [np.nan], [1.0]]))).all()
    assert extent(np.array([[2**60 + 1], [-5]])) == (-5, 2**60 + 1)  # not through floats


def test_extent_of_a_map_is_found_once_and_forgotten_with_it(mapped, monkeypatch):
    first = extent(mapped)
    monkeypatch.setattr(rows, "chunks", lambda _: pytest.fail("read again"))
    assert extent(mapped) == first
    key = id(mapped)
    assert key in rows._extents
    rows._extents[key][0].__callback__(None)
    assert key not in rows._extents


# Batches read ahead.


@pytest.mark.parametrize("block_bytes", [1, 48 * 7, 1 << 20])
def test_stream_is_indexing(mapped, tmp_path, block_bytes):
    order = [*np.array_split(np.random.default_rng(1).permutation(50), 9), np.array([3, 3])]
    for x in (mapped, joined(tmp_path), IMAGES):
        batches = through_stream(x, order, block_bytes=block_bytes)
        assert len(batches) == len(order)
        for batch, chosen in zip(batches, order, strict=True):  # kept to the end, and still what they were
            np.testing.assert_array_equal(batch, IMAGES[chosen])
    assert readers() == []
    assert through_stream(mapped, []) == []


def test_memory_of_batches_is_used_again_once_they_are_dropped(mapped):
    order = np.arange(50).reshape(25, 2)
    dropped = {batch.data_ptr() for batch in stream_rows(RowReader(mapped), order, CPU, block_bytes=1)}
    assert (
        len(dropped) <= 6
    )  # one in use, three ahead, and one each that a reader takes before another is free
    kept = [batch[1:] for batch in stream_rows(RowReader(mapped), order, CPU, block_bytes=1)]
    assert len({batch.data_ptr() for batch in kept}) == 25
    gc.collect()
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in kept]), IMAGES[1::2])


def test_little_is_read_ahead(mapped):
    reader = RowReader(mapped)
    read = []
    real = reader.read
    reader.read = lambda batches, buffers: read.append(len(batches)) or real(batches, buffers)
    batches = stream_rows(reader, np.arange(50).reshape(50, 1), CPU, block_bytes=1)
    for _ in range(3):
        next(batches)
    time.sleep(0.05)  # time to read on, if it would
    assert len(read) <= 3 + 3  # three used, three ahead
    batches.close()


def test_threads_end_when_the_consumer_stops(mapped):
    order = np.arange(50).reshape(50, 1)
    batches = stream_rows(RowReader(mapped), order, CPU, block_bytes=1)
    next(batches)
    assert readers()
    batches.close()
    assert readers() == []

    def fails():
        for _ in stream_rows(RowReader(mapped), order, CPU, block_bytes=1):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    gc.collect()
    assert readers() == []

    abandoned = stream_rows(RowReader(mapped), order, CPU, block_bytes=1)
    next(abandoned)
    del abandoned
    gc.collect()
    assert readers() == []


def test_a_file_cut_short_meanwhile_is_one_line(mapped, tmp_path):
    batches = stream_rows(RowReader(mapped), np.arange(50).reshape(50, 1), CPU, block_bytes=1)
    next(batches)
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(128 + 48 * 20)
    with pytest.raises(FailureError, match=r"x.npy: has become shorter while it was read") as caught:
        list(batches)
    assert "\n" not in str(caught.value)
    assert readers() == []


def test_a_failing_disk_is_one_line(mapped, monkeypatch):
    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(rows.os, "preadv", fails)
    with pytest.raises(FailureError, match=r"x.npy: cannot be read \(Input/output error\)"):
        through_stream(mapped, [np.array([1])])


def test_reading_a_large_file_holds_little(tmp_path):
    # 400 MB with holes, so no disk is used; a walk through the map itself would make all of it resident.
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(100_000, 4096))
    del x
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    before = psutil.Process().memory_info().rss
    assert extent(x) == (0, 0)
    dataset.Dataset("holes", x, dataset.draw_split(len(x))).fingerprint()
    order = np.random.default_rng(0).permutation(100_000)[:50_000].reshape(-1, 100)
    for _ in stream_rows(RowReader(x), order, CPU):
        pass
    # Four blocks of 8 MB, a chunk of 16 MB, the 4 MB of a fingerprint's part, and what malloc keeps.
    assert psutil.Process().memory_info().rss - before < 100e6


# The order.


@pytest.mark.parametrize(
    ("n", "chunk", "window"), [(1000, 1, 50), (1000, 8, 64), (1003, 10, 95), (7, 10, 5), (50, 7, 3)]
)
def test_chunked_permutation_is_one(n, chunk, window):
    indices = np.arange(n) * 3 + 1
    order = chunked_permutation(indices, chunk, window, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(order), indices)
    assert n == 7 or (order != indices).any()


def test_a_chunk_of_one_is_a_full_shuffle():
    indices = np.arange(100)
    expected = np.random.default_rng(5).permutation(indices)
    np.testing.assert_array_equal(chunked_permutation(indices, 1, 10, np.random.default_rng(5)), expected)


def test_chunks_stay_within_a_window_and_begin_anywhere():
    n, chunk, window = 1000, 10, 100
    begins = set()
    for seed in range(30):
        order = chunked_permutation(np.arange(n), chunk, window, np.random.default_rng(seed))
        place = np.argsort(order)
        found = []
        for begin in range(chunk):
            whole = np.roll(place, -begin)[: n // chunk * chunk].reshape(-1, chunk)
            if (whole // window == whole[:, :1] // window).all():  # 1000 rows are ten whole windows
                found.append(begin)
        assert len(found) == 1
        begins.add(found[0])
    assert len(begins) > 5


def test_rows_are_spread_within_their_window():
    # Over many draws each row is anywhere with the same chance: mean place 499.5, with a standard error of
    # 1000 / sqrt(12 · 400) = 14.4; six of those on the worst of 1000 rows.
    places = [
        np.argsort(chunked_permutation(np.arange(1000), 10, 100, np.random.default_rng(seed)))
        for seed in range(400)
    ]
    assert np.abs(np.mean(places, axis=0) - 499.5).max() < 6 * 14.4


# Memory.


def test_fits_takes_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    assert memory.fits(500)
    assert not memory.fits(501, CPU)


def test_a_containers_limit_counts(tmp_path):
    def limit(folder, most, used, cached):
        folder.mkdir(exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")

    assert memory._left_by_limits(tmp_path, tmp_path / "gone") == 1 << 62
    limit(tmp_path, 1000, 400, 100)
    limit(tmp_path / "own", "max", 300, 0)
    assert memory._left_by_limits(tmp_path, tmp_path / "own") == 700
    limit(tmp_path / "own", 300, 290, 20)
    assert memory._left_by_limits(tmp_path, tmp_path / "own") == 30
    assert 0 < memory.available_memory() <= psutil.virtual_memory().total

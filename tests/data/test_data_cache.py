import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from elboroom.data import Dataset, Skipped, cache_dir
from elboroom.data import cache as module
from elboroom.data.cache import cached, reserve
from elboroom.errors import FailureError, UsageError


def toy(fill=7, n=20):
    return Dataset(
        "toy",
        np.full((n, 4, 4, 1), fill, np.uint8),
        np.repeat(np.array([0, 1, 2], np.uint8), [n - 3, 2, 1]),
        np.arange(n) % 2,
        ("no", "yes"),
        scale=256.0,
        published_split=True,
        skipped=(Skipped("x.png", "is empty"),),
        origin="the test",
    )


def never(scratch):
    raise AssertionError("built although it is cached")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("ELBOROOM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "elboroom"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "elboroom"


def test_everything_comes_back_and_x_is_mapped(own_cache):
    assert cached("toy", lambda _: toy()).origin == "the test"
    data = cached("toy", never)
    assert isinstance(data.x, np.memmap)
    assert (data.x == 7).all()
    assert data.split.tolist() == toy().split.tolist()
    assert data.labels.tolist() == toy().labels.tolist()
    assert (data.name, data.label_names, data.scale) == ("toy", ("no", "yes"), 256.0)
    assert (data.published_split, data.skipped) == (True, (Skipped("x.png", "is empty"),))
    assert data.origin == "cache"
    assert sorted(f.name for f in (own_cache / "toy").iterdir()) == [
        "labels.npy",
        "meta.json",
        "split.npy",
        "x.npy",
    ]
    assert [entry.name for entry in own_cache.iterdir()] == ["toy"]


def test_scratch_array_is_kept_without_a_copy_and_the_rest_is_not(own_cache):
    def build(scratch):
        (scratch / "downloads").mkdir()
        (scratch / "downloads" / "big.gz").touch()
        x = reserve(scratch / "odd-name.npy", (5, 2, 2, 1))
        x[:] = 3
        return Dataset("toy", x, np.zeros(5))

    cached("toy", build)
    assert sorted(f.name for f in (own_cache / "toy").iterdir()) == ["meta.json", "split.npy", "x.npy"]
    assert (cached("toy", never).x == 3).all()


def damage_length(entry):
    with (entry / "x.npy").open("r+b") as file:
        file.truncate(200)


def damage_a_byte(entry):
    with (entry / "x.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x08")


def damage_labels(entry):
    np.save(entry / "labels.npy", np.zeros(20, np.int64))


def damage_json(entry):
    (entry / "meta.json").write_text('{"version": 1')


def damage_missing(entry):
    (entry / "meta.json").unlink()


def damage_split(entry):
    (entry / "split.npy").write_bytes(b"")


def damage_version(entry):
    meta = json.loads((entry / "meta.json").read_text())
    (entry / "meta.json").write_text(json.dumps(meta | {"version": 0}))


@pytest.mark.parametrize(
    "damage",
    [
        damage_length,
        damage_a_byte,
        damage_labels,
        damage_json,
        damage_missing,
        damage_split,
        damage_version,
    ],
)
def test_damaged_entry_is_rebuilt_with_a_warning(own_cache, caplog, damage):
    cached("toy", lambda _: toy(7))
    damage(own_cache / "toy")
    with caplog.at_level(logging.WARNING, logger="elboroom"):
        rebuilt = cached("toy", lambda _: toy(9))
    assert (rebuilt.x == 9).all()
    assert caplog.text.count("is damaged and will be made again") == 1
    assert (cached("toy", never).x == 9).all()
    assert [entry.name for entry in own_cache.iterdir()] == ["toy"]


def test_file_in_the_place_of_an_entry_gives_way(own_cache):
    (own_cache / "toy").touch()
    cached("toy", lambda _: toy(9))
    assert (cached("toy", never).x == 9).all()


def test_half_written_folder_is_never_an_entry(own_cache):
    def interrupted(scratch):
        np.save(scratch / "x.npy", np.zeros(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("toy", interrupted)
    assert list(own_cache.iterdir()) == []
    left = own_cache / ".partial-killed"  # what a killed process leaves
    left.mkdir(parents=True)
    assert (cached("toy", lambda _: toy()).x == 7).all()
    assert left.exists()  # perhaps still being written
    os.utime(left, (time.time() - 2 * 86400,) * 2)
    cached("other", lambda _: toy())
    assert not left.exists()


def test_killed_while_writing(own_cache):
    program = (
        "import os, signal, sys, numpy as np\n"
        "from elboroom.data.cache import cached\n"
        "def build(scratch):\n"
        "    np.save(scratch / 'x.npy', np.zeros(3))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached('toy', build)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert [entry.name[:9] for entry in own_cache.iterdir()] == [".partial-"]
    assert (cached("toy", lambda _: toy()).x == 7).all()


def test_first_of_two_at_once_wins_and_both_get_their_data(own_cache):
    def slow(scratch):
        cached("toy", lambda _: toy(1))  # another process finishes in the meantime
        return toy(2)

    data = cached("toy", slow)
    assert (data.x == 1).all()
    assert [entry.name for entry in own_cache.iterdir()] == ["toy"]


def test_three_processes_at_once(own_cache):
    program = (
        "import numpy as np, time\n"
        "from elboroom.data import Dataset\n"
        "from elboroom.data.cache import cached\n"
        "def build(scratch):\n"
        "    time.sleep(0.2)\n"
        "    return Dataset('toy', np.full((50, 4, 4, 1), 5, np.uint8), np.zeros(50))\n"
        "print(int(cached('toy', build).x.sum()))\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True) for _ in range(3)
    ]
    assert [run.communicate() for run in runs] == [("4000\n", "")] * 3
    assert [entry.name for entry in own_cache.iterdir()] == ["toy"]


def test_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()  # permission bits do not bind root; a file in the way binds everyone
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING, logger="elboroom"):
        assert (cached("toy", lambda scratch: toy(5 if scratch is None else 6)).x == 5).all()
    assert "working without a cache" in caplog.text
    assert "file/cache" in caplog.text


@pytest.fixture
def small_files():
    """No file may grow beyond 64 kB: to a writer that is what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_full_disk_names_the_path_and_leaves_nothing(own_cache):
    with pytest.raises(
        FailureError, match=r"cannot write the cache in .*: File too large; free some space"
    ) as caught:
        cached("toy", lambda _: toy(n=10000))
    assert str(own_cache) in str(caught.value)
    assert caught.value.exit_code == 1
    assert list(own_cache.iterdir()) == []
    with pytest.raises(FailureError, match=r"no room for 160,000 bytes in .*free some space"):
        cached("toy", lambda scratch: reserve(scratch / "x.npy", (10000, 4, 4, 1)))
    assert list(own_cache.iterdir()) == []


def test_full_disk_at_the_first_step(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "fresh_folder", full)
    with pytest.raises(FailureError, match="No space left on device"):
        cached("toy", lambda _: toy())


def test_errors_of_the_builder_pass_and_leave_nothing(own_cache):
    def bad(scratch):
        (scratch / "half").touch()
        raise UsageError("bad input")

    with pytest.raises(UsageError, match="bad input"):
        cached("toy", bad)
    assert list(Path(own_cache).iterdir()) == []

"""A folder that takes its place whole, as the umask allows; what killed processes leave."""

import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from elboroom.data import cache, load_data
from elboroom.data.dataset import Dataset
from elboroom.data.faces.prepare import prepare_faces
from elboroom.data.new_folder import new_folder
from elboroom.errors import UsageError

WRITER = """
import sys
from pathlib import Path
from elboroom.data.new_folder import new_folder
with new_folder(Path(sys.argv[1])) as scratch:
    (scratch / "x.npy").write_bytes(b"half")
    print(scratch, flush=True)
    sys.stdin.read()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path):
    """A process that is writing tmp_path / "faces"."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "faces"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    scratch = process.stdout.readline().strip()
    yield process, scratch
    process.kill()
    process.communicate()


def test_what_a_killed_process_left_is_removed(writer, tmp_path):
    process, scratch = writer
    with pytest.raises(UsageError, match=r"faces is being written by another process; wait for its end"):
        new_folder(tmp_path / "faces").__enter__()
    with new_folder(tmp_path / "others") as other:
        (other / "x.npy").write_bytes(b"whole")
    assert (tmp_path / "others" / "x.npy").read_bytes() == b"whole"
    assert os.path.isdir(scratch), "the folder of a living process was removed"  # noqa: PTH112
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.path.isdir(scratch)  # noqa: PTH112
    with new_folder(tmp_path / "more"):
        pass
    assert names(tmp_path) == ["more", "others"]


def test_killed_between_the_two_renames(tmp_path):
    """The old folder is set aside, the new one is not in its place yet: the old one comes back."""
    aside = tmp_path / ".faces.0123abcd.new"
    (aside / "old").mkdir(parents=True)
    (aside / "old" / "x.npy").write_bytes(b"old")
    with new_folder(tmp_path / "others"):
        pass
    assert names(tmp_path) == ["faces", "others"]
    assert (tmp_path / "faces" / "x.npy").read_bytes() == b"old"


def test_what_merely_looks_alike_is_left(tmp_path):
    for name in (".faces.new", ".faces.0123abcd", "faces.0123abcd.new", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / ".faces.0123abcd.new").write_text("a file")
    before = names(tmp_path)
    with new_folder(tmp_path / "faces"):
        pass
    assert names(tmp_path) == sorted([*before, "faces"])


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "x.npy").write_bytes(b"old")

    def fail():
        with new_folder(tmp_path / "faces") as scratch:
            (scratch / "x.npy").write_bytes(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "faces" / "x.npy").read_bytes() == b"old"
    assert names(tmp_path) == ["faces"]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("umask", "folder", "file"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600), (0o027, 0o750, 0o640)]
)
def test_permissions_follow_the_umask(photos, tmp_path, umask, folder, file):
    people = photos("people", 2)
    before = os.umask(umask)
    try:
        prepare_faces([people], tmp_path / "faces")
        load_data(people, size=8)  # an entry of the cache
    finally:
        os.umask(before)
    (entry,) = cache.cache_dir().glob("folder-*")
    for place in (tmp_path / "faces", entry):
        assert mode(place) == folder
        assert {mode(path) for path in place.iterdir()} == {file}


def test_a_damaged_entry_is_set_aside(monkeypatch):
    """Two processes that publish at once: the way past a broken entry makes a folder of its own as well."""
    data = Dataset("x", np.zeros((2, 1), np.uint8), np.zeros(2))
    broken = cache.cache_dir() / "key"
    broken.mkdir(parents=True)
    (broken / "meta.json").write_text("{")
    assert len(cache.cached("key", lambda _: data)) == 2
    assert names(cache.cache_dir()) == ["key"]

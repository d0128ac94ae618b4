"""Archives of arrays are weighed before they are unpacked."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from elboroom.data import load_data, members
from elboroom.errors import UsageError


def header(shape, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_an_archive_that_unpacks_to_more_than_memory_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        file.write(header((64, 1 << 20)))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("elboroom.data.memory.available_memory", lambda: 100 << 20)
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"bomb\.npz: its arrays unpack to 0\.1 GB, .* save them as \.npy"):
        load_data(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    monkeypatch.setattr("elboroom.data.memory.available_memory", lambda: 1 << 30)
    assert load_data(path).x.shape == (64, 1 << 20)


def test_members_that_are_not_read_do_not_count(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.ones((20, 3), np.float32), more=np.zeros(1 << 20, np.uint8))
    monkeypatch.setattr("elboroom.data.memory.available_memory", lambda: 1 << 16)
    assert len(load_data(path)) == 20


@pytest.mark.parametrize("shape", [(1 << 40, 1 << 20), (3, 4), (2, 2)])
def test_a_header_must_state_what_the_member_holds(tmp_path, shape):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header(shape) + bytes(6))
    with pytest.raises(UsageError, match=r"a\.npz: entry 'x' is damaged: its header states [\d,]+ bytes"):
        load_data(path)


def test_every_version_of_the_format_is_weighed_or_read(tmp_path):
    for version in [(1, 0), (2, 0), (3, 0)]:
        path = tmp_path / f"{version[0]}.npz"
        file = io.BytesIO()
        np.lib.format.write_array(file, np.ones((20, 3), np.float32), version=version)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", file.getvalue())
            known = members._stated(archive, archive.getinfo("x.npy")) if version < (3, 0) else None
        assert known in (None, len(file.getvalue()))
        assert len(load_data(path)) == 20

"""Files have the permissions that the umask leaves, and a lack of permission is called so."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom import VAE, fit
from elboroom.data import load_data
from elboroom.errors import FailureError
from elboroom.io.files import write_atomic
from elboroom.io.tensors import read_tensors, write_tensors

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions of another kind")


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder):
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@POSIX
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007], indirect=True)
def test_runs_and_caches_follow_the_umask(tmp_path, umask):
    torch.manual_seed(0)
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[4], likelihood="gaussian")
    fit(vae, np.random.default_rng(0).random((40, 6), np.float32), out=tmp_path / "run", epochs=1, quiet=True)
    (tmp_path / "photos").mkdir()
    for shade in (10, 200):
        Image.new("L", (8, 8), shade).save(tmp_path / "photos" / f"{shade}.png")
    load_data(tmp_path / "photos")
    made = modes(tmp_path)
    assert {Path(name).name for name in made} >= {"model.safetensors", "state.safetensors", "config.json"}
    assert any(name.startswith("cache/") and name.endswith("x.npy") for name in made)
    assert set(made.values()) == {0o666 & ~umask}, made


@POSIX
@pytest.mark.parametrize("umask", [0o022], indirect=True)
def test_what_a_library_writes_privately_is_opened_to_others(tmp_path, umask):
    def private(path):
        path.unlink()
        path.write_bytes(b"x")
        path.chmod(0o600)

    write_atomic(tmp_path / "a", private)
    assert modes(tmp_path) == {"a": 0o644}


def test_no_permission_is_not_damage(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.ones(2)})
    real = Path.open

    def refuse(self, *args, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)  # root may read all
    with pytest.raises(FailureError, match=r"model\.safetensors may not be read by this user; ask its owner"):
        read_tensors(path)


def test_tensors_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.ones(1000)})
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(FailureError, match=r"contains 0\.0 GB of tensors, and 0\.0 GB of memory are free"):
        read_tensors(path)

"""What a bug report needs is printed, and nothing that names a user, a host or a path."""

from __future__ import annotations

import getpass
import platform
import socket
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

import elboroom
from elboroom.cli import versions
from elboroom.cli.main import main


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[str]]:
    assert main(list(words)) == 0
    found: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest.strip())
    return found


@pytest.mark.parametrize("words", [("--version", "--verbose"), ("-V", "-v")])
def test_versions_devices_and_threads(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    found = lines(capsys, *words)
    assert found["elboroom"] == [elboroom.__version__]
    assert found["python"] == [f"{platform.python_version()} (CPython)"]
    assert found["torch"][0].startswith(f"{torch.__version__}, ")
    assert found["devices"] == ["cpu"]  # tests hide a GPU
    assert found["threads"][0].startswith(f"{torch.get_num_threads()} within operations")
    packages = dict(one.split(" ", 1) for one in found["packages"][0].split(", "))
    assert packages["numpy"] == np.__version__
    assert "torch" not in packages
    extras = dict(one.split(": ", 1) for one in found["extra"])
    assert {"faces", "heic", "umap"} <= extras.keys()
    assert not {"dev", "docs", "bench"} & extras.keys()


def test_nothing_that_names_a_user_a_host_or_a_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELBOROOM_DATA", "/home/someone/secret")
    monkeypatch.setenv("CUDA_HOME", "/opt/secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert main(["--version", "--verbose"]) == 0
    text = capsys.readouterr().out
    assert "OMP_NUM_THREADS=3" in text
    assert "ELBOROOM_DATA" in text
    assert "CUDA_HOME" in text
    for secret in ("secret", str(Path.home()), socket.gethostname(), f" {getpass.getuser()} "):
        assert secret not in text


def test_what_is_missing_or_broken_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise OSError(f"/home/someone/lib{name}.so: cannot open shared object file")

    requires = [
        "torch>=2.8",
        "no-such-package>=1",
        'other-package>=2; extra == "faces"',
        "ruff; extra == 'dev'",
    ]
    monkeypatch.setattr(versions.importlib, "import_module", broken)
    monkeypatch.setattr(versions.metadata, "requires", lambda _: requires)
    found = lines(capsys, "--version", "--verbose")
    assert found["torch"] == [f"{metadata.version('torch')}, fails with OSError"]
    assert found["packages"] == ["no-such-package not installed"]
    assert found["extra"] == ["faces: other-package not installed"]


def test_an_uninstalled_source_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(versions.metadata, "requires", absent)
    assert "without being installed" in lines(capsys, "-V", "-v")["packages"][0]


def test_version_takes_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "train"]) == 2
    assert "takes --verbose and nothing else, not 'train'" in capsys.readouterr().err

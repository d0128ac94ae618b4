"""Folders that another training writes, that may not be written, and that a killed one left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from elboroom.errors import FailureError, UsageError
from elboroom.runs.run import Run, load

from .lives import assert_same_end, go_on, train


def test_two_trainings_in_one_folder(whole: Path, tmp_path: Path) -> None:
    out, refused = tmp_path / "run", []

    def another(*_: object) -> None:
        for overwrite in (False, True):
            with pytest.raises(UsageError) as error:
                train(out, epochs=1, overwrite=overwrite)
            refused.append(str(error.value))
        with pytest.raises(UsageError) as error:
            go_on(out, epochs=9)
        refused.append(str(error.value))
        load(out)  # readers may look on

    train(out, epochs=2, on_epoch=another)
    assert len(refused) == 6
    for i, line in enumerate(refused):
        assert str(out) in line
        assert ("already contains a run" if i % 3 == 0 else "is being written by another training") in line
    assert_same_end(out, whole)
    go_on(out, epochs=3)  # the lock is gone with the training


def test_an_error_gives_the_folder_back(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as first:
        train(out, epochs=2, on_epoch=broken)
    assert len(Run(out).history) == 1  # the epoch before it is not lost
    with pytest.raises(UsageError, match="has 1 epochs already"):
        go_on(out, epochs=1)
    go_on(out, epochs=2)
    del first


def test_left_overs_are_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(out, epochs=1)
    left = [
        ".config.json.0123abcd.part",
        ".model.safetensors.0123abcd.part",
        "checkpoints/last/.state.safetensors.0123abcd.part",
        "checkpoints/best/.state.safetensors.89abcdef.part",
    ]
    mine = [
        ".notes",
        "model.part",
        "checkpoints/last/.state.safetensors.mine",
        "figures/.loss.png.0123abcd.part",
    ]
    (out / "figures").mkdir()
    for name in left + mine:
        (out / name).write_text("half")
    load(out)
    assert (out / left[0]).exists()  # reading changes nothing
    go_on(out, epochs=2)
    assert [name for name in left if (out / name).exists()] == []
    # Another command may be at a figure just now; an hour later it is not.
    assert [name for name in mine if (out / name).exists()] == mine
    os.utime(out / mine[-1], (0, 0))
    go_on(out, epochs=3)
    assert not (out / mine[-1]).exists()


def test_what_a_killed_beginning_left_is_in_nobodys_way(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (".lock", ".config.json.0123abcd.part"):
        (out / name).write_text("")
    train(out, epochs=1)
    assert not list(out.glob("*.part"))


@pytest.fixture
def own() -> Iterator[Path]:
    """A folder whose rights bind us too: root may write everywhere, and is nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of another kind")
@pytest.mark.parametrize("part", ["", "checkpoints/last"])
def test_a_read_only_folder_is_refused_before_training(part: str, own: Path) -> None:
    out, root = own / "run", os.geteuid() == 0
    train(out, epochs=1)
    own.chmod(0o555)
    (out / part).chmod(0o555)
    for path in out.rglob("*"):
        path.chmod(0o777 if path.is_dir() and path != out / part else path.stat().st_mode | 0o444)
    if part:
        out.chmod(0o777)
        (out / ".lock").chmod(0o666)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(FailureError, match="read-only") as resumed:
            go_on(out, epochs=2)
        with pytest.raises(FailureError, match=r"may be written|read-only") as begun:
            train(out / "checkpoints" / "last" / "new" if part else own / "new", epochs=1)
    finally:
        if root:
            os.seteuid(0)
        own.chmod(0o755)
        (out / part).chmod(0o755)
    assert "\n" not in str(resumed.value) + str(begun.value)
    assert str(out / part) in str(resumed.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

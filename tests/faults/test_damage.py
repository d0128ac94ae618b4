"""Flipped bits and files cut short are found, and the checkpoint before is taken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from elboroom.errors import UsageError
from elboroom.io.tensors import read_tensors, write_tensors
from elboroom.runs.run import load
from elboroom.training.checkpoints.state import load_state, save_state

from .conftest import LONG
from .lives import STATE, assert_same_end, build, go_on, position, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch, after which ``last-1`` is of step 0."""
    out = tmp_path_factory.mktemp("damage") / "run"
    train(out, epochs=1)
    assert position(out) == 6
    return out


def flip(path: Path, byte: int, bit: int = 0) -> None:
    """Change one bit; negative bytes count from the end."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state"
    tree = {
        "w": torch.tensor([1.5, -2.0]),
        "b": torch.tensor([3], dtype=torch.int64),
        "rows": [{"loss": 0.5}],
    }
    save_state(path, tree)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 1 if LONG else 11):  # a bit of nearly every byte
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"damaged or cut short|no checkpoint of elboroom") as error:
            load_state(path)
        assert str(path) in str(error.value)


def test_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "tensors"
    write_tensors(path, {"w": torch.arange(20.0)}, {"note": "β"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UsageError, match="damaged or cut short"):
            read_tensors(path)


def test_a_file_without_a_checksum_is_read_as_it_is(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.arange(3.0)}, tmp_path / "old", {"note": "of last year"})
    tensors, metadata = read_tensors(tmp_path / "old")
    assert (tensors["w"].tolist(), metadata) == ([0, 1, 2], {"note": "of last year"})


DAMAGE = {
    "a flipped bit of a weight": lambda path: flip(path, -1000, 3),
    "a flipped bit of the history": lambda path: flip(path, path.read_bytes().index(b"val_elbo")),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_last_falls_back_and_says_so(
    name: str, run: Path, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    DAMAGE[name](out / "checkpoints" / "last" / STATE)
    go_on(out, epochs=2)
    (line,) = capfd.readouterr().err.splitlines()
    words = "no checkpoint at" if name == "missing" else "damaged or cut short"
    assert words in line
    assert f"checkpoints/last/{STATE}" in line
    assert line.endswith("continuing from last-1, of step 0 (0 epochs done)")
    assert line.removeprefix("elboroom: ") in (out / "log.txt").read_text()
    # The config tells the length of the first of them: all else is the same.
    assert_same_end(out, whole)
    assert load_state(out / "checkpoints" / "last-1" / STATE)["history"] == []  # not the damaged one


def test_where_none_is_good_it_is_an_error(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    for name in ("last", "last-1"):
        flip(out / "checkpoints" / name / STATE, -1)
    with pytest.raises(
        UsageError, match=r"last/state.*is damaged.*no older checkpoint is intact; restore"
    ) as error:
        go_on(out, epochs=2)
    assert "\n" not in str(error.value)
    load(out)  # the weights are in another file


def test_a_damaged_best_is_said_and_not_needed(
    run: Path, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    flip(out / "checkpoints" / "best" / STATE, -1)
    go_on(out, epochs=2)
    assert "resuming does not need it" in capfd.readouterr().err
    for name in ("model.safetensors", f"checkpoints/last-1/{STATE}"):
        read_tensors(out / name)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_damaged_weights_are_not_loaded(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    flip(out / "model.safetensors", -1)
    with pytest.raises(UsageError, match="SHA-256"):
        load(out)
    assert build().latent_dim == 2

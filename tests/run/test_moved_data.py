"""A run whose data have moved, and what evaluations keep."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom import Config, Run, fit, load_data
from elboroom.cli import training_run
from elboroom.cli.main import main
from elboroom.cli.records import merged
from elboroom.data.conditioned import with_vectors
from elboroom.runs import write_status
from elboroom.training.prepare import build

X = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def elboroom(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(training_run, "draw_all", lambda *_, **__: [])  # which takes long

    def run(*words: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Of two epochs; its data have moved from old.npy to new.npy, and other.npy is nearly like them."""
    return trained(tmp_path)


def trained(tmp_path: Path, **options: Any) -> Path:
    old = tmp_path / "old.npy"
    np.save(old, X)
    config = Config().updated(source=str(old), epochs=2, batch_size=20, hidden=(4,), **options)
    data = load_data(old)
    if config.model.condition_file is not None:
        data = with_vectors(data, Path(config.model.condition_file))
    fit(build(config, data), data, out=tmp_path / "run", config=config, quiet=True)
    old.rename(tmp_path / "new.npy")
    other = X.copy()
    other[7, 0, 0] ^= 1
    np.save(tmp_path / "other.npy", other)
    return tmp_path / "run"


def conclude(run: Path) -> None:
    """As after `elboroom train`, which measures and draws at its end."""
    Run(run).write_metrics({"split": "test"})
    write_status(run, "finished")


def test_it_says_how_to_name_the_new_place(run: Path, elboroom: Told, tmp_path: Path) -> None:
    for words in (
        ["evaluate", run],
        ["embed", run],
        ["reconstruct", run, ":0"],
        ["resume", run, "--epochs", 3],
    ):
        code, _, err = elboroom(*words)
        assert code == 2
        assert f"data of {run} are not at {tmp_path / 'old.npy'}; if they have moved" in err
        assert f"'elboroom resume {run} --data PATH'" in err


@pytest.mark.parametrize("epochs", [2, 4])
def test_the_new_place_is_kept(run: Path, elboroom: Told, tmp_path: Path, epochs: int) -> None:
    conclude(run)
    code, out, _ = elboroom("resume", run, "--data", tmp_path / "new.npy", "--epochs", epochs, "--quiet")
    assert code == 0
    assert ("it is fully trained" in out) == (epochs == 2)
    assert Run(run).config.data.source == str(tmp_path / "new.npy")
    assert len(Run(run).history) == epochs
    assert elboroom("evaluate", run, "--num-samples", 2)[0] == 0
    assert elboroom("reconstruct", run, ":0")[0] == 0


def test_other_contents_are_not_taken_for_it(run: Path, elboroom: Told, tmp_path: Path) -> None:
    conclude(run)
    before = (run / "config.json").read_bytes()
    for more in ([], ["--epochs", 3]):
        code, _, err = elboroom("resume", run, "--data", tmp_path / "other.npy", *more)
        assert code == 2
        assert f"other.npy is not what {run} was trained on" in err
    assert (run / "config.json").read_bytes() == before


def test_vectors_move_too(elboroom: Told, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32))
    run = trained(tmp_path, condition="vectors", condition_file=str(vectors))
    new = ("--data", tmp_path / "new.npy")
    assert elboroom("evaluate", run, *new, "--num-samples", 2)[0] == 0  # the vectors are where they were
    other = ("--data", tmp_path / "other.npy", "--num-samples", 2)
    code, _, err = elboroom("evaluate", run, *other)
    assert (code, "other.npy has no vectors" in err) == (2, True)
    assert elboroom("evaluate", run, *other, "--condition-file", vectors)[0] == 0
    np.save(tmp_path / "wide.npy", np.zeros((60, 3)))
    code, _, err = elboroom("evaluate", run, *other, "--condition-file", tmp_path / "wide.npy")
    assert (code, "vectors of 3 numbers and the model takes 2" in err) == (2, True)
    assert elboroom("evaluate", run, "--condition-file", vectors)[0] == 2
    conclude(run)
    vectors.rename(tmp_path / "moved.npy")
    code, _, _ = elboroom("resume", run, *new, "--condition-file", tmp_path / "moved.npy")
    assert code == 0
    assert elboroom("evaluate", run, "--num-samples", 2)[0] == 0


def test_moved_data_are_the_runs_own(run: Path, elboroom: Told, tmp_path: Path) -> None:
    for source, name in (("new.npy", None), ("other.npy", str(tmp_path / "other.npy"))):
        code, out, _ = elboroom("evaluate", run, "--data", tmp_path / source, "--num-samples", 2, "--json")
        assert code == 0
        assert json.loads(out)["source"] == name
    assert Run(run).metrics["source"] is None


def test_numbers_of_fewer_examples_stand_beside_those_of_all(
    run: Path, elboroom: Told, tmp_path: Path
) -> None:
    new = ("--data", tmp_path / "new.npy")
    assert elboroom("evaluate", run, *new, "--num-samples", 5)[0] == 0
    full = Run(run).metrics
    assert full["examples"] == 6
    assert full["nll_num_samples"] == 5
    others: tuple[tuple[Any, ...], ...] = (
        ("--limit", 3, "--num-samples", 5),
        ("--split", "train", "--num-samples", 5),
        ("--num-samples", 0),
        ("--limit", 3, "--num-samples", 5),  # replaces the first
    )
    for words in others:
        assert elboroom("evaluate", run, *new, *words)[0] == 0
    assert elboroom("evaluate", run, "--data", tmp_path / "other.npy", "--num-samples", 9)[0] == 0
    kept = Run(run).metrics
    rest = kept.pop("others")
    assert kept == full
    found = [(one["split"], one["limit"], one["nll_num_samples"], one["data"]) for one in rest]
    assert found == [
        ("train", None, 5, "new.npy"),
        ("test", None, 0, "new.npy"),
        ("test", 3, 5, "new.npy"),
        ("test", None, 9, "other.npy"),
    ]
    assert elboroom("evaluate", run, *new, "--num-samples", 9, "--limit", 6)[0] == 0  # that is all of them
    assert Run(run).metrics["nll_num_samples"] == 9
    assert Run(run).metrics["others"] == rest


def test_a_conclusion_is_replaced_by_an_evaluation_of_its_part() -> None:
    concluded = {"split": "validation", "elbo": -3.0}
    test = {"split": "test", "limit": None, "nll_num_samples": 10, "elbo": -4.0}
    assert merged(concluded, test) == {**concluded, "others": [test]}
    same = {**test, "split": "validation"}
    assert merged(concluded, same) == same
    assert merged({}, test) == test


def test_a_run_that_may_not_be_written_to_gives_numbers(
    run: Path, elboroom: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = ("--data", tmp_path / "new.npy", "--num-samples", 2, "--json")
    expected = elboroom("evaluate", run, *new)[1]
    (run / "metrics.json").unlink()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, os.strerror(30), "metrics.json")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        patch.setattr(os, "replace", refuse)
        code, out, err = elboroom("evaluate", run, *new)
    assert (code, out) == (0, expected)
    assert "not saved: " in err
    assert "--out FILE.json" in err
    assert not (run / "metrics.json").exists()
    out_file = tmp_path / "numbers.json"
    assert elboroom("evaluate", run, *new, "--out", out_file)[0] == 0
    assert json.loads(out_file.read_text()) == json.loads(expected)
    assert not (run / "metrics.json").exists()
    assert elboroom("evaluate", run, *new, "--out", out_file)[0] == 2
    assert elboroom("evaluate", run, *new, "--out", out_file, "--overwrite")[0] == 0
    assert elboroom("evaluate", run, *new, "--out", tmp_path / "numbers.txt")[0] == 2


def test_a_path_given_to_fit_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elboroom: Told
) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.chdir(tmp_path)
    config = Config().updated(epochs=1, hidden=(4,))
    fit(build(config, load_data("x.npy")), "x.npy", out="run", config=config, quiet=True)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert elboroom("evaluate", "../run", "--num-samples", 1)[0] == 0

"""Runs whose weights or numbers mean nothing say so, and end with 1."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom import VAE, fit, load
from elboroom.cli.main import main
from elboroom.errors import FailureError
from elboroom.evaluation.health import check_finite
from elboroom.io.files import json_text
from elboroom.io.tensors import read_tensors, write_tensors
from elboroom.runs import write_status
from elboroom.runs.run import Run

WEIGHT, LAST_WEIGHT = "encoder.1.weight", "encoder.3.weight"
VERBS = [
    "evaluate RUN --num-samples 2",
    "evaluate RUN --num-samples 2 --json",
    "report RUN --json",
    "neighbours RUN :1",
    "reconstruct RUN :1",
    "embed RUN --out z.npy",
    "sample RUN",
    "morph RUN :1 :2",
    "traverse RUN",
    "figures RUN",
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "good"
    torch.manual_seed(0)
    vae = VAE.build(shape=(8, 8, 1), latent_dim=2, hidden=[8], scale=16.0)
    fit(vae, "digits", out=out, epochs=1, batch_size=500, quiet=True)
    return out


def spoilt(good: Path, folder: Path, spoil: Callable[[Tensor], object], *more: str) -> Path:
    run = folder / "run"
    shutil.copytree(good, run)
    path = run / "model.safetensors"
    weights, text = read_tensors(path)
    for name in (WEIGHT, *more):
        spoil(weights[name])
    write_tensors(path, weights, text)
    return run


@pytest.mark.parametrize("verb", VERBS)
def test_weights_that_are_not_finite_end_every_verb(
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = spoilt(good, tmp_path, lambda weight: weight[0, :3].fill_(torch.nan))
    assert main([word.replace("RUN", str(run)) for word in verb.split()]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{run} has no usable model: 3 of the 512 numbers of {WEIGHT} are not finite" in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "z.npy").exists()


def test_weights_too_large_to_compute_with_are_no_model(good: Path, tmp_path: Path) -> None:
    run = spoilt(good, tmp_path, lambda weight: weight.fill_(1e25))
    with pytest.raises(FailureError, match=rf"{WEIGHT} are as large as 1e\+25"):
        load(run)


@pytest.mark.parametrize("verb", ["evaluate RUN --num-samples 2 --json", "report RUN --json"])
def test_numbers_that_are_not_finite_are_null_with_a_reason(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    # Both layers of the encoder: the code is of size 1e24, whose square overflows in the rate.
    run = spoilt(good, tmp_path, lambda weight: weight.mul_(1e12), LAST_WEIGHT)
    assert main([word.replace("RUN", str(run)) for word in verb.split()]) == 1
    shown = capsys.readouterr()

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    found = json.loads(shown.out, parse_constant=refuse)
    assert "rate" in found["not_finite"] or "rate.0" in found["not_finite"]
    assert "not finite" in shown.err


def test_a_run_that_diverged_is_warned_of_by_each_reader(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = spoilt(good, tmp_path, lambda weight: weight)
    write_status(run, "diverged", "14 steps in a row were not finite: training has diverged")
    for _ in range(2):
        assert main(["evaluate", str(run), "--num-samples", "0"]) == 0
        assert f"warning: {run}: 14 steps in a row were not finite" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_has_no_status(good: Path, tmp_path: Path) -> None:
    run = spoilt(good, tmp_path, lambda weight: weight)
    (run / "status.json").unlink()
    assert Run(run).status.state == "training"
    (run / "metrics.json").write_text("{}")
    assert Run(run).status.state == "finished"


@pytest.mark.parametrize("text", ["", "[]", '{"state": 1', "[" * 100_000])
def test_a_damaged_status_is_one_line(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    run = spoilt(good, tmp_path, lambda weight: weight)
    (run / "status.json").write_text(text)
    assert main(["evaluate", str(run)]) == 2
    assert "status.json is damaged" in capsys.readouterr().err


def test_json_never_holds_what_json_has_not() -> None:
    content = {"a": [1.0, math.nan], "b": {"c": -math.inf, "d": np.float64("inf")}, "e": "nan", "f": None}
    text = json_text(content, indent=2)
    assert "NaN" not in text
    assert "Infinity" not in text
    found = json.loads(text)
    lost = {"a.1": "nan", "b.c": "-inf", "b.d": "inf"}
    assert found == {
        "a": [1.0, None], "b": {"c": None, "d": None}, "e": "nan", "f": None, "not_finite": lost
    }  # fmt: skip


def test_check_finite_names_what_is_bad() -> None:
    check_finite({"a": 1.0, "b": [1.0, 2.0], "c": None, "d": "nan", "e": np.ones(2), "f": 3}, "x")
    with pytest.raises(FailureError, match="x: b, e are not finite"):
        check_finite({"a": 1.0, "b": [1.0, math.inf], "e": np.array([math.nan])}, "x")

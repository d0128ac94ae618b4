"""The benchmark of six layers beside one: its nets, and its numbers, at a tiny size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import hierarchy
from elboroom.cli.main import main


@pytest.mark.parametrize("name", hierarchy.NETS)
def test_its_options_are_taken(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*hierarchy.NETS[name].split(), *hierarchy.COMMON.split()]
    assert main(["train", "digits", *words, "--dry-run"]) == 0
    assert "parameters" in capsys.readouterr().out


def test_it_trains_measures_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 2, (40, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "bits.npz", images=x, split=np.repeat([0, 1, 2], [20, 10, 10]))
    small = {"ladder": "--network ladder --conv-width 4 --epochs 2", "conv": "--network conv --epochs 2"}
    monkeypatch.setattr(hierarchy, "NETS", small)
    monkeypatch.setattr(hierarchy, "COMMON", "--batch-size 10 --figures-every 0 --quiet --precision fp32")
    monkeypatch.setattr(hierarchy, "SOURCE", str(tmp_path / "bits.npz"))
    monkeypatch.setattr(hierarchy, "SAMPLES", 3)
    out = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["hierarchy", "--runs", str(tmp_path / "runs"), "--out", str(out)])
    hierarchy.main()
    found = json.loads(out.read_text())
    assert found["ladder"]["epochs"] == found["conv"]["epochs"] == 2
    assert sum(found["ladder"]["rate_of_layers"]) == pytest.approx(found["ladder"]["rate"], rel=1e-5)
    assert found["conv"]["rate_of_layers"] is None
    assert len(found["conv"]["validation_elbo"]) == 2
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    stamp = (tmp_path / "runs" / "conv" / "model.safetensors").stat().st_mtime_ns
    hierarchy.main()  # only measures
    assert (tmp_path / "runs" / "conv" / "model.safetensors").stat().st_mtime_ns == stamp
    assert json.loads(out.read_text())["conv"]["elbo"] == found["conv"]["elbo"]

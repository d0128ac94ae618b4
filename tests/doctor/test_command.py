"""``elboroom doctor`` on runs of the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from elboroom import VAE, Run, fit, load_data
from elboroom.cli.main import main


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on digits with a weight of the rate that is meant for a mean."""
    folder = tmp_path_factory.mktemp("doctor") / "run"
    vae = VAE.build(shape=(8, 8, 1), scale=16, hidden=[16])
    fit(vae, "digits", out=folder, epochs=2, beta=1 / 64, quiet=True)
    return folder


def test_each_finding_is_a_line_with_its_option(sick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(sick)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "wrong KL weight: beta 0.0156 times the 64 numbers of an example is 1, as if the loss were averaged "
        f"over them and not summed; the rate is {Run(sick).history[-1]['rate']:.3g} nats. --beta 1 weighs "
        "rate and distortion as the ELBO does."
    ]
    assert err == ""


def test_json_is_one_object_with_the_numbers(sick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(sick), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (finding,) = found["findings"]
    assert finding["disease"] == "wrong KL weight"
    assert finding["numbers"] == {"beta": 1 / 64, "numbers": 64, "rate": Run(sick).history[-1]["rate"]}
    assert finding["change"] == {"beta": 1.0}
    assert found["not_looked_at"] == []


def test_without_its_data_a_run_is_examined_by_its_records(
    sick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(sick, run)
    config = json.loads((run / "config.json").read_text())
    config["data"]["source"] = "/nowhere/at/all.npz"
    (run / "config.json").write_text(json.dumps(config))
    assert main(["doctor", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("wrong KL weight: ")
    assert err.startswith("not looked at: data and codes: the data of ")


def test_weights_that_are_not_finite_are_a_finding(
    sick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(sick, run)
    vae = Run(run).model()
    next(vae.parameters()).data[0] = np.nan
    Run(run).write_model(vae)
    assert main(["doctor", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("weights not finite: ")
    assert "--lr 0.0001 takes smaller steps." in out
    assert err.splitlines() == ["not looked at: codes: the weights are not usable"]


def test_nothing_found_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae = VAE.build(shape=(8, 8, 1), scale=16, hidden=[16])
    fit(vae, load_data("digits"), out=tmp_path / "run", epochs=8, batch_size=20, quiet=True)
    assert main(["doctor", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'run'}: nothing found.\n"
    assert err == ""


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert "no run at" in capsys.readouterr().err

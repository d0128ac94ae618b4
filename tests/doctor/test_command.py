"""``elboroom doctor`` on runs of the command line."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom import VAE, Run, fit, load_data
from elboroom.cli import training_run
from elboroom.cli.main import main
from elboroom.doctor import Diagnosis, Finding
from elboroom.errors import FailureError


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on digits with a weight of the rate that is meant for a mean."""
    folder = tmp_path_factory.mktemp("doctor") / "run"
    said = io.StringIO()
    words = f"train digits --hidden 16 --epochs 2 --beta {1 / 64} --validation 0 --out {folder}"
    with contextlib.redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "_draw", lambda *_: None)  # takes longer than all the rest
        assert main(words.split()) == 0
    (folder / "said.txt").write_text(said.getvalue())
    return folder


def test_training_ends_with_what_the_doctor_finds(sick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join((sick / "said.txt").read_text().split())
    assert main(["doctor", str(sick)]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("wrong KL weight: ")
    assert line in said


def test_training_ends_with_three_findings_at_most(monkeypatch: pytest.MonkeyPatch, sick: Path) -> None:
    found = [Finding("", {}, {"lr": 1e-3}, "", disease=f"{number}") for number in range(5)]
    found.insert(1, replace(found[0], disease="schedule does not fit"))  # is said when training begins
    monkeypatch.setattr(training_run, "examine", lambda _: Diagnosis(tuple(found)))
    assert [one.disease for one in training_run._findings(Run(sick))] == ["0", "1", "2"]


@pytest.mark.parametrize("lr", ["1e30", "1e12"])
def test_a_model_without_a_finite_bound_is_never_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lr: str
) -> None:
    """One step is an epoch, and its loss is that of the weights before it."""
    run = tmp_path / "run"
    words = "train digits --hidden 8 --epochs 1 --batch-size 5000 --validation 0 --quiet"
    assert main([*words.split(), "--lr", lr, "--out", str(run)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].endswith(
        "training has diverged; start again with a lower --lr, or set --clip"
    )
    assert Run(run).status.state == "diverged"
    assert main(["resume", str(run), "--quiet"]) == 1
    assert Run(run).status.state == "diverged"
    capsys.readouterr()
    assert main(["doctor", str(run)]) == 0
    assert capsys.readouterr().out.startswith("weights not finite: the ELBO of the test examples is ")


def test_weights_that_end_non_finite_are_no_model(tmp_path: Path) -> None:
    """A weight that the loss does not depend on is spoilt after the last step."""

    def spoil(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            with torch.no_grad():
                next(vae.parameters())[0, 0] = torch.nan

    vae = VAE.build(shape=(4,), hidden=[8], latent_dim=1, likelihood="gaussian")
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    with pytest.raises(FailureError, match=r"not finite, so that there is no usable model\. .* resume"):
        fit(vae, x, out=tmp_path / "run", epochs=2, validation=0, quiet=True, on_epoch=spoil)
    assert Run(tmp_path / "run").status.state == "diverged"


def test_each_finding_is_a_line_with_its_option(sick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(sick)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "wrong KL weight: beta 0.0156 times the 64 numbers of an example is 1, as if the loss were averaged "
        f"over them and not summed; the rate is {Run(sick).history[-1]['rate']:.3g} nats. --beta 1 weighs "
        "rate and distortion as the ELBO does."
    ]
    assert " ".join(err.split()) == f"picture of the evidence: {sick / 'figures' / 'doctor.png'}"


def test_json_is_one_object_with_the_numbers(sick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(sick), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (finding,) = found["findings"]
    assert finding["disease"] == "wrong KL weight"
    assert finding["numbers"] == {"beta": 1 / 64, "numbers": 64, "rate": Run(sick).history[-1]["rate"]}
    assert finding["change"] == {"beta": 1.0}
    assert found["notes"] == []
    assert found["not_looked_at"] == []
    assert found["picture"] == str(sick / "figures" / "doctor.png")


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
    assert "not looked at: data and codes: the data of " in err


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
    assert err.splitlines()[-1] == "not looked at: codes: the weights are not usable"


def test_nothing_found_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae = VAE.build(shape=(8, 8, 1), scale=16, hidden=[16])
    fit(vae, load_data("digits"), out=tmp_path / "run", epochs=8, batch_size=20, quiet=True)
    assert main(["doctor", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'run'}: nothing found.\n"
    assert err == ""


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert "there is no run at this place, and no data" in capsys.readouterr().err


def test_an_autoencoder_is_said_to_have_no_prior(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "train digits --recipe ae --hidden 8 --epochs 1 --batch-size 500 --figures-every 0 --quiet"
    assert main([*words.split(), "--out", str(tmp_path / "ae")]) == 0
    capsys.readouterr()
    assert main(["doctor", str(tmp_path / "ae"), "--json"]) == 0
    (what,) = json.loads(capsys.readouterr().out)["not_looked_at"]
    assert what.startswith("samples of the prior: nothing in a deterministic posterior")
    assert main(["fit-prior", str(tmp_path / "ae"), "--kind", "gmm"]) == 0
    capsys.readouterr()
    assert main(["doctor", str(tmp_path / "ae"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_looked_at"] == []


def test_the_advice_for_columns_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(400, 2))
    cells[[0, 150, 300], 1] = 1e6
    lines = ["a,the dose,none", *(f"{a},{b}," for a, b in cells)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    assert main(["doctor", str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr()
    assert "--kinds 'the dose=real/student_t' is not pulled by them" in printed.out
    assert "--kinds 'the dose=real/student_t' or" in printed.err
    assert "column 'none' is empty; it is not modelled" in printed.err


def test_a_damaged_picture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    assert main(["doctor", str(tmp_path)]) == 0
    assert f"skipped {tmp_path / 'broken.png'}" in capsys.readouterr().err.replace("\n", "")


def test_of_a_comparison_a_run_is_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "vae" / "seed-0"
    run.mkdir(parents=True)
    for file in (run / "config.json", tmp_path / "comparison.json", tmp_path / "table.csv"):
        file.write_text("{}")
    assert main(["doctor", str(tmp_path)]) == 2
    assert f"is a comparison; name one of its runs, such as {run}" in capsys.readouterr().err

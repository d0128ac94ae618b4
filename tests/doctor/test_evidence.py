"""The picture of the evidence, and what is measured for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom import VAE, Run, fit, load_data
from elboroom.cli.main import main
from elboroom.config import Config
from elboroom.doctor import DISEASES, Chart, Diagnosis, Finding, examine_chart
from elboroom.doctor.chart import Codes
from elboroom.doctor.held_out import Bounds, HeldOut, Samples, samples_near
from elboroom.doctor.leaks import Repeats
from elboroom.doctor.picture import picture_of
from elboroom.evaluation.memorisation import nearer_to_training

RNG = np.random.default_rng(0)
ROW: dict[str, Any] = {
    "distortion": 30.0,
    "rate": 2.0,
    "beta": 1.0,
    "learning_rate": 1e-3,
    "perplexity": 40.0,
}


def _chart(shape: tuple[int, ...] = (4, 4, 1), **more: Any) -> Chart:
    def bounds() -> Bounds:
        return Bounds(RNG.normal(size=9), RNG.normal(size=9))

    known: dict[str, Any] = {
        "history": [{**ROW, "epoch": 1}, {**ROW, "epoch": 2, "distortion": 25.0}],
        "metrics": {"rate_of_layers": [1.0, 0.01]},
        "values": RNG.random((30, 5)).astype(np.float32),
        "codes": Codes(RNG.normal(size=(30, 3)), np.ones((30, 3))),
        "repeats": Repeats(100, 50, 0, 20, 3, 30),
        "held_out": HeldOut(bounds(), bounds()),
        "samples": Samples(RNG.random((30, *shape)), 0.9, 0.02, RNG.random((30, *shape))),
        "hole": 2.0,
    }
    return Chart(Config(), shape=shape, **{**known, **more})


def _panels(chart: Chart, *names: str) -> list[str]:
    found = tuple(Finding("", {}, {}, "", disease=name) for name in names)
    figure = picture_of(chart, Diagnosis(found))
    assert figure is not None
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.parametrize("disease", [disease.name for disease in DISEASES])
def test_every_disease_has_a_panel(disease: str) -> None:
    assert _panels(_chart(), disease) == [disease]


def test_findings_with_the_same_evidence_share_a_panel() -> None:
    names = ("overfit encoder", "overfit decoder", "memorised samples")
    assert _panels(_chart(), *names) == ["overfit encoder, overfit decoder", "memorised samples"]


@pytest.mark.parametrize(
    ("disease", "chart"),
    [
        ("weights not finite", {"history": ()}),
        ("schedule does not fit", {"history": ()}),
        ("posterior collapse", {"codes": None}),
        ("hole in the prior", {"codes": None}),
        ("hole in the prior", {"codes": Codes(RNG.normal(size=(30, 1)), np.ones((30, 1)))}),
        ("memorised samples", {"shape": (5,)}),
    ],
)
def test_a_panel_does_without_what_is_not_known(disease: str, chart: dict[str, Any]) -> None:
    assert _panels(_chart(**chart), disease) == [disease]


def test_notes_are_drawn_and_health_is_not() -> None:
    row = {**ROW, "rate": 0.01, "step": 10}
    early = Chart(Config(), [row])
    found = examine_chart(early)
    assert found.findings == ()
    figure = picture_of(early, found)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["posterior collapse"]
    assert picture_of(early, Diagnosis(())) is None


def test_bars_of_dimensions_are_their_rates() -> None:
    codes = Codes(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.5, 1.0], [0.5, 1.0]]))
    figure = picture_of(_chart(codes=codes), Diagnosis((Finding("", {}, {}, "", "unused dimensions"),)))
    assert figure is not None
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(heights, [0.5 * (1 + 0.25 - 1 - np.log(0.25)), 0.0], atol=1e-12)


def test_samples_compete_as_in_the_measure_of_memorisation() -> None:
    data = load_data("digits")
    vae = VAE.build(shape=data.shape, scale=data.scale, hidden=[8])
    rows = data.indices("test")[:60]
    seen = samples_near(vae, data, rows, seed=3)
    assert seen is not None
    assert seen.train.shape == (60, 8, 8, 1)
    own, other = seen.train.reshape(60, -1), data.values(rows).reshape(60, -1)
    share, error = nearer_to_training(seen.drawn.reshape(300, -1), own, other, np.random.default_rng(3))
    assert (seen.nearer, seen.error) == (share, error)


def test_the_command_writes_one_picture_and_takes_away_an_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(8, 8, 1), scale=16, hidden=[64])
    path = tmp_path / "run"
    fit(vae, load_data("digits"), out=path, epochs=4, beta=4, quiet=True)
    assert main(["doctor", str(path)]) == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert line.startswith("posterior collapse: too early to tell; after 60 steps the rate is ")
    assert line.endswith("--epochs 67 would show whether it stays so.")
    picture = path / "figures" / "doctor.png"
    assert " ".join(err.split()) == f"picture of the evidence: {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")
    row = Run(path).history[-1]
    (path / "history.jsonl").write_text(json.dumps({**row, "rate": 3.0, "val_rate": 3.0}) + "\n")
    assert main(["doctor", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: nothing found.\n"
    assert not picture.exists()

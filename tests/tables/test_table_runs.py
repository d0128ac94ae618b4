"""From a table to a run and back: trained, resumed, evaluated on other data, sampled, by command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import elboroom
from elboroom.cli.inputs.run_data import run_data
from elboroom.cli.main import main
from elboroom.config import Config
from elboroom.data import load_data
from elboroom.figures.grids import as_images
from elboroom.probability import StandardNormal
from elboroom.runs.run import Run
from elboroom.training.prepare import build

KINDS = "rating=ordinal:low<mid<high, income=positive[EUR]"
OPTIONS = ["--hidden", "8", "--latent-dim", "2", "--epochs", "1", "--device", "cpu", "--figures-every", "0"]


def _rows(n: int = 90) -> list[list[str]]:
    rng = np.random.default_rng(0)
    rows = [
        [
            *(str(1001 + i), f"{rng.normal(40, 9):.1f}", ["cook", "nurse", "smith"][i % 3]),
            *(f"{rng.lognormal(9, 0.6):.2f}", str(rng.poisson(1)), ["low", "mid", "high"][i % 3]),
            str(np.datetime64("2021-01-01") + rng.integers(0, 700)),
        ]
        for i in range(n)
    ]
    for row in rows:
        for j in range(1, len(row)):
            row[j] = "" if rng.random() < 0.08 else row[j]
    return rows


HEADER = ["id", "age", "job", "income", "kids", "rating", "joined"]


def _write(path: Path, rows: list[list[str]], order: list[int], header: list[str] = HEADER) -> str:
    lines = [",".join(row[i] for i in order) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_a_table_reads_other_tables_by_name(tmp_path: Path, capsys: Any) -> None:
    rows, run = _rows(), str(tmp_path / "run")
    table = _write(tmp_path / "people.csv", rows, list(range(7)))
    assert main(["train", table, "--out", run, "--kinds", KINDS, *OPTIONS]) == 0
    config = Run(run).config
    assert [c.name for c in config.model.columns] == HEADER[1:]
    assert config.model.columns[2].unit == "EUR"
    assert config.model.columns[4].categories == ("low", "mid", "high")
    capsys.readouterr()
    assert main(["evaluate", run, "--num-samples", "0", "--split", "all"]) == 0
    own = capsys.readouterr().out
    other = _write(tmp_path / "other.csv", rows, [6, 3, 5, 2, 1, 4, 0])
    assert main(["evaluate", run, "--num-samples", "0", "--split", "all", "--data", other]) == 0
    assert capsys.readouterr().out == own
    assert main(["embed", run, other, "--out", str(tmp_path / "a.npy")]) == 0
    assert main(["embed", run, "--out", str(tmp_path / "b.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert main(["resume", run, "--epochs", "2"]) == 0
    capsys.readouterr()
    for wrong, said in (
        (
            _write(tmp_path / "w.csv", [[*rows[0][:2], "chef", *rows[0][3:]], *rows[1:]], list(range(7))),
            "'chef'",
        ),
        (
            _write(tmp_path / "v.csv", rows, [0, 1, 2, 3, 4, 5]),
            "column 'joined' of the training table is missing",
        ),
    ):
        assert main(["embed", run, wrong, "--out", str(tmp_path / "c.npy")]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_samples_could_stand_in_the_table(tmp_path: Path) -> None:
    run, table = str(tmp_path / "run"), _write(tmp_path / "people.csv", _rows(), list(range(7)))
    assert main(["train", table, "--out", run, "--kinds", KINDS, *OPTIONS]) == 0
    out = tmp_path / "s.csv"
    assert main(["sample", run, "--n", "40", "--out", str(out)]) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == ",".join(HEADER[1:])
    assert main(["train", table, "--dry-run"]) == 0
    for line in lines[1:]:
        age, job, income, kids, rating, joined = line.split(",")
        assert len(age.partition(".")[2]) <= 1
        assert job in ("cook", "nurse", "smith")
        assert rating in ("low", "mid", "high")
        assert float(income) > 0
        assert kids.isdigit()
        assert np.datetime64(joined)
    assert load_data(out, columns=Run(run).config.model.columns).x.shape == (40, 6)


@pytest.mark.usefixtures("undrawn")
def test_a_run_with_another_likelihood_has_the_fingerprint_that_it_had(tmp_path: Path) -> None:
    rows = [f"{i / 7:.2f},{i},{'' if i % 10 == 3 else i % 2}" for i in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "\n".join(rows) + "\n")
    run = tmp_path / "run"
    assert main(["train", str(path), "--out", str(run), "--likelihood", "gaussian", *OPTIONS]) == 0
    assert Run(run).config.model.shape == (3,)  # b counts the rows, and is a number as before
    plain = load_data(path, kinds="numbers").with_validation(0.1, 0)
    assert Run(run).environment["data_fingerprint"] == plain.fingerprint()
    assert main(["resume", str(run), "--epochs", "2"]) == 0


def test_a_model_of_plain_numbers_gets_the_rows_without_holes() -> None:
    rng = np.random.default_rng(0)
    cells = {"a": rng.normal(size=60), "b": rng.normal(size=60)}
    cells["a"][:6] = np.nan
    data = load_data(cells)
    config = Config().updated(likelihood="gaussian", hidden=(4,), epochs=1)
    history = elboroom.fit(build(config, data), data, config=config, quiet=True)
    assert np.isfinite(history[-1]["loss"])
    mixed = build(Config().updated(hidden=(4,)), data)
    swapped = load_data({"b": cells["b"], "a": cells["a"]})
    one = elboroom.fit(mixed, data, epochs=1, quiet=True)
    again = build(Config().updated(hidden=(4,)), data)
    assert elboroom.fit(again, swapped, epochs=1, quiet=True)[-1]["loss"] == one[-1]["loss"]


def test_missing_numbers_leave_a_gap_in_a_chart() -> None:
    x = np.array([[0.0, 1, np.nan, 1, 0], [0, 1, 0, 1, 0]], np.float32)
    with_gap, whole = as_images(x).min(-1)
    drawn = (with_gap < 0.9).any(0), (whole < 0.9).any(0)
    width = with_gap.shape[1]
    assert not drawn[0][int(0.4 * width) : int(0.6 * width)].any()
    assert drawn[1][int(0.1 * width) : int(0.9 * width)].all()
    assert drawn[0][int(0.1 * width) : int(0.25 * width)].all()


@pytest.mark.usefixtures("undrawn")
def test_python_and_the_command_line_read_a_table_alike(tmp_path: Path) -> None:
    table, run = _write(tmp_path / "people.csv", _rows(), list(range(7))), tmp_path / "run"
    data = load_data(table, kinds=KINDS)
    vae = build(Config().updated(hidden=(4,)), data)
    elboroom.fit(vae, table, epochs=1, kinds=KINDS, out=run, quiet=True, device="cpu")
    assert main(["resume", str(run), "--epochs", "2"]) == 0
    rows = ["a,b,c", *(f"{i / 7:.2f},{i},{'' if i % 10 == 3 else i % 2}" for i in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    plain = load_data(tmp_path / "t.csv", kinds="numbers")
    gaussian = elboroom.VAE.build(shape=plain.shape, likelihood="gaussian", hidden=[4])
    elboroom.fit(gaussian, tmp_path / "t.csv", epochs=1, out=tmp_path / "plain", quiet=True, device="cpu")
    assert (
        Run(tmp_path / "plain").environment["data_fingerprint"] == plain.with_validation(0.1, 0).fingerprint()
    )
    assert main(["resume", str(tmp_path / "plain"), "--epochs", "2"]) == 0


@pytest.mark.usefixtures("undrawn")
def test_a_composed_model_reads_a_table_as_plain_numbers(tmp_path: Path) -> None:
    rows = ["a,b", *(f"{i / 70:.2f},{'' if i % 10 == 3 else i % 2}" for i in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    composed = elboroom.VAE(nn.Linear(2, 4), nn.Linear(2, 2), StandardNormal(2), shape=(2,), scale=1.0)
    elboroom.fit(composed, tmp_path / "t.csv", epochs=1, out=tmp_path / "run", quiet=True, device="cpu")
    run = Run(tmp_path / "run")
    assert run.custom_model
    data = run_data(run)
    assert (data.columns, len(data.skipped)) == ((), 6)

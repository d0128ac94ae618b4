"""``elboroom impute``: what it writes, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from elboroom.cli.main import main


def _table(n: int = 120) -> list[list[str]]:
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    job = np.array(["cook", "nurse", "smith"])[np.clip(np.round(z + 1), 0, 2).astype(int)]
    rows = []
    for i in range(n):
        height, weight = 170 + 10 * z[i] + rng.normal(), 70 + 12 * z[i] + rng.normal()
        cells = [f"{height:.1f}".replace(".", ","), f"{weight:.2f}".replace(".", ","), job[i]]
        rows.append([f"r{i}", *("" if rng.random() < 0.15 else cell for cell in cells), f'says "{i}"; yes'])
    rows[7][1:4] = ["", "", ""]
    return rows


def _write(path: Path, names: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([names, *rows])


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=";"))


NAMES = ["id", "height", "weight", "job", "note"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.csv, which has holes, and a run of it."""
    folder = tmp_path_factory.mktemp("people")
    _write(folder / "people.csv", NAMES, _table())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELBOROOM_CACHE", str(folder / "cache"))
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        options = ["--hidden", "8", "--epochs", "2", "--quiet", "--device", "cpu"]
        assert main(["train", str(folder / "people.csv"), "--out", str(folder / "run"), *options]) == 0
    return folder


def test_holes_are_filled_and_every_other_cell_stays_as_it_was(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["impute", str(trained / "run"), "--out", str(tmp_path / "filled.csv"), "--num-samples", "50"]
    assert main([*words, "--imputations", "2"]) == 0
    said = capsys.readouterr()
    assert "cells in" in said.out + said.err
    before = _read(trained / "people.csv")
    tables = [_read(tmp_path / name) for name in ("filled.csv", "filled-1.csv", "filled-2.csv")]
    holes = 0
    for rows in zip(before, *tables, strict=True):
        for was, *now in zip(*rows, strict=True):
            holes += not was
            assert all(cell for cell in now)
            assert not was or now == [was] * 3
    assert before[1:] != tables[0][1:] != tables[1][1:]
    cells = _read(tmp_path / "filled.cells.csv")
    assert cells[0] == ["row", "column", "value", "deviation", "probability", "ess", "pareto_k"]
    assert len(cells) - 1 == holes
    for row, name, value, deviation, probability, _, _ in cells[1:]:
        assert tables[0][int(row) + 1][NAMES.index(name)] == value
        assert (probability if name == "job" else deviation) != ""
        assert name != "job" or 1 / 3 - 0.01 <= float(probability.replace(",", ".")) <= 1


def test_columns_are_matched_by_name_and_a_table_without_holes_is_copied(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    rows = [["smith", "171,0", ""], ["", "160,5", "60,00"]]
    _write(other, ["job", "height", "weight"], rows)
    run = str(trained / "run")
    assert main(["impute", run, str(other), "--out", str(tmp_path / "o.csv"), "--num-samples", "50"]) == 0
    found = _read(tmp_path / "o.csv")
    assert found[0] == ["job", "height", "weight"]
    assert found[1][:2] == rows[0][:2]
    assert found[2][1:] == rows[1][1:]
    assert found[2][0] in ("cook", "nurse", "smith")
    _write(other, ["job", "height", "weight"], [["smith", "171,0", "70,10"]])
    capsys.readouterr()
    assert main(["impute", run, str(other), "--out", str(tmp_path / "full.csv")]) == 0
    said = capsys.readouterr()
    assert "no cell of other.csv is missing" in " ".join((said.out + said.err).split())
    assert _read(tmp_path / "full.csv") == _read(other)


def test_cells_are_written_in_the_dialect_of_the_file_that_is_filled_in(
    trained: Path, tmp_path: Path
) -> None:
    """Decimal points and commas between cells, where the training table had decimal commas."""
    other = tmp_path / "other.csv"
    other.write_text(
        'job,height,weight\nsmith,171.0,\n,160.5,60.25\n"a, b",,70.0\n'.replace('"a, b"', "nurse")
    )
    for name, separator in (("same.csv", ","), ("tabs.tsv", "\t")):
        words = [
            "impute",
            str(trained / "run"),
            str(other),
            "--out",
            str(tmp_path / name),
            "--num-samples",
            "50",
        ]
        assert main(words) == 0
        rows = [line.split(separator) for line in (tmp_path / name).read_text().splitlines()]
        assert [row[0] for row in rows[:2]] == ["job", "smith"]
        assert float(rows[1][2]) > 40
        assert float(rows[3][1]) > 140
        assert rows[2][1:] == ["160.5", "60.25"]
        cells = (tmp_path / name).with_suffix(".cells.csv").read_text().splitlines()
        assert cells[0].split(",")[:3] == ["row", "column", "value"]
        assert cells[1].split(",")[:3] == ["0", "weight", rows[1][2]]
    other.write_text("job;height;weight\nsmith;171;\nnurse;;70\n")  # which tells nothing of decimals
    assert main(["impute", str(trained / "run"), str(other), "--out", str(tmp_path / "whole.csv")]) == 0
    assert "," in _read(tmp_path / "whole.csv")[1][2]


def test_what_cannot_be_imputed_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(trained / "run")
    _write(tmp_path / "less.csv", ["job", "height"], [["smith", "171,0"], ["cook", ""]])
    assert main(["impute", run, str(tmp_path / "less.csv"), "--out", str(tmp_path / "l.csv")]) == 2
    assert "'weight'" in capsys.readouterr().err
    assert main(["impute", run, "--out", str(tmp_path / "l.png")]) == 2
    (tmp_path / "there.csv").write_text("mine")
    assert main(["impute", run, "--out", str(tmp_path / "there.csv")]) == 2
    assert (tmp_path / "there.csv").read_text() == "mine"

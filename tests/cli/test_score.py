"""Anomaly scores by the command line: the table, what is printed, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.runs.run import load
from elboroom.scoring.scores import score_array

from .conftest import SMALL, Command, World


def lines_of(path: str) -> list[dict[str, str]]:
    """The lines of a table by their headings."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(lines: list[dict[str, str]], heading: str) -> np.ndarray[Any, Any]:
    """A column of a table; nothing is NaN."""
    return np.array([float(line[heading] or "nan") for line in lines])


def people(n: int = 300, seed: int = 0) -> str:
    """A table of heights and weights that belong together."""
    rng = np.random.default_rng(seed)
    heights = rng.normal(170, 10, n)
    weights = 0.9 * (heights - 100) + rng.normal(0, 4, n)
    rows = zip(heights, weights, rng.integers(18, 80, n), strict=True)
    return "height,weight,age\n" + "".join(f"{h:.1f},{w:.1f},{a}\n" for h, w, a in rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.csv and a run of it."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "people.csv").write_text(people())
    options = ["--likelihood", "gaussian", "--standardize", "--model.learn-scale", "pixel", "--lr", "0.01"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELBOROOM_CACHE", str(folder / "cache"))
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        words = ["train", str(folder / "people.csv"), "--out", str(folder / "run"), *SMALL, *options]
        assert main([*words, "--epochs", "30"]) == 0
    return folder


ODD = "height,weight,age\n170,63,40\n150,110,40\n,63,40\n175,67,30\n170,63,900\n"


def test_each_row_has_a_score_a_verdict_and_reasons(elboroom: Command, trained: Path) -> None:
    Path("new.csv").write_text(ODD)
    result = elboroom("score", trained / "run", "new.csv", "--out", "s.csv", "--contributions")
    assert result.code == 0, result.err
    lines = lines_of("s.csv")
    assert [line["row"] for line in lines] == ["0", "1", "2", "3", "4"]
    assert [line["verdict"] for line in lines] == ["normal", "anomalous", "skipped", "normal", "anomalous"]
    assert {lines[1]["top_1"], lines[1]["top_2"]} == {"height", "weight"}
    assert lines[4]["top_1"] == "age"
    assert set(lines[2].values()) == {"2", "", "skipped"}
    scored = [line for line in lines if line["verdict"] != "skipped"]
    parts = sum(numbers(scored, f"nats_of_{name}") for name in ("height", "weight", "age", "latent code"))
    score = numbers(scored, "score_nats")
    np.testing.assert_allclose(parts, score, rtol=3e-6)  # seven digits are written
    assert (numbers(scored, "stderr_nats") > 0).all()
    assert (numbers(scored, "p_value") <= 0.05).tolist() == [False, True, False, True]
    np.testing.assert_allclose(
        numbers(scored, "top_1_nats")[[1, 3]],
        [float(lines[1][f"nats_of_{lines[1]['top_1']}"]), float(lines[4]["nats_of_age"])],
    )
    assert "skipped new.csv:4" in result.err
    assert "wrote s.csv: 5 lines, 1 of them for what was left out" in result.err
    Path("part.csv").write_text("height,weight,age\n170,63,900\n170,63,40\n")  # two of these rows
    assert elboroom("score", trained / "run", "part.csv", "--out", "p.csv", "--contributions").code == 0
    part = lines_of("p.csv")
    for key in lines[0].keys() - {"row"}:
        own, found = [lines[4][key], lines[0][key]], [line[key] for line in part]
        if key in ("verdict", "top_1", "top_2", "top_3"):
            assert own == found
        else:
            assert [float(cell or 0) for cell in own] == pytest.approx(
                [float(cell or 0) for cell in found], 1e-5
            )
    assert "elbo, −ELBO, in nats: higher is more anomalous" in result.out
    assert "2 of 4 examples are anomalous\n  row 4: " in result.out
    assert "above usual: age +" in result.out
    assert "note" not in result.err


@pytest.mark.parametrize("name", ["elbo", "nll", "reconstruction", "regret"])
def test_scores_are_those_of_the_library(elboroom: Command, trained: Path, name: str) -> None:
    Path("new.csv").write_text(people(20, seed=1))
    options = ("--score", name, "--num-samples", 30, "--steps", 10, "--seed", 3)
    result = elboroom("score", trained / "run", "new.csv", "--out", "s.csv", *options)
    assert result.code == 0, result.err
    x = load_data("new.csv").x
    found = score_array(load(trained / "run"), x, name, num_samples=30, steps=10, seed=3)  # type: ignore[arg-type]
    np.testing.assert_allclose(numbers(lines_of("s.csv"), "score_nats"), found.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(lines_of("s.csv"), "stderr_nats"), found.stderr, rtol=1e-4, atol=1e-6)


def test_the_false_alarm_rate_is_that_asked_for(elboroom: Command, trained: Path) -> None:
    Path("normal.csv").write_text(people(2000, seed=2))
    Path("more.csv").write_text(people(1500, seed=3))
    result = elboroom(
        *("score", trained / "run", "normal.csv", "--calibration", "more.csv", "--false-alarms", 0.1),
        *("--num-samples", 10, "--json"),
    )
    found = json.loads(result.out)
    # Three standard deviations of the share among 2,000, given 1,500 to calibrate by.
    assert abs(found["anomalous"] / 2000 - 0.1) < 3 * (0.09 / 1500 + 0.09 / 2000) ** 0.5
    assert found["calibration"] == {"data": "more.csv", "examples": 1500}
    assert found["anomalous"] + found["normal"] == found["examples"] == 2000
    assert Path("scores.csv").exists()


def test_the_runs_own_data_say_which_rows_were_trained_on(elboroom: Command, trained: Path) -> None:
    for words in ((), (trained / "people.csv",)):
        result = elboroom("score", trained / "run", *words, "--out", "own.csv", "--overwrite")
        assert result.code == 0, result.err
        lines = lines_of("own.csv")
        assert len(lines) == 300
        held_out = [line for line in lines if line["split"] != "train"]
        assert f"by {len(held_out)} validation and test examples of people.csv" in result.out
        share = np.mean([line["verdict"] == "anomalous" for line in held_out])
        assert share <= 0.05
    result = elboroom("score", trained / "run", "--calibration", trained / "people.csv", "--out", "same.csv")
    assert f"by {len(held_out)} examples of people.csv" in result.out  # none that was trained on


def test_too_few_examples_for_a_rate_are_refused(elboroom: Command, trained: Path) -> None:
    Path("new.csv").write_text(ODD)
    words = ("score", trained / "run", "new.csv", "--false-alarms")
    result = elboroom(*words, 0.001)
    assert result.code == 2
    assert not Path("scores.csv").exists()
    assert "--false-alarms 0.001: 57 calibration examples hold no rate below 0.0173" in result.err
    assert elboroom(*words, 0.0173).code == 0
    for rate in ("0", "1", "nan", "x"):
        assert elboroom(*words, rate).code == 2


def test_existing_files_are_not_replaced_unasked(elboroom: Command, trained: Path) -> None:
    Path("new.csv").write_text(ODD)
    Path("scores.csv").write_text("mine")
    words = ("score", trained / "run", "new.csv", "--num-samples", 3)
    assert elboroom(*words).code == 0
    assert Path("scores.csv").read_text() == "mine"
    assert len(lines_of("scores-2.csv")) == 5
    result = elboroom(*words, "--out", "scores.csv")
    assert result.code == 2
    assert "--overwrite" in result.err
    assert elboroom(*words, "--out", "scores.csv", "--overwrite").code == 0
    assert len(lines_of("scores.csv")) == 5


@pytest.mark.filterwarnings("ignore:.*outside the range")
def test_rows_whose_numbers_overflow_are_named(elboroom: Command, trained: Path) -> None:
    Path("new.csv").write_text(ODD.replace("150,110", "1e38,110"))
    result = elboroom("score", trained / "run", "new.csv", "--out", "s.csv")
    lines = lines_of("s.csv")
    assert lines[0]["verdict"] == "normal"
    if lines[1]["score_nats"] == "inf":
        assert (result.code, lines[1]["verdict"], lines[1]["top_1"]) == (0, "anomalous", "height")
    else:
        assert lines[1]["verdict"] == "not scored"
        assert result.code == 1
        assert "1 of 4 examples has no score, as the model's numbers overflow: row 1" in result.err


def test_another_number_of_columns_is_refused(elboroom: Command, trained: Path) -> None:
    Path("new.csv").write_text("height,weight\n170,60\n160,50\n")
    result = elboroom("score", trained / "run", "new.csv")
    assert result.code == 2
    assert not Path("scores.csv").exists()


def test_images_are_scored_by_regret_and_likelihood_is_warned_of(elboroom: Command, world: World) -> None:
    options = ("--num-samples", 5, "--steps", 3, "--false-alarms", 0.2)
    result = elboroom("score", world.run, *options, "--heatmaps", "heat", "--out", "s.csv")
    assert result.code == 0, result.err
    assert "regret, likelihood regret, in nats" in result.out
    assert "note" not in result.err
    lines = lines_of("s.csv")
    assert list(lines[0]) == ["row", "label", "split", "score_nats", "stderr_nats", "p_value", "verdict"]
    assert (numbers(lines, "score_nats") >= 0).all()
    with Image.open("heat/heatmaps.png") as sheet:
        assert min(sheet.size) > 100
    result = elboroom("score", world.run, *options, "--score", "nll", "--out", "l.csv", "--heatmaps", "heat")
    assert "nll is a plain likelihood, which rates simple images higher" in result.err
    assert Path("heat/heatmaps-2.png").exists()
    result = elboroom("score", world.run, "--contributions")
    assert result.code == 2
    assert "--contributions is for rows of numbers" in result.err


def test_photos_keep_their_names_and_those_left_out_have_a_line(elboroom: Command, world: World) -> None:
    shutil.copytree(world.photos, "photos")
    Path("photos/a/02.png").write_bytes(b"no image")
    options = ("--num-samples", 3, "--steps", 2, "--false-alarms", 0.4)
    assert elboroom("score", world.photo_run, "photos", "--out", "s.csv", *options).code == 0
    lines = lines_of("s.csv")
    assert len(lines) == 20
    assert lines[0]["name"] == "a/00.png"
    assert lines[-1]["name"].endswith("photos/a/02.png")
    assert lines[-1]["verdict"] == "skipped"
    assert "a/02.png" not in [line["name"] for line in lines[:-1]]


def test_heatmaps_are_for_images(elboroom: Command, trained: Path) -> None:
    result = elboroom("score", trained / "run", "--heatmaps", "heat")
    assert result.code == 2
    assert "only images have heat maps" in result.err
    assert not Path("heat").exists()


def test_codes_are_not_replaced_unasked(elboroom: Command, trained: Path) -> None:
    words = ("embed", trained / "run", "--out", "z.npy")
    Path("z.rows.csv").write_text("mine")
    result = elboroom(*words)
    assert result.code == 2
    assert "z.rows.csv already exists; replace it with --overwrite" in result.err
    assert elboroom(*words, "--overwrite").code == 0
    assert elboroom(*words).code == 2
    assert elboroom("embed", trained / "run").code == 0
    assert np.load("z-2.npy").shape == np.load("z.npy").shape
    assert Path("z-2.rows.csv").exists()


def test_rows_that_were_left_out_are_counted_everywhere(elboroom: Command, trained: Path) -> None:
    """An index counts the examples that could be read; what is printed names their rows in the file."""
    text = people(40, seed=5).splitlines()
    Path("holes.csv").write_text("\n".join([*text[:3], ",1,2", *text[3:]]) + "\n")
    options = ["--likelihood", "gaussian", "--standardize"]
    assert elboroom("train", "holes.csv", "--out", "r", *SMALL, *options).code == 0
    result = elboroom("neighbours", "r", "holes.csv:10", "--out", "n.png")
    assert "holes.csv:10 is row 11 of holes.csv" in result.err
    assert "holes.csv:10: nearest training example is #11 at distance 0" in result.out
    assert "#N is row N of holes.csv, counted from 0" in result.out
    result = elboroom("reconstruct", "r", "holes.csv:1", "--out", "p")
    assert "holes.csv:1 is row 1 of holes.csv" in result.err


def test_a_table_of_all_kinds_with_missing_cells(elboroom: Command, undrawn: None) -> None:
    """Columns are matched by name; what is missing costs nothing; an unknown category is refused by name."""
    rng = np.random.default_rng(0)
    jobs, ages = rng.integers(0, 2, 200), rng.normal(40, 8, 200)
    lines = [f"{age:.1f},{('cook', 'nurse')[job]}" for age, job in zip(ages + 9 * jobs, jobs, strict=True)]
    lines[7], lines[8] = ",cook", "50.1,"
    Path("jobs.csv").write_text("age,job\n" + "\n".join(lines) + "\n")
    assert elboroom("train", "jobs.csv", "--out", "r", *SMALL).code == 0
    Path("new.csv").write_text("job,more,age\nnurse,1,44\n,2,44\ncook,3,\nnurse,4,-300\n")
    result = elboroom("score", "r", "new.csv", "--contributions", "--out", "s.csv")
    assert result.code == 0, result.err
    assert "columns that the model does not use: 'more'" in result.err
    lines_found = lines_of("s.csv")
    assert [line["row"] for line in lines_found] == ["0", "1", "2", "3"]
    assert (lines_found[1]["nats_of_job"], lines_found[2]["nats_of_age"]) == ("0", "0")
    assert (lines_found[3]["verdict"], lines_found[3]["top_1"]) == ("anomalous", "age")
    parts = sum(numbers(lines_found, f"nats_of_{name}") for name in ("age", "job", "latent code"))
    np.testing.assert_allclose(parts, numbers(lines_found, "score_nats"), rtol=3e-6)
    for text, said in (
        ("age,job\n44,pilot\n", "column 'job' has 'pilot' in line 2, which is none of its 2 categories"),
        ("age,work\n44,cook\n", "column 'job' of the training table is missing"),
    ):
        Path("bad.csv").write_text(text)
        result = elboroom("score", "r", "bad.csv")
        assert result.code == 2
        assert said in result.err


def test_categories_that_are_taken_as_missing_are_named(elboroom: Command, undrawn: None) -> None:
    text = "age,job\n" + "".join(f"{i % 37},{('cook', 'nurse')[i % 2]}\n" for i in range(200))
    Path("jobs.csv").write_text(text)
    assert elboroom("train", "jobs.csv", "--unseen", "missing", "--out", "r", *SMALL).code == 0
    Path("new.csv").write_text("age,job\n4,cook\n5,pilot\n")
    for verb in ("score", "embed"):
        result = elboroom(verb, "r", "new.csv")
        assert result.code == 0
        assert "warning: column 'job': 'pilot' in line 3 is taken as missing: no known category" in result.err


def test_lines_of_separators_alone_keep_their_rows(elboroom: Command, trained: Path) -> None:
    """As in a spreadsheet: an empty row between others is a row, and those at the end are none."""
    Path("new.csv").write_text("height,weight,age\n170,63,40\n,,\n\n175,67,30\n,,\n,,\n,,\n,,\n")
    result = elboroom("score", trained / "run", "new.csv", "--out", "s.csv")
    assert result.code == 0, result.err
    assert "skipped new.csv:3: line 3 has nothing in any cell" in result.err
    lines = lines_of("s.csv")
    assert [(line["row"], line["verdict"]) for line in lines] == [
        ("0", "normal"),
        ("1", "skipped"),
        ("2", "normal"),
    ]

"""The comparison itself: one split, resumed wherever it was stopped, honest gaps."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from elboroom import VAE, compare, fit, load_data, recipe
from elboroom.comparison import Comparison
from elboroom.comparison.progress import ComparisonProgress
from elboroom.comparison.runs import Job
from elboroom.comparison.summary import METRICS
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate
from elboroom.runs.run import Run
from elboroom.training.prepare import prepare
from elboroom.training.signals import Stopped

from .conftest import SMALL, numbers, small, summary


def test_all_runs_have_one_split_and_seeds_of_their_own() -> None:
    found = small("vae,ae", seed=4)
    runs = {path.relative_to("cmp").as_posix(): Run(path) for path in Path("cmp").glob("*/seed-*")}
    assert set(runs) == {"vae/seed-4", "vae/seed-5", "ae/seed-4", "ae/seed-5"}
    assert len({run.environment["data_fingerprint"] for run in runs.values()}) == 1
    assert {name: run.config.training.seed for name, run in runs.items()} == {
        name: int(name[-1]) for name in runs
    }
    assert found.rows[0]["elbo"] != found.rows[1]["elbo"]
    assert {row["examples"] for row in found.rows} == {180}


def test_the_first_weights_are_those_of_train() -> None:
    small("vae", seeds=1)
    config = recipe("vae", epochs=1, validation=0.0, **SMALL)
    data = load_data("digits")
    torch.manual_seed(0)
    vae = VAE.build(config.model, shape=data.shape, scale=data.scale)
    fit(vae, data, config=config, quiet=True)
    x = data.values(data.indices("test"))
    assert torch.equal(vae.embed(x), Run("cmp/vae/seed-0").model().embed(x))


def test_what_a_model_has_not_is_a_gap_with_a_reason() -> None:
    found = small("vae,ae,vq-vae", seeds=1)
    columns = {*(metric.name for metric in METRICS), "nll_stderr"}
    gaps = {row["recipe"]: {key for key in columns if row[key] is None} for row in found.rows}
    none = {"nll", "nll_stderr"}
    assert gaps == {"vae": set(), "ae": {"elbo", "rate", *none}, "vq-vae": none}
    lines = found.markdown().splitlines()
    assert lines[3].startswith("| ae ")
    assert lines[3].count("–¹") == 3  # ELBO, NLL, rate
    assert lines[4].count("–²") == 1  # NLL
    assert any(line.startswith("¹ posterior deterministic: ") for line in lines)
    assert any(line.startswith("² posterior vq: ") for line in lines)


def test_numbers_add_up() -> None:
    for row in small("vae,svae,iaf", seeds=1).rows:
        assert row["elbo"] == pytest.approx(-(row["distortion"] + row["rate"]), rel=1e-12)


# Stopped and resumed.

RECIPES = "vae,beta-vae"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return numbers(small(RECIPES, tmp_path_factory.mktemp("whole") / "cmp", epochs=3))


def _stop_at(monkeypatch: pytest.MonkeyPatch, name: str, epoch: int, number: int) -> None:
    """Send this process a signal when a run has done so many epochs; only once."""
    plain, sent = ComparisonProgress.epochs, list[int]()

    def epochs(self: ComparisonProgress, job: Any, done: int) -> None:
        plain(self, job, done)
        if (job.folder.parent.name, done) == (name, epoch) and not sent:
            sent.append(1)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(ComparisonProgress, "epochs", epochs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_inside_a_run(
    number: int, monkeypatch: pytest.MonkeyPatch, whole: list[dict[str, Any]]
) -> None:
    _stop_at(monkeypatch, "beta-vae", 1, number)
    with pytest.raises(Stopped, match="stopped after 1 of 4 runs; the same command continues") as stopped:
        small(RECIPES, epochs=3)
    assert stopped.value.signal_number == number
    assert len(Run("cmp/beta-vae/seed-0").history) == 1
    assert numbers(small(RECIPES, epochs=3)) == whole


def test_stopped_between_training_and_measuring(
    monkeypatch: pytest.MonkeyPatch, whole: list[dict[str, Any]]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("elboroom.comparison.runs.evaluate", stop)
        with pytest.raises(Stopped, match="stopped after 0 of 4"):
            small(RECIPES, epochs=3)
    assert numbers(small(RECIPES, epochs=3)) == whole


def test_killed_before_the_first_checkpoint(
    monkeypatch: pytest.MonkeyPatch, whole: list[dict[str, Any]]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("elboroom.training.storage.Storage.save", stop)
        with pytest.raises(Stopped):
            small(RECIPES, epochs=3)
    assert Path("cmp/vae/seed-0/config.json").exists()
    assert numbers(small(RECIPES, epochs=3)) == whole


def test_killed_inside_a_run(whole: list[dict[str, Any]], popen: type[subprocess.Popen[bytes]]) -> None:
    code = f"""
import os, signal
from elboroom import compare
from elboroom.comparison.progress import ComparisonProgress
plain = ComparisonProgress.epochs
def epochs(self, job, done):
    if job.recipe == "beta-vae" and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
ComparisonProgress.epochs = epochs
compare("digits", {RECIPES!r}, out="cmp", seeds=2, epochs=3, nll_samples=5, quiet=True, **{SMALL!r})
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with popen([sys.executable, "-c", code], env=environment) as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    table = list(csv.DictReader(io.StringIO(Path("cmp/table.csv").read_text())))
    assert [(row["recipe"], row["seed"]) for row in table] == [("vae", "0")]  # what was done is there
    assert numbers(small(RECIPES, epochs=3)) == whole


def test_two_cannot_write_one_folder() -> None:
    from elboroom.io.files import lock_folder

    small("vae", seeds=1)
    lock = lock_folder(Path("cmp"))
    with pytest.raises(UsageError, match="being written by another"):
        small("vae", seeds=2)
    lock.release()


# Failures.


def test_a_run_that_fails_does_not_end_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(99))

    def fail_twice(vae: Any, *args: Any, **more: Any) -> Any:
        found = evaluate(vae, *args, **more)
        return found | {"nll": float("nan")} if next(calls) in (1, 2) else found

    with monkeypatch.context() as patch:
        patch.setattr("elboroom.comparison.runs.evaluate", fail_twice)
        found = small("vae,beta-vae")
    assert [(row["recipe"], row["seed"], row["reason"]) for row in found.failed] == [
        ("vae", 1, "its nll on test examples is nan"),
        ("beta-vae", 0, "its nll on test examples is nan"),
    ]
    assert "| 1 of 2¹ |" in found.markdown()
    assert "¹ vae, seed 1 failed: its nll on test examples is nan" in found.markdown()
    assert small("vae,beta-vae").failed == []  # tried again


def test_a_divergence_is_a_failure_with_its_reason() -> None:
    found = small("vae,beta-vae", lr=1e30, seeds=1)
    assert len(found.failed) == 2
    # Training gives up, or ends on weights that give no number.
    assert all("in epoch 1" in row["reason"] or "is nan" in row["reason"] for row in found.failed)


def test_a_bug_is_a_failure_unless_its_traceback_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("elboroom.comparison.runs.evaluate", bug)
    assert [row["reason"] for row in small("vae", seeds=1).failed] == ["ZeroDivisionError: division by zero"]
    monkeypatch.setenv("ELBOROOM_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        small("vae", seeds=1)


# Validation.


def test_every_seed_holds_out_the_same_examples() -> None:
    found = small("vae", validation=0.1, patience=1, seeds=1)
    assert Run("cmp/vae/seed-0").history[0]["val_elbo"] < 0
    assert found.rows[0]["split"] == "test"
    more = small("vae", validation=0.1, patience=1, seeds=2)
    assert numbers(more)[0] == numbers(found)[0]
    runs = [Run(f"cmp/vae/seed-{seed}") for seed in (0, 1)]
    assert [run.config.data.split_seed for run in runs] == [0, 0]
    held_out = [prepare(load_data("digits"), run.config).indices("validation") for run in runs]
    assert np.array_equal(*held_out)
    assert len(held_out[0]) == 162
    other = prepare(load_data("digits"), runs[1].config.updated(split_seed=None))
    assert not np.array_equal(other.indices("validation"), held_out[0])


def test_without_a_test_part_validation_is_measured() -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    np.savez("x.npz", images=x, split=np.repeat([0, 2], [50, 10]))
    found = compare("x.npz", "vae", out="cmp", seeds=2, epochs=1, nll_samples=3, quiet=True, hidden=[4])
    assert [(row["split"], row["examples"]) for row in found.rows] == [("validation", 10)] * 2
    np.savez("y.npz", images=x, split=np.zeros(60))
    with pytest.raises(UsageError, match="no test and no validation examples"):
        compare("y.npz", "vae", out="cmp-y", epochs=1, quiet=True)


# Tables.


def _compared(*summaries: Any) -> Comparison:
    return Comparison(list(summaries), "digits", 100)


def test_markdown_is_aligned_and_marks_what_is_clear() -> None:
    good, bad = summary("vamp", -90.0, -90.1, -89.9), summary("vae", -100.0, -100.1, -99.9)
    lines = _compared(bad, good).markdown().splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    # t(2 degrees, 97.5 %) · 0.1 / √3 = 0.248
    assert cells[:5] == ["vamp", "3", "**-90.00 ± 0.25**", "**89.00 ± 0.25**", "0.06"]
    assert "**" not in lines[2]
    assert sum("Marked" in line for line in lines) == 1


def test_noise_and_a_single_seed_are_no_win() -> None:
    noise = _compared(summary("a", -100.0, -101.0), summary("b", -100.2, -100.9)).markdown()
    assert "**" not in noise
    assert "ELBO and NLL: no recipe is significantly best: the intervals overlap." in noise
    single = _compared(summary("a", -100.0), summary("b", -50.0)).markdown()
    assert "**" not in single
    assert "±" not in single.splitlines()[2].replace("± MC", "")
    assert "one seed gives no interval" in single


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_that_is_too_wide_becomes_several(width: int) -> None:
    found = _compared(summary("vae", -100.0, -100.1), summary("beta-vae:beta=2", -90.0, -90.1))
    narrow, wide = found.text(width), found.text()
    assert max(map(len, narrow.splitlines())) <= width
    assert sorted(set(narrow.split())) == sorted(set(wide.split()))
    for line in narrow.split("\n\n")[:-1]:
        assert [row.split()[0] for row in line.splitlines()] == ["recipe", "vae", "beta-vae:beta=2"]
        assert ("NLL" in line) == ("± MC" in line)  # an error beside its number


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_runs_line_fits_a_terminal(width: int) -> None:
    screen = io.StringIO()
    config = recipe("vae", epochs=3)
    jobs = [Job.of(Path("cmp"), name, config, 0) for name in ("vae", "two-stage-vae") * 5]
    console = Console(file=screen, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    row = {"elbo": -2005.25, "nll": 1999.5, "nll_stderr": 0.1, "distortion": 1500.0, "rate": 505.25}
    with ComparisonProgress(jobs, console=console) as shown:
        for job in jobs[:2]:
            shown.begin(job)
            shown.epochs(job, 2)
            shown.end(job, row)
    lines = [re.sub(r"\x1b\[[?\d;]*\w", "", line) for line in re.split(r"[\r\n]", screen.getvalue())]
    assert max(len(line.rstrip()) for line in lines) <= width
    ended = [line for line in lines if "ELBO" in line]
    assert len(ended) == 2
    assert all("ELBO -2005.25  NLL 1999.50" in line for line in ended)
    assert ("distortion 1500.00" in ended[0]) == (width == 120)


def test_likelihoods_of_other_kinds_are_not_set_against_each_other() -> None:
    text = _compared(
        summary("vae", -100.0, -100.1), summary("sigma-vae", 50.0, 50.1, likelihood="gaussian")
    ).text()
    assert "*50" not in text
    assert "only within each group: bernoulli | gaussian." in text


def test_csv_has_a_line_for_every_run_and_all_digits() -> None:
    found = small("vae,ae")
    rows = list(csv.DictReader(io.StringIO(Path("cmp/table.csv").read_text())))
    assert [float(row["distortion"]) for row in rows] == [row["distortion"] for row in found.rows]
    assert [row["nll"] == "" for row in rows] == [False, False, True, True]
    means = list(csv.DictReader(io.StringIO(Path("cmp/summary.csv").read_text())))
    assert float(means[0]["elbo"]) == pytest.approx(
        np.mean([row["elbo"] for row in found.rows[:2]]), rel=1e-12
    )
    # Two values: half the interval is t(1 degree, 97.5 %) = 12.7062 times half their distance.
    distance = abs(found.rows[0]["elbo"] - found.rows[1]["elbo"])
    assert float(means[0]["elbo_ci95"]) == pytest.approx(12.7062 * distance / 2, rel=1e-5)
    assert Path("cmp/table.md").read_text() == found.markdown()
    assert Path("cmp/table.png").read_bytes().startswith(b"\x89PNG")


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="seeds = 0: must be at least 1"):
        small("vae", seeds=0)
    with pytest.raises(UsageError, match="nll_samples = 0: must be at least 1"):
        small("vae", nll_samples=0)

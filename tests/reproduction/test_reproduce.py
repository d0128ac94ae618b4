"""``elboroom reproduce``: an entry of a second through the real command, stopped and continued."""

from __future__ import annotations

import json
import math
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from tests.reproduction.conftest import TINY

from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.data.batches import Batches
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation import evaluate
from elboroom.evaluation.fitting import fit_prior, sampled_codes
from elboroom.evaluation.picture_features import frechet_distance
from elboroom.latent.arrays import seeded
from elboroom.reproduction import Entry, measuring
from elboroom.reproduction.reproducing import Job, reproduce, state_of
from elboroom.reproduction.results import read_record
from elboroom.runs.run import Run
from elboroom.training.loop import Training
from elboroom.training.signals import Stopped


def job(entry: Entry, out: Path, **more: Any) -> Job:
    return Job(entry, "a", 0, out, device="cpu", **more)


@pytest.fixture
def done(tiny: Entry, tmp_path: Path) -> dict[str, Any]:
    """The result of one uninterrupted run."""
    found = reproduce(job(tiny, tmp_path / "whole"), quiet=True)
    assert found is not None
    return found


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_one_record_of_each_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["reproduce", "tiny", "--out", out, "--seed", "3", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "published  40 nats" in printed
    assert "verdict    not reached" in printed
    found = json.loads((tmp_path / "out" / "tiny-b-seed-3.json").read_text())
    assert found == read_record(tmp_path / "out" / "tiny-b-seed-3.json")
    assert found["setting"]["num_samples"] == 2
    assert found["published"] == {
        "value": 1.0, "unit": "nats", "title": "negative log-likelihood of the test set",
    }  # fmt: skip
    assert not found["reached"]
    assert not found["shortened"]
    assert (found["epochs"], found["seed"], found["ours"]["examples"]) == (3, 3, 180)
    assert found["command"] == "elboroom reproduce tiny --rows b --seed 3"
    assert found["machine"]["device"] == "cpu"
    assert found["seconds"]["training"] > 0
    assert str(tmp_path) not in json.dumps(found)
    before = (tmp_path / "out" / "tiny-b-seed-3.json").read_bytes()
    assert main(["reproduce", "tiny", "--out", out, "--seed", "3", "--json"]) == 0  # nothing is done twice
    assert (tmp_path / "out" / "tiny-b-seed-3.json").read_bytes() == before
    assert [json.loads(line)["row"] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]


def test_the_number_is_that_of_evaluate(tiny: Entry, tmp_path: Path, done: dict[str, Any]) -> None:
    """Another draw of pixels and codes: their errors, and nothing else, may lie between the two."""
    run = Run(job(tiny, tmp_path / "whole").folder)
    data = load_data("digits")
    batches = Batches(data, torch.device("cpu"), binarize="stochastic")
    draws = [
        evaluate(run.model(), batches, data.indices("test"), num_samples=50, seed=seed)["nll"]
        for seed in range(5)
    ]
    # Means over 180 examples of pixels drawn anew: five of them give the spread, four times which is allowed.
    assert done["ours"]["value"] == pytest.approx(np.mean(draws), abs=4 * np.std(draws, ddof=1))
    assert done["ours"]["error"] < done["ours"]["details"]["error_of_test_set"]


def test_a_stop_in_training_loses_nothing(
    tiny: Entry, tmp_path: Path, done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Training.run
    monkeypatch.setattr(
        Training,
        "run",
        lambda self, **more: whole(self, lambda *_: signal.raise_signal(signal.SIGTERM), **more),
    )
    part = job(tiny, tmp_path / "parts")
    assert state_of(part) == "not run yet"
    for epochs in (1, 2):
        with pytest.raises(Stopped, match="the same command continues") as stopped:
            reproduce(part, quiet=True)
        assert stopped.value.signal_number == signal.SIGTERM
        assert state_of(part) == f"{epochs} of 3 epochs trained"
    monkeypatch.undo()
    found = reproduce(part, quiet=True)
    assert found is not None
    assert found["ours"]["value"] == done["ours"]["value"]
    assert found["epochs"] == 3
    assert state_of(part) == f"{found['ours']['value']:.2f} ± 0.01 nats, not reached"


def test_a_kill_in_measuring_keeps_the_chunks(
    tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "CHUNK", 50)
    uncut = reproduce(job(tiny, tmp_path / "uncut"), quiet=True)
    real, calls = measuring._measure_chunk, []

    def dies(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise MemoryError
        return real(*args)

    monkeypatch.setattr(measuring, "_measure_chunk", dies)
    cut = job(tiny, tmp_path / "cut")
    with pytest.raises(MemoryError):
        reproduce(cut, quiet=True)
    assert state_of(cut) == "trained; 100 test examples measured"
    found = reproduce(cut, quiet=True)
    assert len(calls) == 3 + 2  # two chunks were kept
    assert uncut is not None
    assert found is not None
    assert found["ours"]["value"] == uncut["ours"]["value"]
    assert found["ours"]["error"] == uncut["ours"]["error"]


def test_minutes_end_in_a_state_that_continues(
    tiny: Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Early(threading.Timer):
        def __init__(self, seconds: float, function: Any):
            assert seconds == pytest.approx(9 * 60, abs=60)  # less what loading took
            super().__init__(0, function)

        def start(self) -> None:
            self.function()

    monkeypatch.setattr(threading, "Timer", Early)
    arguments = ["reproduce", "tiny", "--rows", "a", "--out", str(tmp_path)]
    assert main([*arguments, "--minutes", "9"]) == 0
    printed = capsys.readouterr()
    assert "stopped after 9 minutes: 0 of 3 epochs trained; the same command continues" in printed.err
    assert not printed.out
    monkeypatch.undo()
    assert reproduce(job(tiny, tmp_path), quiet=True) is not None


def test_fewer_epochs_are_marked_and_do_not_mix(tiny: Entry, tmp_path: Path) -> None:
    found = reproduce(job(tiny, tmp_path, epochs=1), quiet=True)
    assert found is not None
    assert found["shortened"]
    assert found["command"] == "elboroom reproduce tiny --rows a --epochs 1 --seed 0"
    job(tiny, tmp_path).record.unlink()
    with pytest.raises(UsageError, match=r"was started with epochs = 1, and epochs = 3"):
        reproduce(job(tiny, tmp_path), quiet=True)


def test_kept_chunks_of_another_seed_are_refused(tiny: Entry, tmp_path: Path) -> None:
    own = job(tiny, tmp_path)
    reproduce(own, quiet=True)
    own.record.unlink()
    (chunk,) = (own.folder / "likelihood").glob("*.json")
    found = json.loads(chunk.read_text())
    chunk.write_text(json.dumps({**found, "seed": 7}))
    with pytest.raises(UsageError, match="belongs to another measurement"):
        reproduce(own, quiet=True)
    chunk.write_text("{")
    with pytest.raises(UsageError, match=r"0000\.json"):
        reproduce(own, quiet=True)


def test_a_likelihood_that_is_no_number_is_no_result(
    tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "log_weights", lambda *_: torch.full((50, 180), math.nan))
    with pytest.raises(FailureError, match="not finite"):
        reproduce(job(tiny, tmp_path), quiet=True)
    assert not job(tiny, tmp_path).record.exists()


class Columns:
    """Sums of pixels as features, in place of Inception's."""

    name = "sums of columns"

    def features(self, images: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(images).sum((1, 3))


def test_distances_are_those_of_draws_from_a_fitted_mixture(tmp_path: Path) -> None:
    options = {**TINY.options, "binarize": "none", "posterior": "deterministic", "beta": 0.0}
    entry = replace(TINY, options=options, kind="fid", samples=0)
    found = reproduce(job(entry, tmp_path), features=Columns(), quiet=True)
    assert found is not None
    assert found["ours"]["details"]["features"] == "sums of columns"
    assert found["ours"]["details"]["prior"] == "GaussianMixture"
    run, data = Run(job(entry, tmp_path).folder), load_data("digits")
    where, vae = torch.device("cpu"), Run(job(entry, tmp_path).folder).model()
    codes = sampled_codes(vae, Batches(data, where), data.indices("train"), seed=0)
    drawing = vae.with_prior(fit_prior(codes, seed=0).density)
    with seeded(drawing, 0):
        draws = drawing.sample(180).detach().double().numpy().clip(0, 1)
    test = data.values(data.indices("test")).astype(np.float64)
    expected = frechet_distance(test.sum((1, 3)), draws.sum((1, 3)))
    assert found["ours"]["value"] == pytest.approx(expected, rel=1e-6)
    assert run.status.state == "trained"
    with pytest.raises(UsageError, match="measured on features of Inception; give them as features"):
        reproduce(job(entry, tmp_path / "other"), quiet=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no published result 'nothing'"),
        (["vamp", "--fast"], "vamp has no fast setting; --fast exists for iwae-l1, iwae-l2, iwae-static"),
        (["iwae-l1", "--rows", "vae-2"], "iwae-l1 has no row 'vae-2'"),
        (["rae-fid"], "rae-fid is measured on features of Inception; --features FILE gives its weights"),
        (["iwae-l1", "--minutes", "0"], "--minutes"),
    ],
    ids=["name", "fast", "row", "features", "minutes"],
)
def test_refusals_name_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["reproduce", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_list_shows_each_row_and_its_state(
    tiny: Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce(job(tiny, tmp_path), quiet=True)
    assert main(["reproduce", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "iwae-l1: one stochastic layer" in printed
    assert "nats, not reached" in printed
    assert main(["reproduce", "--out", str(tmp_path), "--json"]) == 0
    states = json.loads(capsys.readouterr().out)
    assert states["tiny"]["b"] == "not run yet"
    assert states["rae-fid"]["rae"] == "not run yet; needs weights of Inception"

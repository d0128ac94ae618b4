"""What becomes of a training whose trackers fail, are slow, or are not there; and what is sent when."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom import VAE, Config, Run, fit
from elboroom.cli import training_run
from elboroom.cli.main import main
from elboroom.errors import FailureError, UsageError
from elboroom.tracking import choice, send, sending
from elboroom.tracking.memory import Memory
from elboroom.tracking.tracker import Subject, Tracker

X = np.random.default_rng(0).integers(0, 256, (60, 5, 5), dtype=np.uint8)


class Fake(Tracker):
    """Keeps what it is given; fails or waits where a test wants it."""

    def __init__(self) -> None:
        self.hint = "look there"
        self.rows: list[int] = []
        self.figures: list[tuple[str, int]] = []
        self.begun = self.closed = 0
        self.failures: dict[str, list[Exception]] = {}
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _fail(self, what: str) -> None:
        self.may_go_on.wait(60)
        if self.failures.get(what):
            raise self.failures[what].pop()

    def begin(self, run: Subject) -> int:
        self._fail("begin")
        self.begun += 1
        self.parameters = run.parameters
        return max(self.rows, default=-1)

    def row(self, step: int, numbers: Mapping[str, float]) -> None:  # noqa: ARG002
        self._fail("row")
        self.rows.append(step)

    def results(self, step: int, numbers: Mapping[str, float]) -> None:  # noqa: ARG002
        self.numbers = dict(numbers)

    def figure(self, name: str, path: Path, step: int) -> None:  # noqa: ARG002
        self.figures.append((name, step))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    tracker = Fake()
    monkeypatch.setitem(choice.KINDS, "mlflow", choice._Kind(("json",), lambda: tracker))
    return tracker


def _vae() -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VAE.build(shape=(5, 5, 1), latent_dim=2, hidden=[4])


def _train(out: Path, **options: Any) -> list[dict[str, Any]]:
    return fit(_vae(), X, out=out, quiet=True, **{"epochs": 3, "track": "mlflow", **options})


def _steps(run: Path) -> list[int]:
    return [row["step"] for row in Run(run).history]


def test_a_tracker_that_fails_says_one_line_and_the_training_goes_on(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failures["begin"] = [OSError("no route\nto host")] * 100
    history = _train(tmp_path / "run", epochs=10)
    assert len(history) == 10
    assert fake.rows == []
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == ("elboroom: mlflow failed: no route to host; training continues, and tries again")
    assert len(lines) == 2  # and one at the end, with what to do
    assert lines[1].endswith("--to mlflow' sends what is missing")

    fake.failures.clear()
    assert send(tmp_path / "run", "mlflow") == ["mlflow: look there"]
    assert fake.rows == _steps(tmp_path / "run")


def test_a_tracker_that_comes_back_gets_what_it_missed(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failures["begin"] = [OSError("no network")]
    _train(tmp_path / "run")
    assert fake.rows == _steps(tmp_path / "run")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_row_that_failed_is_sent_again_and_none_twice(fake: Fake, tmp_path: Path) -> None:
    fake.failures["row"] = [OSError("lost"), ValueError("refused")]
    for epochs in (1, 2, 4):
        _train(tmp_path / "run", epochs=epochs, resume=epochs > 1)
    assert fake.rows == _steps(tmp_path / "run")
    assert fake.begun == fake.closed == 3


def test_a_tracker_that_hangs_does_not_stop_a_training(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_BEGIN_SECONDS", 0.01)
    monkeypatch.setattr(sending.Tracking.close, "__defaults__", (0.01,))
    fake.may_go_on.clear()
    assert len(_train(tmp_path / "run")) == 3
    fake.may_go_on.set()
    first, *_, last = capsys.readouterr().err.splitlines()
    assert "mlflow does not answer" in first
    assert "has not taken everything" in last


def test_only_what_the_history_on_the_disk_holds_is_sent(fake: Fake, tmp_path: Path) -> None:
    run, seen = tmp_path / "run", []

    def note(vae: VAE, row: dict[str, Any]) -> None:
        seen.append((set(fake.rows), set(_steps(run))))

    _train(run, epochs=30, on_epoch=note)
    assert all(sent <= written for sent, written in seen)
    assert fake.rows == _steps(run)


def test_results_are_sent_when_they_are_those_of_the_model(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def draw(vae: VAE, data: Any, history: list[dict[str, Any]], folder: Path, **_: Any) -> list[Path]:
        Image.new("L", (len(history), 1)).save(folder / "loss.png")  # another one after more epochs
        return [folder / "loss.png"]

    monkeypatch.setattr(training_run, "draw_all", draw)
    main(
        [
            *("train", "digits", "--epochs", "5", "--hidden", "4", "--figures-every", "2", "--out", str(run)),
            *("--track", "mlflow", "--quiet"),
        ]
    )
    steps = _steps(run)
    assert ("figures/progress/epoch_0002", steps[1]) in fake.figures
    assert ("figures/loss", steps[-1]) in fake.figures
    assert fake.numbers["test/elbo"] == Run(run).metrics["elbo"]
    assert fake.parameters["training.track"] == "mlflow"
    assert fake.parameters["model.hidden"] == "[4]"
    main(["resume", str(run), "--epochs", "6", "--quiet"])
    assert [step for name, step in fake.figures if name == "figures/loss"] == [steps[-1], _steps(run)[-1]]
    assert Run(run).config.training.track == "mlflow"
    main(["resume", str(run), "--epochs", "7", "--track", "none", "--quiet"])
    assert len(fake.rows) == 6
    assert Run(run).config.training.track is None


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(choice.KINDS, "wandb", choice._Kind(("no_such_module",), Fake))
    with pytest.raises(UsageError, match=r"wandb is not installed; pip install 'elboroom\[wandb\]'"):
        _train(tmp_path / "run", track="wandb")
    assert main(["train", "digits", "--out", str(tmp_path / "run"), "--track", "wandb"]) == 2
    assert "--track wandb: wandb is not installed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_trackers_are_named_and_need_a_run(fake: Fake, tmp_path: Path) -> None:
    assert Config().updated(track=["mlflow", "tensorboard"]).training.track == "mlflow,tensorboard"
    assert Config().updated(track="none").training.track is None
    with pytest.raises(UsageError, match="'tensorbord' is no tracker; did you mean 'tensorboard'"):
        Config().updated(track="mlflow,tensorbord")
    with pytest.raises(UsageError, match="needs out=, a run folder"):
        fit(_vae(), X, track="mlflow", quiet=True)
    with pytest.raises(UsageError, match="name at least one of"):
        send(tmp_path, "none")


def test_a_damaged_memory_is_refused(fake: Fake, tmp_path: Path) -> None:
    _train(tmp_path / "run")
    path = tmp_path / "run/tracking/mlflow.json"
    path.write_text('{"key": 3}')
    with pytest.raises(UsageError, match="is damaged: it does not hold what was sent; remove it"):
        _train(tmp_path / "run", epochs=4, resume=True)
    path.unlink()
    assert Memory.read(tmp_path / "run", "mlflow").figures == {}


def test_a_failing_tracker_makes_send_fail(fake: Fake, tmp_path: Path) -> None:
    _train(tmp_path / "run", track=None)
    fake.failures["row"] = [OSError("full")] * 10
    with pytest.raises(FailureError, match="mlflow failed: full"):
        send(tmp_path / "run", "mlflow")


def test_overwriting_a_run_forgets_what_was_sent(fake: Fake, tmp_path: Path) -> None:
    _train(tmp_path / "run")
    key = Memory.read(tmp_path / "run", "mlflow").key
    fake.rows.clear()
    _train(tmp_path / "run", overwrite=True)
    assert Memory.read(tmp_path / "run", "mlflow").key != key
    assert fake.rows == _steps(tmp_path / "run")


def test_all_runs_of_a_comparison_are_tracked(fake: Fake, tmp_path: Path) -> None:
    from elboroom import compare

    names: list[str] = []
    begin = fake.begin
    fake.begin = lambda run: (names.append(run.name), begin(run), -1)[-1]  # type: ignore[method-assign]
    compare("digits", ["vae"], out=tmp_path, seeds=2, epochs=2, hidden=[4], track="mlflow", quiet=True)
    assert set(names) == {"vae/seed-0", "vae/seed-1"}
    assert sorted(fake.rows) == sorted(_steps(tmp_path / "vae/seed-0") * 2)
    # The same comparison goes on without them.
    options: dict[str, Any] = {"seeds": 3, "epochs": 2, "hidden": [4], "quiet": True}
    compare("digits", ["vae"], out=tmp_path, **options)
    assert (tmp_path / "vae/seed-2").exists()
    assert set(names) == {"vae/seed-0", "vae/seed-1"}

"""Each tracker holds exactly what history.jsonl holds: read back with its own tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom import VAE, Run, fit
from elboroom.tracking import send

from .readers import READERS, Found

pytestmark = pytest.mark.filterwarnings("default")  # those of the trackers are not ours

X = np.random.default_rng(0).integers(0, 256, (60, 5, 5), dtype=np.uint8)


@pytest.fixture(params=sorted(READERS), autouse=True)
def tracker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    pytest.importorskip(name, reason=f"reading back what {name} was sent needs {name}")
    if name == "mlflow":
        pytest.importorskip("sqlalchemy", reason="MLflow's local store needs sqlalchemy")
    monkeypatch.chdir(tmp_path)  # where MLflow keeps artifacts
    for variable, value in _surroundings(tmp_path).items():
        monkeypatch.setenv(variable, value)
    if name == "trackio":
        import trackio.sqlite_storage as storage

        monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    return name


def _surroundings(folder: Path) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(folder / "trackio"),
        "TRACKIO_DISABLE_TELEMETRY": "1",
    }


def _vae() -> VAE:
    return VAE.build(shape=(5, 5, 1), latent_dim=2, hidden=[4])


def _expected(run: Path) -> list[tuple[str, int, float]]:
    rows = Run(run).history
    return sorted(
        (name, row["step"], float(value)) for row in rows for name, value in row.items() if value is not None
    )


def _check(found: Found, run: Path, tracker: str) -> None:
    columns = {name for row in Run(run).history for name in row}
    points = sorted((name, step, float(value)) for name, step, value in found.points if name in columns)
    if tracker == "tensorboard":  # keeps numbers as float32
        expected = [(name, step, float(np.float32(value))) for name, step, value in _expected(run)]
        assert points == sorted(expected)
    else:
        assert points == _expected(run)


def test_rows_figures_and_configuration_arrive_and_a_resumed_run_continues(
    tracker: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(_vae(), X, out=run, epochs=3, track=tracker, quiet=True, clip=1.0, batch_size=20, lr=0.002)
    found = READERS[tracker](run)
    assert len({step for _, step, _ in found.points}) == 3
    _check(found, run, tracker)
    assert float(found.parameters["optimizer.lr"]) == 0.002
    assert str(found.parameters["model.latent_dim"]).removesuffix(".0") == "2"

    figure, drawn = run / "figures" / "loss.png", run / "figures" / "progress" / "epoch_0002.png"
    for path in (figure, drawn):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(path)
    Run(run).write_metrics({"split": "test", "elbo": -12.5, "nll": None})
    fit(_vae(), X, out=run, resume=True, epochs=5, quiet=True)
    found = READERS[tracker](run)
    _check(found, run, tracker)
    assert set(found.figures) >= {"figures/loss"}
    assert found.figures["figures/loss"] in (None, Run(run).history[-1]["step"])
    if tracker != "wandb":  # in its summary
        assert [value for name, _, value in found.points if name == "test/elbo"] == [-12.5]

    assert send(run, tracker)  # there is nothing left to send
    again = READERS[tracker](run)
    assert sorted(again.points) == sorted(found.points)


def test_a_killed_run_continues_the_same_curve(
    tracker: str, tmp_path: Path, popen: type[subprocess.Popen[bytes]]
) -> None:
    run = tmp_path / "run"
    job = """
import os, sys, time
import numpy as np
from elboroom import VAE, fit
from elboroom.training.checkpoints import saving
saving.PAUSE = (0.0, 0.0)
saving.SHARE = 1.0
def kill(vae, row):
    time.sleep(0.05)
    if row["epoch"] == 9:
        os._exit(9)
x = np.random.default_rng(0).integers(0, 256, (60, 5, 5), dtype=np.uint8)
vae = VAE.build(shape=(5, 5, 1), latent_dim=2, hidden=[4])
fit(vae, x, out=sys.argv[1], epochs=12, track=sys.argv[2], quiet=True, batch_size=20, on_epoch=kill)
"""
    # Not the service of wandb that serves this process.
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    surroundings = {**own, **_surroundings(tmp_path)}
    words = [sys.executable, "-c", job, str(run), tracker]
    with popen(words, env=surroundings, stderr=subprocess.PIPE) as process:
        _, told = process.communicate()
    assert process.returncode == 9, told.decode()
    assert 1 < len(Run(run).history) < 9  # the newest rows were lost with the process
    fit(_vae(), X, out=run, resume=True, quiet=True)
    assert len(Run(run).history) == 12
    _check(READERS[tracker](run), run, tracker)


def test_a_run_trained_without_trackers_can_be_sent(tracker: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(_vae(), X, out=run, epochs=2, quiet=True)
    hints: Any = send(Run(run), [tracker])
    assert [hint.split(":")[0] for hint in hints] == [tracker]
    _check(READERS[tracker](run), run, tracker)

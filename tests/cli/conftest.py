"""A command line without a network, and small runs made through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom.cli.main import main

SMALL = ["--hidden", "16", "--epochs", "2", "--batch-size", "16", "--figures-every", "0", "--quiet"]
"""Options of a training that takes no time."""


@dataclass(frozen=True)
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines of standard error."""
        return self.err.splitlines()


Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test is in a folder of its own, with its own cache, no local data, and one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / ".cache"))
    monkeypatch.delenv("ELBOROOM_DATA", raising=False)
    monkeypatch.setenv("ELBOROOM_MIRROR", "http://127.0.0.1:9")  # nobody listens there
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def elboroom(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process."""

    def run(*argv: Any) -> Result:
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as stop:  # --help
            code = int(stop.code or 0)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures at the end of training, which take seconds."""
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])


@dataclass(frozen=True)
class World:
    """Data of each kind, and a run of each."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / {"images": "images.npz", "table": "table.csv"}.get(name, name)


def _write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 6, 6), dtype=np.uint8)
    # A split of its own, so that nothing more is held out for validation.
    np.savez(
        folder / "images.npz", images=x, labels=np.arange(60) % 3, split=np.repeat([0, 2, 1], [40, 8, 12])
    )
    lines = ["a,b,c,label"]
    lines += [f"{a:.3f},{b:.3f},{c:.3f},{'cat' if a > 0 else 'dog'}" for a, b, c in rng.normal(size=(20, 3))]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    for i in range(20):
        path = folder / "photos" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """``images.npz``, ``table.csv`` and ``photos``, and runs ``run``, ``table_run`` and ``photo_run``."""
    folder = tmp_path_factory.mktemp("world")
    _write_data(folder)
    found = World(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELBOROOM_CACHE", str(folder / "cache"))
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        for data, run, more in (
            ("images.npz", "run", []),
            ("table.csv", "table_run", ["--likelihood", "gaussian"]),
            ("photos", "photo_run", ["--latent-dim", "3"]),
        ):
            code = main(["train", str(folder / data), "--out", str(folder / run), *SMALL, *more])
            assert code == 0
    return found

"""Worker processes that take turns, at tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.engine.cases import Case, Net
from benchmarks.engine.programs import Job
from benchmarks.engine.report import absences
from benchmarks.engine.rounds import Workers, measure
from benchmarks.engine.worker import megabytes, piece_size

NET = Net((4, 4, 1), (8,), 2)
CASE = Case("tiny", "mlp", "train", NET, batch=8, examples=64, programs=("elboroom", "jax", "products"))


def test_rounds_and_a_missing_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "packages" / "jax"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ModuleNotFoundError('No module named jax', name='jax')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said: list[str] = []
    with Workers("cpu") as workers:
        rows = measure(CASE, workers, rounds=3, seconds=0.01, folder=tmp_path, say=said.append)
        versions = workers.versions()
        # The same processes serve the next case.
        nll = Case("nll", "nll", "nll", NET, examples=64, per=1000, num_samples=10, programs=("products",))
        (again,) = measure(nll, workers, rounds=1, seconds=0.01, folder=tmp_path)
    assert [row["program"] for row in rows] == ["elboroom", "jax", "products"]
    ours, jax, products = rows
    assert jax["absent"].startswith("jax is not installed: pip install")
    assert said == [f"  jax: {jax['absent']}"]
    assert absences(rows) == [f"JAX, cpu: {jax['absent']} (tiny)"]
    assert versions["jax"] is None
    assert versions["elboroom"] is not None
    for row in (ours, products):
        assert len(row["images_per_second"]["rounds"]) == 3
        assert row["images_per_round"] % 8 == 0
    assert products["images_per_second_with_optimizer"]["median"] < products["images_per_second"]["median"]
    assert again["images_per_second"]["median"] > 0
    assert "images_per_second_with_optimizer" not in again


def test_too_little_memory_is_named(tmp_path: Path) -> None:
    huge = Case("huge", "scaling", "train", NET, examples=10**12, programs=("elboroom",))
    with Workers("cpu") as workers:
        (row,) = measure(huge, workers, rounds=1, seconds=0.01, folder=tmp_path)
        assert workers.versions() == {}  # none was started
    assert row["absent"].startswith("needs about 256000.0 GB")


def test_a_piece_takes_about_the_seconds_asked_for() -> None:
    """Of a program that does 1,000 images/s, and pays 10 ms for every beginning."""

    def task(_: Job, count: int, done: object) -> None:
        while True:
            done(count, 0.01 + count / 1000)  # type: ignore[operator]

    size = piece_size(task, Job(CASE, "", "cpu", "elboroom"), 1.2)  # type: ignore[arg-type]
    assert 1000 < size < 1200


def test_memory_is_told_where_the_system_tells() -> None:
    found = megabytes()
    if found is not None:
        assert 0 < found["now"] <= found["peak"]

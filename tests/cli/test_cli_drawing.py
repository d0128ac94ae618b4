"""Stopped while drawing, the run is saved; ``resume`` draws what is missing and ends with 0."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from elboroom.errors import FailureError
from elboroom.figures import standard_set
from elboroom.runs.run import Run

from .conftest import SMALL, Command

DRAWN = ("loss.png", "samples.png", "latent.png")


class Killed(BaseException):
    """As kill -9: nothing that runs after it changes anything."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw three of the figures."""
    known = {f"{figure.name}.png": figure for figure in standard_set.STANDARD_FIGURES}
    monkeypatch.setattr(standard_set, "_chosen", lambda *_: [known[name] for name in DRAWN])


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    write = standard_set._write

    def write_or_fail(scene: Any, file: str, path: Path) -> None:
        if file == name:
            raise error
        write(scene, file, path)

    monkeypatch.setattr(standard_set, "_write", write_or_fail)


ENDS: dict[str, tuple[BaseException, int, str]] = {
    "out of memory": (
        MemoryError(),
        1,
        r"1 of 3 pictures could not be drawn, such as samples.png: out of memory",
    ),
    "torch out of memory": (
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        1,
        "1 of 3 pictures could not be drawn",
    ),
    "full disk": (FailureError("cannot write samples.png: No space left on device"), 1, "No space left"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "stopped while drawing"),
}


@pytest.mark.parametrize("how", [*ENDS, "kill -9"])
def test_what_was_stopped_while_drawing_is_saved_and_finished_by_resume(
    elboroom: Command, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with monkeypatch.context() as patch:
        if how == "kill -9":
            spoil(patch, "samples.png", Killed())
            with pytest.raises(Killed):
                elboroom("train", "digits", "--out", "run", *SMALL)
        else:
            error, code, words = ENDS[how]
            spoil(patch, "samples.png", error)
            result = elboroom("train", "digits", "--out", "run", *SMALL)
            assert result.code == code
            (line,) = result.lines
            assert re.search(words, line)
            assert line.endswith(
                "the model and its numbers are complete; 'elboroom resume run' draws the pictures"
            )
            assert result.out.splitlines()[-1] == "run        run"
    run = Run("run")
    assert run.status.state == "trained"
    if code_of(how) == 1:
        assert sorted(path.name for path in Path("run/figures").iterdir()) == ["latent.png", "loss.png"]
    run.write_metrics({**run.metrics, "nll": 7.0})  # of 'evaluate', say: it is not lost
    before = (run.history, Path("run/model.safetensors").read_bytes())
    assert elboroom("resume", "run", "--quiet").code == 0
    assert {path.name for path in Path("run/figures").iterdir()} == set(DRAWN)
    assert run.metrics["nll"] == 7.0
    assert (run.history, Path("run/model.safetensors").read_bytes()) == before
    assert run.status.state == "finished"
    again = elboroom("resume", "run", "--quiet")
    assert (again.code, len(again.lines)) == (2, 1)
    assert "has 2 epochs already" in again.err


def code_of(how: str) -> int | None:
    return ENDS[how][1] if how in ENDS else None


def test_another_fault_of_a_figure_is_not_hidden(elboroom: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "samples.png", ZeroDivisionError("a bug"))
    assert elboroom("train", "digits", "--out", "run", *SMALL).code == 1
    assert Run("run").status.state == "trained"


def test_a_picture_without_room_does_not_end_training(
    elboroom: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("elboroom.cli.training_run.draw_progress", no_memory)
    result = elboroom("train", "digits", "--out", "run", *SMALL[:-3], "--figures-every", 1, "--quiet")
    assert result.code == 0
    assert result.lines == ["elboroom: after epoch 1: out of memory; training continues"]
    assert len(Run("run").history) == 2

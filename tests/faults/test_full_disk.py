"""A disk that is full at each of the writes in turn, for a moment or for good."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from elboroom.errors import FailureError
from elboroom.runs.run import Run
from elboroom.training.checkpoints.saving import Checkpoints

from .conftest import LONG
from .lives import (
    always_due,
    assert_nothing_half,
    assert_same_end,
    at_each_operation,
    go_on,
    position,
    train,
)


class Disk:
    """Counts operations, and has no room for those from ``first`` on, ``times`` of them."""

    def __init__(self, first: float = float("inf"), times: float = 1) -> None:
        self.first, self.times, self.count = first, times, 0

    def __call__(self) -> None:
        self.count += 1
        if self.first <= self.count < self.first + self.times:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def in_turn() -> Iterator[None]:
    """Training waits for each write beside it, so that the n-th operation is always the same one."""
    begin = Checkpoints.begin

    def begin_and_wait(self: Checkpoints, *what: Any) -> None:
        begin(self, *what)
        self.wait()

    with always_due(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "begin", begin_and_wait)
        yield


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """How many there are in the first epoch, and in all."""
    disk, counts = Disk(), []
    with in_turn(), at_each_operation(disk):
        train(
            tmp_path_factory.mktemp("count") / "run",
            epochs=2,
            on_epoch=lambda *_: counts.append(disk.count),
        )
    return counts[0], disk.count


@pytest.mark.parametrize("times", [1, float("inf")], ids=["for a moment", "for good"])
def test_a_full_disk(
    times: float,
    operations: tuple[int, int],
    whole: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    in_first_epoch, in_all = operations
    at_end = in_all - 22  # the last save, and some of what comes before
    chosen = [*range(1, in_first_epoch, 14), *range(at_end, in_all + 1, 4)]
    for first in range(1, in_all + 1) if LONG else chosen:
        out, failure = tmp_path / str(first), ""
        with in_turn(), at_each_operation(Disk(first, times)):
            try:
                train(out, epochs=2)
            except FailureError as error:
                failure = str(error)
        assert "\n" not in failure
        said = capfd.readouterr().err
        # Either training failed with an error, or it said that it tries again, and did.
        assert "No space left on device" in (failure or said)
        assert failure or times == 1
        assert_nothing_half(out)
        assert not list(out.rglob("*.part"))
        if position(out) < 0:  # it failed before there was anything to lose
            train(out, epochs=2, overwrite=True)
        elif position(out) < position(whole):
            go_on(out)
        assert_same_end(out, whole)


def test_an_error_at_the_end_says_what_there_is_to_go_on_with(
    operations: tuple[int, int], tmp_path: Path
) -> None:
    full = Disk(operations[0] + 1, float("inf"))
    with in_turn(), at_each_operation(full), pytest.raises(FailureError) as error:
        train(tmp_path / "run", epochs=2)
    steps = position(tmp_path / "run")
    assert steps > 0
    assert f"has a checkpoint of step {steps}" in str(error.value)
    assert f"elboroom resume {tmp_path / 'run'}" in str(error.value)


def test_a_picture_that_finds_no_room_does_not_end_training(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def draw(*_: object) -> None:
        raise FailureError("cannot write figures/loss.png: No space left on device")

    train(tmp_path / "run", epochs=2, on_epoch=draw)
    assert "after epoch 1: cannot write figures/loss.png" in capfd.readouterr().err
    assert "training continues" in (tmp_path / "run" / "log.txt").read_text()
    assert_same_end(tmp_path / "run", whole)
    assert len(Run(tmp_path / "run").history) == 2

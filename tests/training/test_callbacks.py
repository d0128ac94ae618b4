"""What ``on_epoch`` and ``on_step`` are promised in docs/trackers.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from elboroom import Run
from elboroom.errors import UsageError
from elboroom.training import StopTraining

from .runs import assert_identical, build, timeless, train


def test_on_step_sees_every_step_with_the_means_so_far(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = []
    epochs = train(build(), None, 3, on_step=lambda _, row: steps.append(row))
    assert [row["step"] for row in steps] == list(range(1, epochs[-1]["step"] + 1))
    per_epoch = epochs[0]["step"]
    assert [row["epoch"] for row in steps] == [1 + i // per_epoch for i in range(len(steps))]
    for epoch in epochs:
        last = steps[epoch["step"] - 1]
        for name in ("loss", "distortion", "rate", "rate_per_dim"):
            assert last[name] == epoch[name]
    assert steps[0]["loss"] != steps[1]["loss"]


def test_callbacks_that_draw_random_numbers_change_nothing() -> None:
    def draw(_vae: Any, _row: Any) -> None:
        torch.rand(7)

    alone, watched = build(), build()
    one = train(alone, None, 3)
    other = train(watched, None, 3, on_epoch=draw, on_step=draw)
    assert_identical(timeless(one), timeless(other))
    assert_identical(dict(alone.state_dict()), dict(watched.state_dict()))


@pytest.mark.parametrize("name", ["on_epoch", "on_step"])
def test_stop_training_ends_after_the_epoch_and_resume_continues(name: str, tmp_path: Path) -> None:
    def stop(_vae: Any, row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            raise StopTraining

    run = tmp_path / "run"
    assert len(train(build(), run, 5, **{name: stop})) == 2
    assert Run(run).status.state == "trained"
    assert len(Run(run).history) == 2
    resumed, straight = build(), build()
    history = train(resumed, run, 5, resume=True)
    assert_identical(timeless(history), timeless(train(straight, tmp_path / "straight", 5)))
    assert_identical(dict(resumed.state_dict()), dict(straight.state_dict()))


def test_an_exception_in_on_step_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    def fail(_vae: Any, row: dict[str, Any]) -> None:
        if row["step"] == 17:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(build(), tmp_path / "run", 4, on_step=fail)
    history = train(build(), tmp_path / "run", 4, resume=True)
    assert_identical(timeless(history), timeless(train(build(), None, 4)))


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(UsageError, match=r"on_step = 3: must be a function of \(model, row\)"):
        train(build(), None, 1, on_step=3)

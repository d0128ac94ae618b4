"""What a terminal of each width shows: whole numbers, in one line."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from elboroom.training.progress import TrainingProgress, epoch_line, fitted, words

ROWS: dict[str, dict[str, Any]] = {
    "usual": {"loss": 150.0, "distortion": 145.5, "rate": 4.5},
    "validated": {"loss": 150.0, "distortion": 145.5, "rate": 4.5, "val_elbo": -151.25},
    "large": {"loss": 2551387005.37, "distortion": 2.5e9, "rate": 5e7, "val_elbo": -2.4e9},
    "layers": {
        "loss": 150.0,
        "distortion": 145.5,
        "rate": 4.5,
        "rate_1": 1.5,
        "rate_2": 3.0,
        "perplexity": 9.0,
    },
}


def row(name: str) -> dict[str, Any]:
    return {"epoch": 12, "beta": 0.25, "images_per_second": 12345.6, "seconds": 61.5, **ROWS[name]}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ROWS)
def test_an_epochs_line_fits_and_keeps_what_matters(name: str, width: int) -> None:
    line, whole = epoch_line(row(name), 1000, width), epoch_line(row(name), 1000)
    assert len(line) <= width
    left = iter(whole.split())
    assert all(word in left for word in line.split())  # the same words in their order, none of them cut
    assert "loss" in line
    assert ("val ELBO" in line) == ("val_elbo" in row(name))


def test_a_line_that_nothing_more_can_be_left_out_of_is_whole() -> None:
    assert fitted({"a": "aaaa", "b": "bbbb"}, ["b"], 2) == "aaaa"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_takes_what_the_numbers_leave(width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with TrainingProgress(1000, epochs=20, console=console) as bar:
        for step in range(10, 500, 10):
            bar.update(step, 3, {"loss": 150.0, "distortion": 145.5, "rate": 4.5}, 9000.0)
        bar._bar.refresh()
    lines = [re.sub(r"\x1b\[[?\d;]*\w", "", line) for line in re.split(r"[\r\n]", screen.getvalue())]
    shown = [line for line in lines if line.startswith("epoch 3/20")]
    assert shown
    for line in shown:
        assert len(line.rstrip()) <= width
        assert "loss 150.00" in line
        assert ("distortion 145.50" in line) == (width == 120)
        assert line.count("━") + line.count("╸") + line.count("╺") >= 10
    assert re.search(r"about \d+ (s|min) left", shown[-1])


def test_on_no_terminal_all_of_it_is_written() -> None:
    screen = io.StringIO()
    with TrainingProgress(1000, epochs=1000, console=Console(file=screen, width=60)) as bar:
        bar.epoch(row("layers"))
    assert screen.getvalue().splitlines()[0] == epoch_line(row("layers"), 1000)


@pytest.mark.parametrize(("seconds", "said"), [(0, "1 s"), (89.5, "90 s"), (90, "2 min"), (5400, "1.5 h")])
def test_times_are_said_roughly(seconds: float, said: str) -> None:
    assert words(seconds) == said

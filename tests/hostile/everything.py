"""All hostile inputs, and a way through them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import elboroom
import elboroom.runs.run
from elboroom.cli import training_run

from . import arrays, files, formats, runs, words
from .case import Case, judge


def all_cases(*, long: bool) -> list[Case]:
    """Every input of the long form, or the share of them that takes seconds."""
    flips = 150 if long else 4
    data = [*arrays.cases(flips), *files.cases(flips), *formats.cases(flips), *files.landmark_cases()]
    if long:
        return [*data, *runs.cases(flips), *words.command_cases(1), *words.python_cases()]
    # What is mended in one place is tried there once or twice.
    slow = [*runs.cases(flips), *words.command_cases(6), *words.python_cases()]
    return [*data, *slow[::3]]


def make_run(folder: Path) -> Path:
    """Train a tiny model on rows of four numbers."""
    torch.manual_seed(0)
    np.save(folder / "x.npy", np.random.default_rng(0).random((40, 4)).astype(np.float32))
    vae = elboroom.VAE.build(shape=(4,), hidden=[3], scale=1.0)
    data = elboroom.load_data(folder / "x.npy")
    options = {"epochs": 1, "quiet": True, "figures_every": 0, "hidden": [3], "source": str(folder / "x.npy")}
    elboroom.fit(vae, data, out=folder / "run", **options)
    elboroom.runs.run.Run(folder / "run").write_metrics(
        {"split": "test", "elbo": -1.0}
    )  # or resume would draw
    return folder / "run"


def judged(cases: Iterable[Case]) -> Iterator[tuple[Case, list[str]]]:
    """Give each case a folder with a run, and yield it with what is wrong with the answer."""
    with tempfile.TemporaryDirectory() as top:
        os.environ["ELBOROOM_CACHE"] = f"{top}/cache"
        os.environ["ELBOROOM_MIRROR"] = "http://127.0.0.1:9"  # nobody listens there
        torch.set_num_threads(1)
        run = make_run(Path(top))
        # Of the figures at the end of a training that of the history, which has cases of its own, is drawn.
        with mock.patch.object(training_run, "draw_all", partial(training_run.draw_all, only=["loss"])):
            for number, case in enumerate(cases):
                folder = Path(top, f"case{number}")
                folder.mkdir()
                runs.copy_run(run, folder)
                yield case, judge(case, folder)
                shutil.rmtree(folder, ignore_errors=True)

"""How often a checkpoint is written, how many are kept, and what a stop in the midst of one leaves."""

from __future__ import annotations

import os
import signal
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from elboroom.config import Config
from elboroom.runs.run import Run
from elboroom.training import Stopped
from elboroom.training.checkpoints import saving
from elboroom.training.checkpoints.links import NO_LINKS
from elboroom.training.checkpoints.saving import Checkpoints, Snapshot
from elboroom.training.checkpoints.state import copy_state, load_state
from elboroom.training.step.engine import Engine

from .runs import (
    after_step,
    always_due,
    assert_identical,
    assert_same_run,
    build,
    checkpoint,
    signal_self,
    train,
)

pytestmark = pytest.mark.usefixtures("usual_signals")


def snapshot(steps: int) -> Snapshot:
    return Snapshot({"engine": {"steps": steps}, "history": [], "weights": torch.full((3,), float(steps))})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Config())


@pytest.mark.parametrize("keep", [1, 2, 4])
@pytest.mark.parametrize("links", [True, False])
def test_the_last_ones_are_kept(keep: int, links: bool, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: object) -> None:
        raise OSError(NO_LINKS[0], "no links here")

    if not links:
        monkeypatch.setattr(os, "link", unable)
    kept = Checkpoints(run, pytest.fail, keep)
    for steps in range(7):
        kept.save(snapshot(steps), None)
    kept.save(snapshot(6), None)  # not again
    folder = run.path / "checkpoints"
    found = {path.parent.name: load_state(path)["engine"]["steps"] for path in folder.glob("*/*")}
    assert found == {"last": 6, **{f"last-{i}": 6 - i for i in range(1, keep)}}


@pytest.mark.parametrize("cost", [0.001, 0.5, 20.0])
def test_they_take_less_than_their_share(cost: float, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def takes(_self: Checkpoints, taken: Snapshot, _weights: Any) -> None:
        now[0] += cost
        written.append((now[0], taken))

    written: list[Any] = []
    monkeypatch.setattr(saving.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Checkpoints, "_write", takes)
    kept = Checkpoints(run, pytest.fail)
    kept.save(snapshot(0), None)  # tells what one costs
    kept.start()
    began, steps = now[0], 0
    while now[0] - began < 3000:
        now[0] += 0.25
        steps += 1
        if kept.due(now[0]):
            kept.begin(kept.take(lambda: snapshot(steps)), None)  # noqa: B023
            kept.wait()
            # Its own duration belongs to the time that has passed.
            assert kept.spent <= 0.02 * (now[0] - began)
    moments = [moment for moment, _ in written]
    pauses = [later - earlier - cost for earlier, later in pairwise(moments)]
    assert min(pauses) >= 1
    # In the long run it is half a minute, or what the share allows; steps are a quarter of a second apart.
    assert pauses[-1] == pytest.approx(max(30, cost / 0.02 - cost), abs=0.3)


def test_within_an_epoch_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(Checkpoints, "begin", lambda _self, taken, _weights: begun.append(taken.position))
    always_due(monkeypatch)
    train(build(), tmp_path / "run", 2, validation=0.0)
    # Between any two of 7 steps an epoch, at the end of the first, and not at the very end, which waits.
    assert begun == [*((s, 0) for s in range(1, 7)), (7, 1), *((s, 1) for s in range(8, 14))]
    assert checkpoint(tmp_path / "run")["engine"]["steps"] == 14


def test_what_is_copied_no_longer_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[Snapshot, Any]] = []

    def begin(_self: Checkpoints, one: Snapshot, _weights: Any) -> None:
        taken.append((one, copy_state(one.state)))

    monkeypatch.setattr(Checkpoints, "begin", begin)
    always_due(monkeypatch)
    train(build(), tmp_path / "run", 2, validation=0.2, ema=0.9)
    train(build(), tmp_path / "run", 3, resume=True)
    assert len(taken) > 12
    for one, as_it_was in taken:
        assert_identical(one.state, as_it_was)


def test_a_run_without_a_folder_keeps_a_copy_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    take = Checkpoints.take

    def note(self: Checkpoints, *args: Any, **more: Any) -> Snapshot:
        found.append(take(self, *args, **more))
        assert self.last_good is found[-1]
        return found[-1]

    monkeypatch.setattr(Checkpoints, "take", note)
    train(build(), None, 2, validation=0.2)
    assert found


def test_a_second_signal_while_the_first_is_saved_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, armed = os.fsync, []

    def flush_or_be_interrupted(descriptor: int) -> None:
        if armed:
            armed.clear()
            signal_self(signal.SIGINT)()
        flush(descriptor)

    def first() -> None:
        armed.append(True)
        signal_self(signal.SIGINT)()

    monkeypatch.setattr(os, "fsync", flush_or_be_interrupted)
    after_step(monkeypatch, 9, first)
    with pytest.raises(KeyboardInterrupt) as stop:
        train(build(), tmp_path / "run", 3)
    assert not isinstance(stop.value, Stopped)
    assert "stopped at once" in str(stop.value)
    assert f"'elboroom resume {tmp_path / 'run'}' continues from it" in str(stop.value)
    train(build(), tmp_path / "whole", 3)
    train(build(), tmp_path / "run", 3, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_second_signal_does_not_wait_for_a_write_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, write = threading.Event(), Checkpoints._write

    def write_slowly(self: Checkpoints, *what: Any) -> None:
        if threading.current_thread().name == "checkpoint":
            assert go_on.wait(30)
        write(self, *what)

    def twice() -> None:
        for _ in range(2):
            signal_self(signal.SIGINT)()

    always_due(monkeypatch)
    monkeypatch.setattr(Checkpoints, "_write", write_slowly)
    after_step(monkeypatch, 4, twice)
    with pytest.raises(KeyboardInterrupt):
        train(build(), tmp_path / "run", 3)
    with pytest.raises(ValueError, match="another training"):  # until that is done
        Run(tmp_path / "run").lock()
    go_on.set()
    for thread in threading.enumerate():
        if thread.name in ("checkpoint", "unlock"):
            thread.join()
    Run(tmp_path / "run").lock()
    assert checkpoint(tmp_path / "run")["engine"]["steps"] == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal")
def test_a_lost_terminal_stops_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_step(monkeypatch, 3, signal_self(signal.SIGHUP))
    with pytest.raises(Stopped) as stop:
        train(build(), tmp_path / "run", 3)
    assert stop.value.signal_number == signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        after_step(monkeypatch, 5, signal_self(signal.SIGHUP))
        assert len(train(build(), tmp_path / "run", 2, resume=True)) == 2
    finally:
        signal.signal(signal.SIGHUP, before)


def test_weights_that_are_not_finite_never_become_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_due(monkeypatch)
    step = Engine.step

    def spoil(engine: Engine, *batch: Any) -> None:
        step(engine, *batch)
        if engine.steps == 4:
            with torch.no_grad():
                next(engine.vae.parameters()).fill_(torch.nan)
        if engine.steps == 6:
            signal_self(signal.SIGTERM)()

    monkeypatch.setattr(Engine, "step", spoil)
    with pytest.raises(Stopped, match=r"after step 6, with non-finite numbers; .*of step [0-3] "):
        train(build(), tmp_path / "run", 2, validation=0.0)
    kept = checkpoint(tmp_path / "run")["engine"]
    assert kept["steps"] < 4
    assert all(value.isfinite().all() for value in kept["model"].values())


def test_best_weights_of_a_run_from_before_they_were_in_the_last_checkpoint(tmp_path: Path) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    # Overshooting steps, so that the best is not the last.
    options = {"validation": 0.2, "lr": 0.4}
    train(build(), whole, 8, **options)
    train(build(), out, 7, **options)
    assert checkpoint(out)["best"]["epoch"] < 7
    path = out / "checkpoints" / "last" / "state.safetensors"
    state = load_state(path)
    del state["best"]
    saving.save_state(path, state)
    train(build(seed=1), out, 8, resume=True)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

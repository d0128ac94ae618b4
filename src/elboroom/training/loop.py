"""The loop around the step: epochs, validation, early stopping, checkpoints, signals, history."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.distributed.processes import Workers
from elboroom.errors import DivergedError, FailureError, UsageError, is_lack, printable, reason_of
from elboroom.evaluation.support import range_of_data
from elboroom.io.files import check_space
from elboroom.io.tensors import misfit
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.choice import ramp_warnings
from elboroom.runs import write_status
from elboroom.runs.run import PREPARATION, Run
from elboroom.runs.status import State
from elboroom.training.checkpoints.record import Record
from elboroom.training.checkpoints.recovery import LOOK_EVERY, Order, Recovery
from elboroom.training.checkpoints.saving import Checkpoints
from elboroom.training.checkpoints.state import copy_state
from elboroom.training.devices import find_device
from elboroom.training.engine import Engine, Means
from elboroom.training.lr_schedules import lr_warnings
from elboroom.training.order import epoch_order, steps_per_epoch
from elboroom.training.prepare import check_same, preparation_of, prepare, resolve
from elboroom.training.progress import TrainingProgress, epoch_line
from elboroom.training.signals import Stopped, StopRequest, stop_on_signal
from elboroom.training.start import start_from_data
from elboroom.training.verdict import diverged

_BAR_SECONDS = 0.5
_DEAF_SECONDS = 10.0

OnEpoch = Callable[[VAE, dict[str, Any]], None]


class Training:
    """A fit under way: engine, history, best so far, and where they are kept."""

    def __init__(
        self,
        vae: VAE,
        data: Dataset,
        config: Config,
        objective: Objective | None = None,
        *,
        quiet: bool = False,
        workers: Workers | None = None,
    ):
        device = find_device(config.training.device)
        self.workers = workers or Workers(device)
        self.data = prepare(data, config)
        self.config = resolve(vae, self.data, config)
        self.preparation = preparation_of(self.data)
        vae.value_range = self.preparation.value_range
        vae.data_range = range_of_data(self.data)
        self.quiet = quiet or not self.workers.is_first
        self.train_indices = self.data.indices("train")
        self.validation_indices = self.data.indices("validation")
        self.epoch_steps = steps_per_epoch(len(self.train_indices), config.training)
        batches = Batches(
            self.data,
            device,
            binarize=config.data.binarize,
            dequantize=config.data.dequantize,
            flip=config.data.flip,
        )
        self._custom_objective = objective is not None
        with self._own_randomness():
            torch.manual_seed(config.training.seed)  # a critic is drawn, too
            objective = objective or Objective.from_config(
                self.config.objective, self.epoch_steps, vae=vae, examples=len(self.train_indices)
            )
        self.engine = Engine(vae, objective, batches, self.config, device, self.workers)
        self.folder: Run | None = None
        self.checkpoints = Checkpoints(None, self._say)
        self.record = Record(self.engine, custom_objective=self._custom_objective)
        self.recovery = Recovery(self.engine, self.record, self._say)
        self._bar: TrainingProgress | None = None
        with self._own_randomness():
            torch.manual_seed(config.training.seed)
            self.record.note_random()

    # The run folder.

    def create(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Start a run folder, with a first checkpoint so that it can be resumed from any moment on."""
        self.workers.first(lambda: self._make_folder(path, overwrite))
        try:
            self._start()
            self._save()
        except BaseException:
            self.checkpoints.close()
            raise

    def _make_folder(self, path: str | os.PathLike[str], overwrite: bool) -> None:
        custom = self.engine.vae.config is None
        # A checkpoint holds weights, two moments, and the best weights; there are the last ones, the best,
        # one more while it is written, and the model.
        numbers = sum(p.numel() * p.element_size() for p in self.engine.parameters)
        check_space(Path(path), (4 * (self.config.training.keep_checkpoints + 2) + 1) * numbers)
        self.folder = Run.create(path, self.config, custom_model=custom, overwrite=overwrite)
        self.checkpoints = Checkpoints(self.folder, self._say, self.config.training.keep_checkpoints)
        try:
            self._write_environment()
            self.folder.write_preparation(self.preparation)
            write_status(self.folder.path, "training")
        except BaseException:
            self.folder.unlock()
            raise

    def open(self, folder: Run, *, finish: bool = False) -> None:
        """Go on with a run, from its newest good checkpoint.

        With ``finish`` one that has all its epochs is fine too: killed before its last files were written.

        Raises
        ------
        UsageError
            If the data are not those it was trained on, another process trains in the folder, or no
            checkpoint is good.
        FailureError
            If the folder is read-only.
        """
        self.workers.first(folder.lock)
        try:
            self.workers.in_turn(lambda: self._open(folder, finish))
        except BaseException:
            self.folder = None
            folder.unlock()
            raise

    def _open(self, folder: Run, finish: bool) -> None:
        self._check_data(folder)
        self.folder = folder if self.workers.is_first else None
        self.checkpoints = Checkpoints(folder, self._say, self.config.training.keep_checkpoints)
        state = self.checkpoints.load()
        if not self.workers.is_first:
            good = self.checkpoints.last_good
            self.checkpoints = Checkpoints(None, self._say)
            self.checkpoints.last_good = good
        check_same(folder, self.config, custom_objective=self._custom_objective, state=state)
        before = state["engine"]["updates"][0]
        try:
            self.record.load(state)
        except (RuntimeError, KeyError, ValueError) as error:
            known, wanted = state.get("engine", {}).get("model"), self.engine.vae.state_dict()
            detail = (misfit(known, wanted) if known else None) or str(error)
            raise UsageError(f"the model is not the one that {folder.path} was made with: {detail}") from None
        self._check_more_to_do(folder, finish)
        self._say_if_laid_out_anew(before)
        if self.workers.is_first:
            if self.epochs_done < self.config.training.epochs:
                write_status(folder.path, "training")
            folder.write_config(self.config)
            if not (folder.path / PREPARATION).exists():  # begun by version 0.1
                folder.write_preparation(self.preparation)
            folder.write_history(self.record.history)

    def _check_data(self, folder: Run) -> None:
        known = folder.environment.get("data_fingerprint")
        if known is not None and known != self._fingerprint():
            what = ", labels" if self.config.model.learns_labels else ""
            raise UsageError(
                f"{self.data.name} is not what {folder.path} was trained on: contents{what}, split or "
                "validation part differ; resume with the same data, or start a new run"
            )

    def relocate(self, folder: Run) -> None:
        """Let a run say where its data are now.

        Raises
        ------
        UsageError
            If the data are not those it was trained on, or another process trains in the folder.
        FailureError
            If the folder is read-only.
        """
        self._check_data(folder)
        folder.lock()
        try:
            places = {"source": self.config.data.source, "condition_file": self.config.model.condition_file}
            folder.write_config(folder.config.updated(**places))
        finally:
            folder.unlock()

    def _say_if_laid_out_anew(self, before: dict[str, Any]) -> None:
        length, rate = before.get("lr_length"), before["optimizer"]["param_groups"][0]["lr"]
        now = self.engine.update.rates.length
        if length is not None and now != length:
            self._advise(
                f"{self.config.optimizer.lr_schedule} follows the number of epochs, now {now} instead of "
                f"{length}: epoch {self.epochs_done + 1} has learning rate {self.engine.learning_rate:.3g} "
                f"instead of {rate:.3g}. Training {now} epochs in one go would give another model"
            )

    def _check_more_to_do(self, folder: Run, finish: bool) -> None:
        done, wanted = self.epochs_done, self.config.training.epochs
        if wanted < done or (wanted == done and not finish):
            raise UsageError(
                f"epochs = {wanted}, and {folder.path} has {done} epochs already; "
                f"give --epochs {done + 1} or higher to go on"
            )
        if wanted > done and self._out_of_patience():
            raise UsageError(
                f"{folder.path} stopped after epoch {done}, {self.config.training.patience} epochs after its "
                f"best validation ELBO; give a higher --patience to go on"
            )

    def _save(self) -> None:
        """Write a checkpoint, history and the weights to use, and wait for it."""
        self.checkpoints.save(self.record.snapshot(self.checkpoints), self.record.usable)

    def _say(self, line: str) -> None:
        """Tell of a fault, above the bar and in the log; even where no progress is shown."""
        if not self.workers.is_first:
            return
        with contextlib.suppress(FailureError):
            if self.folder is not None:
                self.folder.log(line)
        if self._bar is not None and not self.quiet:
            self._bar.say(line)
        else:
            print(f"elboroom: {printable(line)}", file=sys.stderr)

    def _advise(self, line: str) -> None:
        """Tell of what is no fault; the log has it even where no progress is shown."""
        if not self.quiet:
            self._say(line)
        elif self.folder is not None:
            with contextlib.suppress(FailureError):
                self.folder.log(line)

    def _write_environment(self) -> None:
        assert self.folder is not None
        self.folder.write_environment(
            data=self.data.describe(),
            data_fingerprint=self._fingerprint(),
            data_range=self.engine.vae.data_range,
            device=str(self.engine.device),
            parameters=sum(p.numel() for p in self.engine.parameters),
        )

    def _fingerprint(self) -> str:
        return self.data.fingerprint(labels=self.config.model.learns_labels)

    # The loop.

    def _start(self) -> None:
        """Let parts of a new model start from examples; one that was trained or loaded has no need of it."""
        start_from_data(self.engine, self.train_indices, self.config.training.seed)

    def _warn_of_schedules(self) -> None:
        epochs = self.config.training.epochs
        found = lr_warnings(self.config.optimizer, epochs)
        if not self._custom_objective:
            found += ramp_warnings(self.config.objective, epochs)
        for line in found:
            self._advise(f"warning: {line}")

    @property
    def epochs_done(self) -> int:
        """Whole epochs trained."""
        return self.engine.steps // self.epoch_steps

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best validation ELBO so far, counted from 1."""
        best = self.record.best_row
        return best["epoch"] if best is not None else None

    def run(self, on_epoch: OnEpoch | None = None) -> list[dict[str, Any]]:
        """Train up to the configured epoch and return the history."""
        self._start()
        self._warn_of_schedules()
        total = self.config.training.epochs * self.epoch_steps
        epochs = self.config.training.epochs
        self._bar = bar = TrainingProgress(total, self.engine.steps, epochs=epochs, quiet=self.quiet)
        wait = True
        try:
            with (
                self._own_randomness(),
                stop_on_signal(0.0 if self.workers.alone else _DEAF_SECONDS) as request,
                bar,
            ):
                try:
                    self._epochs(request, bar, on_epoch)
                    self._finish()
                except Exception as error:
                    self.checkpoints.rescue(self.record.usable)
                    if isinstance(error, DivergedError):
                        self._write_status("diverged", error.reason)
                    raise
        except Stopped:
            raise
        except KeyboardInterrupt:
            wait = False
            if self.folder is None:
                raise
            raise KeyboardInterrupt(f"stopped at once; {self.checkpoints.kept()}") from None
        finally:
            self._bar = None
            self.checkpoints.close(wait=wait)
        if request.signal_number is not None:
            where = f" in {self.folder.path}" if self.folder else ""
            raise Stopped(
                f"stopped after the last epoch; the model{where} is complete", request.signal_number
            )
        return self.record.history

    def _epochs(self, request: StopRequest, bar: TrainingProgress, on_epoch: OnEpoch | None) -> None:
        self.record.restore_random()
        self.checkpoints.start()
        if self.checkpoints.last_good is None:
            self.record.snapshot(self.checkpoints)
        while self.epochs_done < self.config.training.epochs and not self._out_of_patience():
            try:
                row = self._epoch(request, bar)
            except _WorseError as worse:
                self.recovery.go_back(str(worse), self.checkpoints, self.train_indices)
                continue
            self._note(row, bar)
            if on_epoch is not None and self.workers.is_first:
                self._call(on_epoch, row)
            last = self.epochs_done == self.config.training.epochs
            if self.workers.agree(self._is_due(time.perf_counter())) and not last and self.recovery.sound:
                self._begin_checkpoint()
        self.record.note_random()

    def _epoch(self, request: StopRequest, bar: TrainingProgress) -> dict[str, Any]:
        """Train the rest of the epoch under way."""
        engine, epoch = self.engine, self.epochs_done
        order = epoch_order(self.train_indices, self.config.training, epoch)
        own, parts = self.workers.share(order)
        done = engine.steps % self.epoch_steps
        if not done:
            engine.reset_meters()
        before = self.record.seconds
        started = shown = now = time.perf_counter()
        engine.vae.train()
        engine.refresh()
        batches = engine.batches.stream(own[done:])
        if self.workers.agree(request.signal_number is not None):
            self._stop(request)
        for batch, part in zip(batches, parts[done:], strict=True):
            engine.step(batch, part, () if self.workers.alone else self._wishes(request, now))
            now = time.perf_counter()
            if now - shown > _BAR_SECONDS:
                self._show(
                    bar, epoch, part.total * (engine.steps - epoch * self.epoch_steps - done), now - started
                )
                shown = now
            if not engine.steps % self.epoch_steps:
                break  # what follows is looked after at the epoch's end
            if not engine.steps % LOOK_EVERY:
                self._look(order, epoch)
            stop, due = self._wishes(request, now) if self.workers.alone else self._told()
            if stop or due:
                self.record.seconds = before + now - started
                if stop:
                    self._stop(request)
                self._checkpoint_within_epoch()
        self._look(order, epoch, at_end=True)
        engine.settle()
        means = engine.means()
        seconds = before + time.perf_counter() - started
        self.record.seconds = 0.0
        return self._row(epoch + 1, means, seconds, order)

    def _is_due(self, now: float) -> bool:
        """Whether it is time for a checkpoint; where there are several processes, the first says so."""
        return self.workers.is_first and self.checkpoints.due(now)

    def _wishes(self, request: StopRequest, now: float) -> tuple[bool, bool]:
        """Whether this process wishes to stop, and to write a checkpoint."""
        return request.signal_number is not None, self._is_due(now)

    def _told(self) -> tuple[bool, bool]:
        """What any process wished, as it came along with the gradients."""
        if self.engine.device.type == "cuda" and self.engine.steps % LOOK_EVERY:
            return False, False  # the host does not wait for the device at every step
        stop, due = (total > 0 for total in self.engine.told.tolist())
        return stop, due

    def _show(self, bar: TrainingProgress, epoch: int, examples: int, seconds: float) -> None:
        """Move the bar; here the host waits for the device, twice a second at most."""
        means = self.engine.means(everywhere=False)
        shown = {name: means[name] for name in ("loss", "distortion", "rate")}
        bar.update(self.engine.steps, epoch + 1, shown, examples / seconds)

    def _look(self, order: Order, epoch: int, *, at_end: bool = False) -> None:
        reason = self.recovery.needed(order, epoch * self.epoch_steps, at_end=at_end)
        if reason is not None:
            raise _WorseError(reason)

    def _checkpoint_within_epoch(self) -> None:
        self.engine.settle()
        if self._is_finite():
            self.record.note_random()
            self._begin_checkpoint()
        else:
            self.checkpoints.postpone()

    def _begin_checkpoint(self) -> None:
        self.checkpoints.begin(self.record.snapshot(self.checkpoints), self.record.usable)

    def _row(self, epoch: int, means: Means, seconds: float, order: Order) -> dict[str, Any]:
        engine = self.engine
        self._check_finite(epoch, {**means, "weights": engine.largest_norm()}, order[-1])
        row: dict[str, Any] = {"epoch": epoch, "step": engine.steps, **means}
        row |= {
            "beta": engine.objective.coefficients(engine.steps - 1)[0],
            "learning_rate": engine.learning_rate,
        }
        row |= {"images_per_second": sum(map(len, order)) / seconds, "seconds": seconds}
        skipped = engine.skipped.read()[1]
        if skipped:
            row["skipped_steps"] = skipped
        if len(self.validation_indices):
            measured = engine.measure(self.validation_indices, self.config.training.seed)
            found = {f"val_{name}": value for name, value in measured.items()}
            self._check_finite(epoch, found, self.validation_indices[: len(order[-1])])
            row |= found
        reason = diverged(row, engine.first, math.prod(engine.vae.shape))
        if reason is not None:
            raise _WorseError(reason)
        engine.end_epoch(row.get("val_loss", row["loss"]))
        return row

    def _note(self, row: dict[str, Any], bar: TrainingProgress) -> None:
        self.record.add(row, self.checkpoints)
        bar.epoch(row)
        if self.folder is not None:
            with contextlib.suppress(FailureError):  # a full disk; the next checkpoint says so
                self.folder.log(epoch_line(row, self.config.training.epochs))

    def _call(self, on_epoch: OnEpoch, row: dict[str, Any]) -> None:
        try:
            with self.engine.averaged():
                on_epoch(self.engine.vae, row)
        except Exception as error:
            if is_lack(error):  # a picture that finds no room on the disk or in memory
                self._say(f"after epoch {row['epoch']}: {reason_of(error)}; training goes on")
                self.record.restore_random()
                return
            self.record.snapshot(self.checkpoints)
            raise
        self.record.restore_random()

    def _finish(self) -> None:
        """Leave the best weights in the model and in the folder."""
        final = self.record.snapshot(self.checkpoints)
        self.engine.use_weights(self.record.best or final.state["engine"])
        self.engine.vae.eval()
        self.engine.release()
        self.record.usable = copy_state(dict(self.engine.vae.state_dict()))
        self.checkpoints.save(final, self.record.usable)
        self._write_status("trained")

    def _write_status(self, state: State, reason: str | None = None) -> None:
        if self.folder is not None:
            with contextlib.suppress(FailureError):  # resuming looks again, and finds the same
                write_status(self.folder.path, state, reason)

    def _stop(self, request: StopRequest) -> None:
        number = request.signal_number or signal.SIGTERM
        done = f"stopped in epoch {self.epochs_done + 1} after step {self.engine.steps}"
        if self.workers.is_first and self.folder is None:
            raise Stopped(f"{done}; nothing was saved: give out= to keep a run", number)
        self.engine.settle()
        if not self._is_finite():
            raise Stopped(f"{done}, where not all is finite; {self.checkpoints.kept()}", number)
        self.record.note_random()
        self._save()
        if self.folder is None:
            raise Stopped(done, number)
        self.folder.log(done)
        raise Stopped(f"{done}; saved. Go on with: elboroom resume {self.folder.path}", number)

    def _out_of_patience(self) -> bool:
        patience, best = self.config.training.patience, self.best_epoch
        return patience is not None and best is not None and self.epochs_done - best >= patience

    def _check_finite(self, epoch: int, means: Means, indices: NDArray[np.int64]) -> None:
        for name, value in means.items():
            if value is not None and not math.isfinite(value):
                found = self.recovery.explain(indices)
                raise _WorseError(f"{name} is {value} in epoch {epoch} ({found})")

    def _is_finite(self) -> bool:
        """Whether this moment may become a checkpoint; here the host waits for the device."""
        found = (*self.engine.means().values(), self.engine.largest_norm())
        finite = all(value is None or math.isfinite(value) for value in found)
        return finite and self.recovery.sound

    def _own_randomness(self) -> Any:
        """Leave the caller's generators as they were."""
        device = self.workers.device
        return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


class _WorseError(Exception):
    """Numbers are not finite, or far worse than at the beginning; its text says how that is seen."""

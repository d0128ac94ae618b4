"""The loop around the step: epochs, validation, early stopping, checkpoints, signals, history."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import Any

import torch

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.distributed.processes import Workers
from elboroom.errors import DivergedError
from elboroom.evaluation.support import range_of_data
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.runs.run import Run
from elboroom.tracking import Tracking, check_installed, tracker_names
from elboroom.training.callbacks import Callback, Callbacks
from elboroom.training.checkpoints.record import Record
from elboroom.training.checkpoints.recovery import LOOK_EVERY, Order, Recovery
from elboroom.training.checkpoints.saving import Checkpoints
from elboroom.training.codes import write_statistics
from elboroom.training.devices import find_device
from elboroom.training.epoch_row import DivergingError, finish_epoch
from elboroom.training.notices import Notices
from elboroom.training.order import epoch_order, steps_per_epoch
from elboroom.training.prepare import data_for, freeze, preparation_of, prepare, resolve
from elboroom.training.progress import TrainingProgress, epoch_line
from elboroom.training.signals import Stopped, StopRequest, stop_on_signal
from elboroom.training.start import start_from_data
from elboroom.training.step.engine import Engine
from elboroom.training.storage import Storage

_BAR_SECONDS = 0.5
_UNTRACKED = 10.0  # seconds that trackers get to take the last rows of a training that has stopped
_IGNORE_REPEATS = 10.0  # seconds in which a launcher may pass on a signal of the terminal once more


class Training:
    """A training: the engine, the loop around it, and where its results are kept."""

    def __init__(
        self,
        vae: VAE,
        data: Dataset,
        config: Config,
        objective: Objective | None = None,
        *,
        quiet: bool = False,
        workers: Workers | None = None,
        engine: type[Engine] = Engine,
    ):
        device = find_device(config.training.device)
        self.workers = workers or Workers(device)
        self.data = prepare(data_for(vae, data), config)
        self.config = resolve(vae, self.data, config)
        freeze(vae, self.config.training.freeze)
        preparation = preparation_of(self.data)
        vae.value_range = preparation.value_range
        vae.data_range = range_of_data(self.data)
        check_installed(tracker_names(config.training.track))
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
            crop=config.data.crop,
        )
        self._custom_objective = objective is not None
        with self._own_randomness():
            torch.manual_seed(config.training.seed)  # for the initial weights of a critic
            objective = objective or Objective.from_config(
                self.config.objective, self.epoch_steps, vae=vae, examples=len(self.train_indices)
            )
        self.notices = Notices(quiet=self.quiet, silent=not self.workers.is_first)
        report = self.notices.advise
        self.engine = engine(vae, objective, batches, self.config, device, self.workers, report)
        self.storage = Storage(
            self.engine,
            self.data,
            preparation,
            self.config,
            self.epoch_steps,
            self.workers,
            self.notices,
            custom_objective=self._custom_objective,
        )
        self.recovery = Recovery(self.engine, self.record, self.notices.fault)
        with self._own_randomness():
            torch.manual_seed(config.training.seed)
            self.record.note_random()

    @property
    def folder(self) -> Run | None:
        """The run folder; None without one, and in all processes but the first."""
        return self.storage.folder

    @property
    def record(self) -> Record:
        """History, best epoch and random state."""
        return self.storage.record

    @property
    def checkpoints(self) -> Checkpoints:
        """The newest copies of the state."""
        return self.storage.checkpoints

    @property
    def tracking(self) -> Tracking:
        """The trackers."""
        return self.storage.tracking

    @property
    def epochs_done(self) -> int:
        """Whole epochs trained."""
        return self.storage.epochs_done

    def create(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Start a run folder, with a first checkpoint so that it can be resumed at any time."""
        self.storage.create(path, self.start, overwrite=overwrite)

    def open(self, folder: Run, *, finish: bool = False) -> None:
        """Resume a run from its newest intact checkpoint; see :meth:`Storage.open`."""
        self.storage.open(folder, finish=finish)

    def relocate(self, folder: Run) -> None:
        """Record in a run where its data are now; see :meth:`Storage.relocate`."""
        self.storage.relocate(folder)

    def start(self) -> None:
        """Initialise the parts of a new model that start from examples, unless they have started."""
        start_from_data(self.engine, self.train_indices, self.config.training.seed)

    def run(
        self,
        on_epoch: Callback | None = None,
        request: StopRequest | None = None,
        on_step: Callback | None = None,
    ) -> list[dict[str, Any]]:
        """Train up to the configured epoch and return the history; ``request`` is another's wish to stop.

        Trackers stay connected, for what the caller adds to the folder, until ``tracking`` is closed.
        """
        callbacks = Callbacks(self.storage, on_epoch, on_step)
        for line in self.storage.begin_tracking():
            self.notices.advise(f"tracker {line}")
        try:
            history = self._run(request, callbacks)
        except BaseException:
            self.tracking.close(_UNTRACKED)
            raise
        self.tracking.update()
        return history

    def _run(self, request: StopRequest | None, callbacks: Callbacks) -> list[dict[str, Any]]:
        self.start()
        self.notices.warn_of_schedules(self.config, custom_objective=self._custom_objective)
        epochs, steps = self.config.training.epochs, self.engine.steps
        total = self.engine.compiled.total = epochs * self.epoch_steps
        self.notices.bar = bar = TrainingProgress(total, steps, epochs=epochs, quiet=self.quiet)
        wait = True
        try:
            with (
                self._own_randomness(),
                stop_on_signal(0.0 if self.workers.alone else _IGNORE_REPEATS, request) as request,
                bar,
            ):
                try:
                    self._epochs(request, bar, callbacks)
                    self._finish()
                except Exception as error:
                    self.checkpoints.rescue(self.record.usable)
                    if isinstance(error, DivergedError):
                        self.storage.write_status("diverged", error.reason)
                    raise
        except Stopped:
            raise
        except KeyboardInterrupt:
            wait = False
            if self.folder is None:
                raise
            raise KeyboardInterrupt(f"stopped at once; {self.checkpoints.kept()}") from None
        finally:
            self.notices.bar = None
            self.checkpoints.close(wait=wait)
        if request.signal_number is not None:
            where = f" in {self.folder.path}" if self.folder else ""
            raise Stopped(
                f"stopped after the last epoch; the model{where} is complete", request.signal_number
            )
        return self.record.history

    def _epochs(self, request: StopRequest, bar: TrainingProgress, callbacks: Callbacks) -> None:
        self.record.restore_random()
        self.checkpoints.start()
        if self.checkpoints.last_good is None:
            self.record.snapshot(self.checkpoints)
        while self.epochs_done < self.config.training.epochs and not self.storage.out_of_patience:
            try:
                row = self._epoch(request, bar, callbacks)
            except DivergingError as worse:
                self.recovery.go_back(str(worse), self.checkpoints, self.train_indices)
                continue
            self._note(row, bar)
            callbacks.after_epoch(row)
            self._adopt_changes()
            self.tracking.update()
            if self.workers.agree(callbacks.ended):
                break
            due = self.workers.agree(self.storage.is_due(time.perf_counter()))
            if due and self.epochs_done < self.config.training.epochs and self.recovery.sound:
                self.storage.begin_checkpoint()
        self.record.note_random()

    def _epoch(self, request: StopRequest, bar: TrainingProgress, callbacks: Callbacks) -> dict[str, Any]:
        """Train the rest of the current epoch."""
        engine, epoch = self.engine, self.epochs_done
        order = epoch_order(self.train_indices, self.config.training, epoch)
        own, parts = self.workers.share(order)
        done = engine.steps % self.epoch_steps
        if not done:
            engine.reset_meters()
        before = self.record.seconds
        started = shown = now = time.perf_counter()
        engine.vae.train()
        engine.follow_model()
        batches = engine.batches.stream(own[done:])
        if self.workers.agree(request.signal_number is not None):
            self._stop(request)
        for batch, part in zip(batches, parts[done:], strict=True):
            engine.step(batch, part, () if self.workers.alone else self._requests(request, now))
            callbacks.after_step()
            now = time.perf_counter()
            if now - shown > _BAR_SECONDS and not self.quiet:
                self._show(
                    bar, epoch, part.total * (engine.steps - epoch * self.epoch_steps - done), now - started
                )
                shown = now
            if not engine.steps % self.epoch_steps:
                break  # the rest is done at the end of the epoch
            if not engine.steps % LOOK_EVERY:
                self._recover_if_needed(order, epoch)
            stop, due = self._requests(request, now) if self.workers.alone else self._summed_requests()
            if stop or due:
                self.record.seconds = before + now - started
                if stop:
                    self._stop(request)
                self._checkpoint_within_epoch()
        self._recover_if_needed(order, epoch, at_end=True)
        engine.settle()
        means = engine.means()  # waits for the device, so that the time is right
        seconds = before + time.perf_counter() - started
        self.record.seconds = 0.0
        validation, seed = self.validation_indices, self.config.training.seed
        return finish_epoch(engine, self.recovery, epoch + 1, means, seconds, order, validation, seed)

    def _requests(self, request: StopRequest, now: float) -> tuple[bool, bool]:
        """Whether this process asks for a stop, and for a checkpoint."""
        return request.signal_number is not None, self.storage.is_due(now)

    def _summed_requests(self) -> tuple[bool, bool]:
        """Whether any process asks for a stop, and for a checkpoint; summed along with the gradients."""
        if self.engine.device.type == "cuda" and self.engine.steps % LOOK_EVERY:
            return False, False  # the host does not wait for the device at every step
        stop, due = (total > 0 for total in self.engine.summed_notes.tolist())
        return stop, due

    def _show(self, bar: TrainingProgress, epoch: int, examples: int, seconds: float) -> None:
        """Move the bar. The host waits for the device here, at most twice a second."""
        means = self.engine.means(everywhere=False)
        shown = {name: means[name] for name in ("loss", "distortion", "rate")}
        bar.update(self.engine.steps, epoch + 1, shown, examples / seconds)

    def _recover_if_needed(self, order: Order, epoch: int, *, at_end: bool = False) -> None:
        self.engine.synchronize()
        reason = self.recovery.needed(order, epoch * self.epoch_steps, at_end=at_end)
        if reason is not None:
            raise DivergingError(reason)

    def _checkpoint_within_epoch(self) -> None:
        self.engine.settle()
        if self._is_finite():
            self.record.note_random()
            self.storage.begin_checkpoint()
        else:
            self.checkpoints.postpone()

    def _note(self, row: dict[str, Any], bar: TrainingProgress) -> None:
        self.record.add(row, self.checkpoints)
        bar.epoch(row)
        self.notices.log(epoch_line(row, self.config.training.epochs))

    def _adopt_changes(self) -> None:
        """Freeze everywhere what ``on_epoch`` has frozen, and see that a checkpoint from here on knows it."""
        trainable, good = self.engine.trainable, self.checkpoints.last_good
        if not self.workers.alone:
            trainable.spread()
        if good is not None and good.state["engine"]["frozen"] != trainable.frozen:
            self.engine.follow_model()
            self.checkpoints.last_good = None
            self.record.snapshot(self.checkpoints)

    def _finish(self) -> None:
        """Leave the best weights in the model and in the folder."""
        final = self.record.snapshot(self.checkpoints)
        self.engine.use_weights(self.record.best or final.state["engine"])
        self.engine.vae.eval()
        self.engine.release()
        self.record.usable = self.storage.usable_weights()
        self.checkpoints.save(final, self.record.usable)
        if self.folder is not None:
            write_statistics(self.folder, self.engine, self.train_indices, self.config)
        self.storage.write_status("trained")

    def _stop(self, request: StopRequest) -> None:
        number = request.signal_number or signal.SIGTERM
        done = f"stopped in epoch {self.epochs_done + 1} after step {self.engine.steps}"
        if self.workers.is_first and self.folder is None:
            raise Stopped(f"{done}; nothing was saved; give out= to keep a run", number)
        self.engine.settle()
        if not self._is_finite():
            raise Stopped(f"{done}, with non-finite numbers; {self.checkpoints.kept()}", number)
        self.record.note_random()
        self.storage.save()
        if self.folder is None:
            raise Stopped(done, number)
        self.folder.log(done)
        raise Stopped(f"{done}; saved. To continue: elboroom resume {self.folder.path}", number)

    def _is_finite(self) -> bool:
        """Whether the present state may become a checkpoint. The host waits for the device here."""
        found = (*self.engine.means().values(), self.engine.largest_norm())
        finite = all(value is None or math.isfinite(value) for value in found)
        return finite and self.recovery.sound

    def _own_randomness(self) -> Any:
        """Leave the caller's random generators as they were."""
        device = self.workers.device
        return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])

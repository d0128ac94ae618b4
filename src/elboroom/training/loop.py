"""The loop around the step: epochs, validation, early stopping, checkpoints, signals, history."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import FailureError, UsageError
from elboroom.files import check_space
from elboroom.model import VAE
from elboroom.objectives import Objective
from elboroom.run import Run
from elboroom.training.engine import Engine, epoch_order, find_device, steps_per_epoch
from elboroom.training.prepare import check_same, prepare, resolve
from elboroom.training.progress import TrainingProgress, epoch_line
from elboroom.training.signals import Stopped, StopRequest, stop_on_signal
from elboroom.training.state import copy_state, load_state, random_state, save_state, set_random_state

# Checkpoints may cost this part of the time; short epochs share one.
_CHECKPOINT_SHARE = 0.05
_BAR_SECONDS = 0.5

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
    ):
        self.data = prepare(data, config)
        self.config = resolve(vae, self.data, config)
        self.quiet = quiet
        self.train_indices = self.data.indices("train")
        self.validation_indices = self.data.indices("validation")
        self.epoch_steps = steps_per_epoch(len(self.train_indices), config.training)
        device = find_device(config.training.device)
        batches = Batches(self.data, device, binarize=config.data.binarize, flip=config.data.flip)
        self._custom_objective = objective is not None
        objective = objective or Objective.from_config(config.objective, self.epoch_steps)
        self.engine = Engine(vae, objective, batches, config, device)
        self.folder: Run | None = None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.seconds = 0.0  # of the epoch under way, before the last stop
        with self._own_randomness():
            torch.manual_seed(config.training.seed)
            self._random = random_state(device)

    # The run folder.

    def create(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Start a run folder, with a first checkpoint so that it can be resumed from any moment on."""
        custom = self.engine.vae.config is None
        # Weights with two moments, as last and best checkpoint, each beside its predecessor meanwhile.
        numbers = sum(p.numel() * p.element_size() for p in self.engine.parameters)
        check_space(Path(path), 3 * 2 * 2 * numbers)
        self.folder = Run.create(path, self.config, custom_model=custom, overwrite=overwrite)
        self._write_environment()
        self.folder.write_model(self.engine.vae)
        self.save()

    def open(self, folder: Run, *, finish: bool = False) -> None:
        """Go on with a run, from its last checkpoint.

        With ``finish`` one that has all its epochs is fine too: killed before its last files were written.

        Raises
        ------
        UsageError
            If the data are not those it was trained on, or the checkpoint is missing or damaged.
        """
        known = folder.environment.get("data_fingerprint")
        if known is not None and known != self.data.fingerprint():
            raise UsageError(
                f"{self.data.name} is not what {folder.path} was trained on: contents, split or validation "
                "part differ; resume with the same data, or start a new run"
            )
        state = load_state(folder.path / "checkpoints" / "last" / "state.safetensors")
        check_same(folder, self.config, custom_objective=self._custom_objective, state=state)
        try:
            self._load(state)
        except (RuntimeError, KeyError, ValueError) as error:
            detail = " ".join(str(error).split())
            raise UsageError(f"the model is not the one that {folder.path} was made with: {detail}") from None
        best = folder.path / "checkpoints" / "best" / "state.safetensors"
        self.best = load_state(best) if best.exists() else None
        self.folder = folder
        self._check_more_to_do(folder, finish)
        folder.write_config(self.config)
        folder.write_history(self.history)

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

    def save(self) -> None:
        """Write checkpoints, history and the weights to use."""
        if self.folder is None:
            return
        checkpoints = self.folder.path / "checkpoints"
        # The best first: then it is never older than what the last checkpoint knows of.
        if self.best is not None:
            save_state(checkpoints / "best" / "state.safetensors", self.best)
        save_state(checkpoints / "last" / "state.safetensors", self.state())
        self.folder.write_history(self.history)

    def state(self) -> dict[str, Any]:
        """All that going on depends on: weights, optimiser, randomness, position, history, best so far."""
        return {
            "engine": self.engine.state_dict(),
            "random": self._random,
            "history": self.history,
            "seconds": self.seconds,
            "custom_objective": self._custom_objective,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self.engine.load_state_dict(state["engine"])
        self._random = state["random"]
        self.history = state["history"]
        self.seconds = state["seconds"]

    def _write_environment(self) -> None:
        assert self.folder is not None
        self.folder.write_environment(
            data=self.data.describe(),
            data_fingerprint=self.data.fingerprint(),
            device=str(self.engine.device),
            parameters=sum(p.numel() for p in self.engine.parameters),
        )

    # The loop.

    @property
    def epochs_done(self) -> int:
        """Whole epochs trained."""
        return self.engine.steps // self.epoch_steps

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best validation ELBO so far, counted from 1."""
        scores = [(row["val_elbo"], -row["epoch"]) for row in self.history if "val_elbo" in row]
        return -max(scores)[1] if scores else None

    def run(self, on_epoch: OnEpoch | None = None) -> list[dict[str, Any]]:
        """Train up to the configured epoch and return the history."""
        epochs = self.config.training.epochs
        bar = TrainingProgress(epochs * self.epoch_steps, self.engine.steps, quiet=self.quiet)
        spent, started = 0.0, time.perf_counter()
        with self._own_randomness(), stop_on_signal() as request, bar:
            set_random_state(self._random, self.engine.device)
            while self.epochs_done < epochs and not self._out_of_patience():
                row = self._epoch(request, bar)
                self._note(row, bar)
                if on_epoch is not None:
                    with self.engine.averaged():
                        on_epoch(self.engine.vae, row)
                    set_random_state(self._random, self.engine.device)
                if spent < _CHECKPOINT_SHARE * (time.perf_counter() - started):
                    spent += _timed(self.save)
            self._random = random_state(self.engine.device)
        self.save()
        self._finish()
        if request.signal_number is not None:
            where = f" in {self.folder.path}" if self.folder else ""
            raise Stopped(
                f"stopped after the last epoch; the model{where} is complete", request.signal_number
            )
        return self.history

    def _epoch(self, request: StopRequest, bar: TrainingProgress) -> dict[str, Any]:
        """Train the rest of the epoch under way."""
        engine, epoch = self.engine, self.epochs_done
        order = epoch_order(self.train_indices, self.config.training, epoch)
        done = engine.steps % self.epoch_steps
        if not done:
            engine.reset_meters()
        started = shown = time.perf_counter()
        engine.vae.train()
        for batch in engine.batches.stream(order[done:]):
            if request.signal_number is not None:
                self.seconds += time.perf_counter() - started
                self._stop(request.signal_number)
            engine.step(batch)
            now = time.perf_counter()
            if now - shown > _BAR_SECONDS:
                # Here the host waits for the device, twice a second at most.
                now_means = engine.means()
                shown_means = {name: now_means[name] for name in ("loss", "distortion", "rate")}
                speed = (engine.steps % self.epoch_steps or self.epoch_steps) - done
                bar.update(engine.steps, epoch + 1, shown_means, speed * len(batch) / (now - started))
                shown = now
        means = engine.means()
        seconds = self.seconds + time.perf_counter() - started
        self.seconds = 0.0
        return self._row(epoch + 1, means, seconds, sum(map(len, order)))

    def _row(self, epoch: int, means: dict[str, float], seconds: float, examples: int) -> dict[str, Any]:
        engine = self.engine
        self._check_finite(epoch, {**means, "weights": engine.largest_norm()})
        row: dict[str, Any] = {"epoch": epoch, "step": engine.steps, **means}
        row |= {
            "beta": engine.objective.coefficients(engine.steps - 1)[0],
            "learning_rate": engine.learning_rate,
        }
        row |= {"images_per_second": examples / seconds, "seconds": seconds}
        if len(self.validation_indices):
            measured = engine.measure(self.validation_indices, self.config.training.seed)
            self._check_finite(epoch, {f"val_{name}": value for name, value in measured.items()})
            row |= {f"val_{name}": value for name, value in measured.items()}
        engine.end_epoch(row.get("val_loss", row["loss"]))
        return row

    def _note(self, row: dict[str, Any], bar: TrainingProgress) -> None:
        self.history.append(row)
        self._random = random_state(self.engine.device)
        line = epoch_line(row, self.config.training.epochs)
        bar.epoch(line)
        if self.best_epoch == row["epoch"]:
            self.best = copy_state(self.state())
        if self.folder is not None:
            self.folder.log(line)
            self.folder.write_history(self.history)
            if self.best is None or self.best_epoch == row["epoch"]:
                with self.engine.averaged():
                    self.folder.write_model(self.engine.vae)

    def _finish(self) -> None:
        """Leave the best weights in the model and in the folder."""
        state = self.engine.state_dict() if self.best is None else self.best["engine"]
        self.engine.use_weights(state)
        self.engine.vae.eval()
        self.engine.optimizer.zero_grad()
        if self.folder is not None:
            self.folder.write_model(self.engine.vae)

    def _stop(self, number: int) -> None:
        self._random = random_state(self.engine.device)
        self.save()
        done = f"stopped in epoch {self.epochs_done + 1} after step {self.engine.steps}"
        if self.folder is None:
            raise Stopped(f"{done}; nothing was saved: give out= to keep a run", number)
        how = f"elboroom resume {self.folder.path}"
        self.folder.log(done)
        raise Stopped(f"{done}; saved. Go on with: {how}", number)

    def _out_of_patience(self) -> bool:
        patience, best = self.config.training.patience, self.best_epoch
        return patience is not None and best is not None and self.epochs_done - best >= patience

    def _check_finite(self, epoch: int, means: dict[str, float]) -> None:
        wrong = next((name for name, value in means.items() if not math.isfinite(value)), None)
        if wrong is None:
            return
        kept = f"; {self.folder.path} keeps the last good checkpoint" if self.folder else ""
        raise FailureError(
            f"{wrong} is {means[wrong]} in epoch {epoch}: training has diverged; lower --lr "
            f"(now {self.engine.learning_rate:g}) or set --clip{kept}"
        )

    def _own_randomness(self) -> Any:
        """Leave the caller's generators as they were."""
        cuda = self.engine.device.type == "cuda"
        return torch.random.fork_rng(devices=[self.engine.device] if cuda else [])


def _timed(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started

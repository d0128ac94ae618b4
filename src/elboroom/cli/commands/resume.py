"""``elboroom resume``: a stopped run trained to its end, or a finished one for longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import Devices, Quiet, RunVerb
from elboroom.cli.parser import in_options
from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Resume(RunVerb):
    """Resume a stopped run, or extend a finished one.

    The result is bit-identical to one uninterrupted run.
    """

    epochs: Annotated[
        int | None,
        Option(metavar="INT", help="Train up to this epoch. Default: the number in the run's configuration."),
    ] = None
    patience: Annotated[
        int | None,
        Option(metavar="INT", help="Stop after this many epochs without a better validation bound."),
    ] = None
    data: Annotated[
        str | None, Option(metavar="PATH", help="New location of the run's data, if they have moved.")
    ] = None
    condition_file: Annotated[
        str | None,
        Option(metavar="NPY", help="New location of their condition vectors, if they have moved."),
    ] = None
    device: Annotated[
        str | None,
        Option(metavar="NAME", help="Device to train on. Default: the one in the run's configuration."),
    ] = None
    track: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Trackers: tensorboard, mlflow, wandb, trackio, several separated by commas; none. Default: "
            "those in the run's configuration.",
        ),
    ] = None
    devices: Devices = 1
    quiet: Quiet = False

    def __call__(self) -> None:
        """Train up to the configuration's epochs, then measure and draw again.

        Raises
        ------
        UsageError
            If the model of the run was composed in Python.
        """
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.run_data import read_own
        from elboroom.cli.training_run import launched, run_to_end
        from elboroom.distributed.processes import Workers
        from elboroom.models.vae import VAE
        from elboroom.runs.run import Run
        from elboroom.training.allocator import keep_freed_memory
        from elboroom.training.devices import find_device
        from elboroom.training.loop import Training

        run = Run(self.run)
        if launched(self.devices, self.device or run.config.training.device):
            return
        keep_freed_memory()
        config = self._changed(run.config)
        if run.custom_model:
            raise UsageError(
                f"{run.path} contains a model composed in Python: build it and call "
                "elboroom.fit(..., resume=True)"
            )
        workers = Workers(find_device(config.training.device))
        vae = VAE.build(config.model)
        data = workers.in_turn(lambda: read_own(run, config))
        training = Training(vae, data, config, quiet=self.quiet, workers=workers)
        training.notices.wording = in_options
        if _places(config) != _places(run.config) and _is_complete(run, config):
            workers.first(lambda: training.relocate(run))
            if workers.is_first:
                print(f"{shown(run.path)} now reads its data from {config.data.source}; it is fully trained")
            return
        training.open(run, finish=run.status.state != "finished")
        run_to_end(console(quiet=self.quiet), training, vae)

    def _changed(self, config: Config) -> Config:
        from elboroom.data import full_name

        places = {"source": self.data, "condition_file": self.condition_file}
        moved = {name: full_name(place) for name, place in places.items() if place is not None}
        changes = {"epochs": self.epochs, "patience": self.patience, "device": self.device, **moved}
        if self.track is not None:
            config = config.updated(track=self.track)  # which may be "none"
        return config.updated(**{name: value for name, value in changes.items() if value is not None})


def _places(config: Config) -> tuple[str | None, str | None]:
    """Return the location of the data and of the condition vectors."""
    return config.data.source, config.model.condition_file


def _is_complete(run: Run, config: Config) -> bool:
    """Whether the run is finished, and all epochs are trained or patience ran out."""
    history, patience = run.history, config.training.patience
    done = len(history) >= config.training.epochs
    if patience is not None and history:
        from elboroom.runs.best_epoch import quality

        measured = [row for row in history if "val_elbo" in row]
        best = max(measured, key=quality) if measured else history[0]
        done = done or len(history) - best["epoch"] >= patience
    return done and run.status.state == "finished"

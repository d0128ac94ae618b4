"""``elboroom train``: a model trained on data, in a run folder with its numbers and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import Devices, TrainingVerb
from elboroom.cli.parser import in_options, parse
from elboroom.cli.starting_point import starting_point
from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.errors import UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from elboroom.data import Dataset
    from elboroom.models.vae import VAE
    from elboroom.training.loop import Training

_WAY = 2.0  # learning rate × steps that a mechanism of missing cells needs (docs/missing.md)


@dataclass(frozen=True, kw_only=True)
class Train(TrainingVerb):
    """Train a VAE. Writes a run folder with the model, its numbers and its figures.

    Examples: 'elboroom train mnist --latent-dim 2', 'elboroom train photos/ --hidden 1000 500 --beta 4'.
    """

    common = ("--out", "--preset", "--recipe", "--config", "--overwrite", "--quiet", *TrainingVerb.usual)

    out: Annotated[Path | None, Option(help="Folder for the run. Default: runs/DATA.")] = None
    recipe: Annotated[
        str | None,
        Option(metavar="NAME", help="Recipe to apply on top of the preset; see 'elboroom recipes'."),
    ] = None
    start_from: Annotated[
        str | None,
        Option(
            metavar="RUN",
            help="Start from the networks and weights of a run, or of a folder of diffusers' AutoencoderKL; "
            "its likelihood and objective are the defaults.",
        ),
    ] = None
    overwrite: Annotated[bool, Option(help="Replace an existing run in --out.")] = False
    devices: Devices = 1
    dry_run: Annotated[bool, Option(help="Print the layers with their parameters and memory, then exit.")] = (
        False
    )

    @classmethod
    def read(cls, argv: Sequence[str], prog: str) -> Callable[[], None]:
        """Read a command line on top of the preset, recipe and configuration file that it names."""
        return parse(cls, argv, prog=prog, start=cls(settings=starting_point(argv)))

    @property
    def configuration(self) -> Config:
        """The configuration with the data set that the command line names."""
        return self.settings if self.source is None else self.settings.updated(source=self.source)

    def __call__(self) -> None:
        """Train, unless it is a dry run or other processes were launched to do it."""
        from elboroom.cli.console import console
        from elboroom.cli.inputs.run_data import read_data
        from elboroom.cli.inputs.start_model import take_weights
        from elboroom.cli.training_run import launched, run_to_end
        from elboroom.data import full_name
        from elboroom.distributed.processes import Workers
        from elboroom.networks import summarize
        from elboroom.runs.run import check_free
        from elboroom.training.allocator import keep_freed_memory
        from elboroom.training.crops import as_crops
        from elboroom.training.defaults import fitting_model
        from elboroom.training.devices import find_device
        from elboroom.training.loop import Training
        from elboroom.training.prepare import build

        if launched(self.devices, self.settings.training.device):
            return
        keep_freed_memory()
        config = self.configuration
        say, folder = console(quiet=self.quiet), self.out or _new_folder(config)
        workers = Workers(find_device(config.training.device))
        workers.first(lambda: check_free(folder, overwrite=self.overwrite))
        data = workers.in_turn(lambda: read_data(config))
        config = config.updated(source=full_name(config.data.source or data.name))
        if config.model.condition_file is not None:
            config = config.updated(condition_file=full_name(config.model.condition_file))
        _check_model_matches(config, as_crops(data, config))
        model, choice = fitting_model(config, data)
        config = config.merged({"model": dict(model)})
        vae = build(config, data)
        start = None if self.start_from is None else take_weights(vae, self.start_from)
        if start is None and config.training.freeze == "encoder" and workers.is_first:
            say.print("warning: --freeze encoder without --start-from keeps the codes of random weights")
        training = Training(vae, data, config, quiet=self.quiet, workers=workers)
        training.notices.wording = in_options
        if self.dry_run:
            if workers.is_first:
                _say(say, training.data.describe(), choice)
                print(summarize(vae, vae.shape, config.training.batch_size))
            return
        training.create(folder, overwrite=self.overwrite)
        _introduce(say, training, vae, folder, choice)
        if start is not None:
            start.record(training.folder)
            say.print(start.described)
        run_to_end(say, training, vae)


def _new_folder(config: Config) -> Path:
    """Choose runs/NAME, numbered if it exists."""
    from elboroom.data import full_name

    name = Path(full_name(config.data.source or "run")).resolve().stem
    name = re.sub(r"[^\w.-]+", "-", name).strip("-") or "run"  # a pattern of shards contains braces and stars
    number = 1
    while (folder := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _check_model_matches(config: Config, data: Dataset) -> None:
    shape = config.model.shape
    if shape is not None and shape != data.shape:
        raise UsageError(
            f"model.shape = {shape}, but the examples of {data.name} have shape {data.shape}; leave it out"
        )


def _introduce(say: Console, training: Training, vae: VAE, folder: Path, choice: str) -> None:
    """Describe the data, the model, the objective and the length of the training."""
    from elboroom.cli.console import shown
    from elboroom.data.dataset import skipped_lines
    from elboroom.objectives.equivalents import beta_in_words
    from elboroom.training.devices import find_device
    from elboroom.training.order import steps_per_epoch

    data, config = training.data, training.config
    done = "--standardize" if config.model.standardize else "\0"
    notes = [*(note for note in data.notes if done not in note), *skipped_lines(data)]
    sizes = "-".join(map(str, config.model.hidden)) if config.model.network == "mlp" else config.model.network
    parameters = sum(p.numel() for p in vae.parameters())
    seen = getattr(vae.likelihood, "input_shape", vae.shape)  # by the encoder
    steps, epochs = steps_per_epoch(len(data.indices("train")), config.training), config.training.epochs
    _say(
        say,
        data.describe(),
        *(f"  {printable(in_options(note))}" for note in notes),
        f"encoder {'×'.join(map(str, seen))}-{sizes}-{vae.latent_dim}, "
        f"{config.model.likelihood} likelihood, {parameters:,} parameters, on "
        f"{find_device(config.training.device)}",
        choice,
        beta_in_words(config, data.shape),
        f"{epochs} epoch{'' if epochs == 1 else 's'} of {steps} steps into {shown(folder)}",
        _on_mechanism(config, steps),
    )


def _on_mechanism(config: Config, steps: int) -> str:
    """What is said of a training too short for a mechanism of missing cells, of so many steps an epoch."""
    reached = config.optimizer.lr * steps
    if config.model.missing_mechanism == "ignorable" or reached * config.training.epochs >= _WAY:
        return ""
    enough = math.ceil(_WAY / reached)
    return (
        f"note: --missing-mechanism {config.model.missing_mechanism} may stay too flat in so few steps; give "
        f"--lr 5e-3 or --epochs {enough}, and compare the imputations of two lengths"
    )


def _say(say: Console, *lines: str) -> None:
    """Print lines that are not empty."""
    for line in filter(None, lines):
        say.print(line)

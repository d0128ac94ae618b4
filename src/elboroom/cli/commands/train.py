"""``train`` and ``resume``: data in, a trained model, numbers and pictures out."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from elboroom.cli.commands.common import console, full_name, read_data, read_own, shown
from elboroom.cli.parser import in_options
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.data.dataset import skipped_lines
from elboroom.distributed.processes import Workers, launched_by_torchrun
from elboroom.errors import FailureError, UsageError, printable, reason_of
from elboroom.evaluation import evaluate
from elboroom.evaluation.examples import as_trained
from elboroom.figures.standard_set import draw_all, draw_progress
from elboroom.models.vae import VAE
from elboroom.networks import summarize
from elboroom.objectives.equivalents import beta_in_words
from elboroom.runs import write_status
from elboroom.runs.run import Run, check_free
from elboroom.training.allocator import keep_freed_memory
from elboroom.training.defaults import fitting_model
from elboroom.training.devices import find_device
from elboroom.training.loop import Training
from elboroom.training.order import steps_per_epoch
from elboroom.training.prepare import build

_IDLE_NATS = 0.1


def launched(devices: int, device: str) -> bool:
    """Run the command line in several processes, if that is wished and this is not one of them."""
    if devices == 1 or launched_by_torchrun():
        return False
    from elboroom.distributed.launch import check_devices, launch

    check_devices(devices)
    find_device(device)
    launch(devices, sys.argv[1:])
    return True


def train(config: Config, out: Path | None, *, overwrite: bool, quiet: bool, dry_run: bool) -> None:
    """Train on the configuration's data and leave a run folder with numbers and pictures."""
    keep_freed_memory()
    say = console(quiet=quiet)
    folder = out or _new_folder(config)
    workers = Workers(find_device(config.training.device))
    workers.first(lambda: check_free(folder, overwrite=overwrite))
    data = workers.in_turn(lambda: read_data(config))
    config = config.updated(source=full_name(config.data.source or data.name))
    if config.model.condition_file is not None:
        config = config.updated(condition_file=full_name(config.model.condition_file))
    _check_model_matches(config, data)
    model, choice = fitting_model(config, data)
    config = config.merged({"model": dict(model)})
    vae = build(config, data)
    training = Training(vae, data, config, quiet=quiet, workers=workers)
    training.notices.wording = in_options
    if dry_run:
        if not workers.is_first:
            return
        say.print(training.data.describe())
        if choice:
            say.print(choice)
        print(summarize(vae, vae.shape, config.training.batch_size))
        return
    training.create(folder, overwrite=overwrite)
    _introduce(say, training.data, vae, training.config, folder, choice)
    _run(say, training, vae)


def resume(run: Run, config: Config, *, quiet: bool) -> None:
    """Go on with a run up to the configuration's epochs, then measure and draw it again."""
    keep_freed_memory()
    if run.custom_model:
        raise UsageError(
            f"{run.path} holds a model composed in Python: build it and call elboroom.fit(..., resume=True)"
        )
    workers = Workers(find_device(config.training.device))
    vae = VAE.build(config.model)
    data = workers.in_turn(lambda: read_own(run, config))
    training = Training(vae, data, config, quiet=quiet, workers=workers)
    training.notices.wording = in_options
    say = console(quiet=quiet)
    moved = any(new != old for new, old in zip(_places(config), _places(run.config), strict=True))
    if moved and _is_complete(run, config):
        workers.first(lambda: training.relocate(run))
        if workers.is_first:
            print(f"{shown(run.path)} has its data in {config.data.source} now; nothing was left to train")
        return
    training.open(run, finish=run.status.state != "finished")
    _run(say, training, vae)


def _places(config: Config) -> tuple[str | None, str | None]:
    """Where data and vectors are."""
    return config.data.source, config.model.condition_file


def _is_complete(run: Run, config: Config) -> bool:
    """Whether nothing is left to do: all epochs are there, or patience ran out, and the rest was done."""
    history, patience = run.history, config.training.patience
    done = len(history) >= config.training.epochs
    if patience is not None and history:
        best = max(history, key=lambda row: row.get("val_elbo", -math.inf))
        done = done or len(history) - best["epoch"] >= patience
    return done and run.status.state == "finished"


def _run(say: Console, training: Training, vae: VAE) -> None:
    folder = training.folder
    draw = _draw_while_training(training.data, training.config, folder.path) if folder else None
    trained = training.epochs_done < training.config.training.epochs
    history = training.run(draw)
    training.workers.close()
    if folder is None:  # the other processes have none, and are done
        return
    if trained or not _has_results(folder):
        _measure(vae, training.data, folder)
    _tell_results(say, training, vae, folder)
    _draw(say, vae, training.data, history, folder)
    write_status(folder.path, "finished")
    say.print(f"next       {_advice(vae, folder.path)}")


def _new_folder(config: Config) -> Path:
    """runs/NAME, with a number if that is taken."""
    name = Path(full_name(config.data.source or "run")).resolve().stem
    name = re.sub(r"[^\w.-]+", "-", name).strip("-") or "run"  # a pattern of shards has braces and stars
    number = 1
    while (folder := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _check_model_matches(config: Config, data: Dataset) -> None:
    shape = config.model.shape
    if shape is not None and shape != data.shape:
        raise UsageError(
            f"model.shape = {shape}, and {data.name} holds examples of {data.shape}; leave it out"
        )


def _introduce(say: Console, data: Dataset, vae: VAE, config: Config, folder: Path, choice: str) -> None:
    say.print(data.describe())
    done = "--standardize" if config.model.standardize else "\0"
    for line in (*(note for note in data.notes if done not in note), *skipped_lines(data)):
        say.print(f"  {printable(line)}", markup=False)
    parameters = sum(p.numel() for p in vae.parameters())
    sizes = "-".join(map(str, config.model.hidden)) if config.model.network == "mlp" else config.model.network
    say.print(
        f"encoder {'×'.join(map(str, vae.shape))}-{sizes}-{vae.latent_dim}, "
        f"{config.model.likelihood} likelihood, {parameters:,} parameters, on "
        f"{find_device(config.training.device)}"
    )
    if choice:
        say.print(choice)
    say.print(beta_in_words(config, data.shape))
    steps = steps_per_epoch(len(data.indices("train")), config.training)
    epochs = config.training.epochs
    say.print(f"{epochs} epoch{'' if epochs == 1 else 's'} of {steps} steps into {shown(folder)}")


def _draw_while_training(data: Dataset, config: Config, folder: Path) -> Any:
    every, binarize = config.training.figures_every, config.data.binarize

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if every and row["epoch"] % every == 0 and row["epoch"] < config.training.epochs:
            draw_progress(vae, as_trained(vae, data, binarize), row["epoch"], folder / "figures")

    return on_epoch


def _measure(vae: VAE, data: Dataset, run: Run) -> None:
    parts: tuple[Literal["test", "validation", "train"], ...] = ("test", "validation", "train")
    part = next(part for part in parts if len(data.indices(part)))
    device = next(vae.parameters()).device
    batches = Batches(data, device, binarize=run.config.data.binarize, dequantize=run.config.data.dequantize)
    measured = evaluate(vae, batches, data.indices(part), num_samples=0, seed=run.config.training.seed)
    run.write_metrics({"split": part, **measured})


_TOLD = ("split", "elbo", "distortion", "rate", "active_units")


def _has_results(run: Run) -> bool:
    """Whether metrics.json holds what is told at the end; if it was damaged, the model is measured again."""
    try:
        found = run.metrics
    except UsageError:
        return False
    return all(isinstance(found.get(name), int | float | str) for name in _TOLD)


def _tell_results(say: Console, training: Training, vae: VAE, run: Run) -> None:
    """Numbers, which weights they are of, and where: standard output has these lines alone."""
    measured = run.metrics
    error = "" if measured.get("elbo_stderr") is None else f" ± {measured['elbo_stderr']:.2f}"
    print(
        f"{measured['split']:<10} ELBO {measured['elbo']:.2f}{error} = "
        f"-(distortion {measured['distortion']:.2f} + rate {measured['rate']:.2f}) nats"
    )
    print(f"latent     {measured['active_units']} of {vae.latent_dim} dimensions used")
    print(f"weights    {weights_kept(training)}")
    print(f"run        {shown(run.path)}", flush=True)
    if training.record.rollbacks:
        say.print(
            f"training diverged and went back to a good state {training.record.rollbacks} times, each time "
            f"with a lower learning rate; the last was {training.engine.learning_rate:.3g}"
        )
    objective = run.config.objective
    if run.config.model.network == "ladder" and objective.bound == "elbo" and not objective.free_bits:
        idle = idle_layers(measured["rate_of_layers"])
        if idle is not None:
            say.print(idle)


def weights_kept(training: Training) -> str:
    """Say of which epoch the weights in a run are, and why of that one."""
    best, epochs = training.record.best_row, training.epochs_done
    if best is None:
        which = f"of the last epoch, {epochs}: no validation examples are held out to choose by"
    else:
        elbo = f"{best['val_elbo']:.2f}"
        which = f"of epoch {best['epoch']} of {epochs}, the one of the best validation ELBO, {elbo}"
    ema = training.config.training.ema
    return which if ema is None else f"{which}; their running average, --ema {ema:g}"


def _draw(say: Console, vae: VAE, data: Dataset, history: list[dict[str, Any]], run: Run) -> None:
    """Draw what there is room for.

    Raises
    ------
    FailureError
        If there was no room for all.
    """
    folder, lacking = run.path / "figures", dict[Path, Exception]()
    way_on = f"the model and its numbers are complete, and 'elboroom resume {run.path}' draws the pictures"
    say.print("drawing")
    try:
        drawn = draw_all(
            vae,
            as_trained(vae, data, run.config.data.binarize),
            history,
            folder,
            on_lack=lacking.__setitem__,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped while drawing; {way_on}") from None
    if drawn:
        say.print(f"pictures   {shown(folder)}: {', '.join(path.name for path in drawn)}")
    if lacking:
        path, error = next(iter(lacking.items()))
        raise FailureError(
            f"{len(lacking)} of {len(lacking) + len(drawn)} pictures could not be drawn, {path.name} and so "
            f"on: {reason_of(error)}; {way_on}"
        )


def idle_layers(rates: Sequence[float]) -> str | None:
    """Say which layers of a ladder carry nothing, and what would let them; None if all carry something.

    Examples
    --------
    >>> print(idle_layers([8.9, 0.0, 28.1]))
    layer 2 of 3 carries less than 0.1 nats; --free-bits 6 lets each carry as much at no cost
    """
    idle = [str(number) for number, rate in enumerate(rates, 1) if rate < _IDLE_NATS]
    if not idle:
        return None
    which = f"layer {idle[0]} of {len(rates)} carries"
    if len(idle) > 1:
        which = f"layers {', '.join(idle[:-1])} and {idle[-1]} of {len(rates)} carry"
    # Half of what there is, shared out evenly; the other half goes where it pays.
    nats = float(f"{max(sum(rates) / len(rates) / 2, _IDLE_NATS):.1g}")
    return f"{which} less than {_IDLE_NATS:g} nats; --free-bits {nats:g} lets each carry as much at no cost"


def _advice(vae: VAE, run: Path) -> str:
    """The command that measures more."""
    posterior = getattr(vae.posterior, "makes", None)
    if getattr(posterior, "stochastic", True):
        return f"elboroom evaluate {shown(run)}    for the importance-sampled NLL"
    return f"elboroom evaluate {shown(run)} --num-samples 0    for other examples; this posterior has no NLL"

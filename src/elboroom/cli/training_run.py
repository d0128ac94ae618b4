"""What ``train`` and ``resume`` share: train to the last epoch, then measure, report and draw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from elboroom.cli.console import shown
from elboroom.cli.findings import line_of
from elboroom.cli.inputs.prior import fitting_command, why_noisy
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.distributed.launch import check_devices, launch
from elboroom.distributed.processes import launched_by_torchrun
from elboroom.doctor import Finding, examine
from elboroom.errors import FailureError, UsageError, reason_of
from elboroom.evaluation import evaluate
from elboroom.evaluation.examples import as_trained
from elboroom.evaluation.fitting import why_not
from elboroom.evaluation.latent_statistics import spread_of
from elboroom.figures.standard_set import draw_all, draw_progress
from elboroom.models.vae import VAE
from elboroom.probability.codes import UniformCodes
from elboroom.runs import write_status
from elboroom.runs.best_epoch import bound_name, quality, quality_name
from elboroom.runs.run import Run
from elboroom.runs.statistics_file import read_statistics
from elboroom.training.devices import find_device
from elboroom.training.loop import Training

_MOST_FINDINGS = 3
_SAID_AT_START = "schedule does not fit"


def launched(devices: int, device: str) -> bool:
    """Run this command line in several processes, if several are asked for and this is not one of them."""
    if devices == 1 or launched_by_torchrun():
        return False
    check_devices(devices)
    find_device(device)
    launch(devices, sys.argv[1:])
    return True


def run_to_end(say: Console, training: Training, vae: VAE) -> None:
    """Train up to the configuration's epochs, then measure the model, print the results and draw figures."""
    folder = training.folder
    draw = _draw_while_training(training.data, training.config, folder.path) if folder else None
    trained = training.epochs_done < training.config.training.epochs
    history = training.run(draw)
    training.workers.close()
    if folder is None:  # only the first process has a folder
        return
    try:
        if trained or not _has_results(folder):
            _measure(vae, training.data, folder)
        _check_measured(folder)
        _print_results(say, training, vae, folder)
        _draw(say, vae, training.data, history, folder)
        write_status(folder.path, "finished")
    finally:
        training.tracking.close()
    say.print(f"next       {next_command(vae, folder.path)}")


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


def _check_measured(run: Run) -> None:
    """Refuse to finish a run whose model gives no finite bound.

    Raises
    ------
    FailureError
        If the ELBO is not finite; the run is then marked as diverged.
    """
    measured = run.metrics
    if measured.get("elbo") is not None:
        return
    lost = measured.get("not_finite", {}).get("elbo", "not known")
    reason = f"the ELBO of the {measured['split']} examples is {lost}"
    write_status(run.path, "diverged", f"{reason}: training has diverged")
    raise FailureError(f"{reason}: training has diverged; start again with a lower --lr, or set --clip")


_RESULTS = ("split", "elbo", "distortion", "rate", "active_units")


def _has_results(run: Run) -> bool:
    """Whether metrics.json can be read and holds the numbers that are printed."""
    try:
        found = run.metrics
    except UsageError:
        return False
    return all(isinstance(found.get(name), int | float | str) for name in _RESULTS)


def _print_results(say: Console, training: Training, vae: VAE, run: Run) -> None:
    """Print the results, which alone go to standard output, and notes about the training."""
    measured = run.metrics
    error = "" if measured.get("elbo_stderr") is None else f" ± {measured['elbo_stderr']:.2f}"
    print(
        f"{measured['split']:<10} {bound_name(measured['rate'])} {measured['elbo']:.2f}{error} = "
        f"-(distortion {measured['distortion']:.2f} + rate {measured['rate']:.2f}) nats"
    )
    print(f"latent     {measured['active_units']} of {vae.latent_dim} dimensions active")
    print(f"weights    {weights_kept(training)}")
    statistics = read_statistics(run.path)
    if statistics is not None:
        print(f"codes      {spread_of(statistics)}")
    print(f"run        {shown(run.path)}", flush=True)
    if training.record.rollbacks:
        times = "once" if training.record.rollbacks == 1 else f"{training.record.rollbacks} times"
        say.print(
            f"training diverged {times} and restarted from the last good state with a lower learning rate, "
            f"now {training.engine.learning_rate:.3g}"
        )
    quantised = isinstance(vae.prior, UniformCodes)
    reason = why_noisy(run, vae) if quantised or statistics is not None else None
    if reason is not None:
        fix = "" if why_not(vae) is not None else f"; '{fitting_command(run, vae)}' fits a prior to them"
        say.print(f"draws from the model's own prior will look like noise: {reason}{fix}")
    for finding in _findings(run):
        say.print(line_of(finding))


def _findings(run: Run) -> list[Finding]:
    """What the doctor finds in the records alone, the few findings that it names first."""
    found = examine(run)
    new = [one for one in found.findings if one.disease != _SAID_AT_START]
    return [*new, *found.notes][:_MOST_FINDINGS]


def weights_kept(training: Training) -> str:
    """Say which epoch the saved weights come from, and why."""
    best, epochs = training.record.best_row, training.epochs_done
    if best is None:
        why = "there are no validation examples to select by"
        if training.validation_indices.size:
            why = "with a patch critic the best validation bound does not tell which is best"
        which = f"from epoch {epochs}, the last; {why}"
    else:
        value = f"{quality(best):.2f}"
        which = f"from epoch {best['epoch']} of {epochs}, which has the best {quality_name(best)}, {value}"
    ema = training.config.training.ema
    return which if ema is None else f"{which}; averaged with --ema {ema:g}"


def _draw(say: Console, vae: VAE, data: Dataset, history: list[dict[str, Any]], run: Run) -> None:
    """Draw the standard figures, as many as the disk has room for.

    Raises
    ------
    FailureError
        If some could not be drawn.
    """
    folder, lacking = run.path / "figures", dict[Path, Exception]()
    fix = f"the model and its numbers are complete; 'elboroom resume {run.path}' draws the pictures"
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
        raise KeyboardInterrupt(f"stopped while drawing; {fix}") from None
    if drawn:
        say.print(f"pictures   {shown(folder)}: {', '.join(path.name for path in drawn)}")
    if lacking:
        path, error = next(iter(lacking.items()))
        raise FailureError(
            f"{len(lacking)} of {len(lacking) + len(drawn)} pictures could not be drawn, such as "
            f"{path.name}: {reason_of(error)}; {fix}"
        )


def next_command(vae: VAE, run: Path) -> str:
    """Suggest the command to run next."""
    posterior = getattr(vae.posterior, "makes", None)
    if getattr(posterior, "stochastic", True):
        return f"elboroom evaluate {shown(run)}    (importance-sampled NLL)"
    return f"elboroom evaluate {shown(run)} --num-samples 0    (this posterior has no NLL)"

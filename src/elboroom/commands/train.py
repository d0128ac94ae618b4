"""``train`` and ``resume``: data in, a trained model, numbers and pictures out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from elboroom.commands.common import console, full_name, read_data, shown
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate
from elboroom.gallery import draw_all, draw_progress
from elboroom.model import VAE
from elboroom.run import Run, check_free
from elboroom.training import fit
from elboroom.training.engine import find_device, steps_per_epoch


def train(config: Config, out: Path | None, *, overwrite: bool, quiet: bool) -> None:
    """Train on the configuration's data and leave a run folder with numbers and pictures."""
    say = console()
    folder = out or _new_folder(config)
    check_free(folder, overwrite=overwrite)
    find_device(config.training.device)
    data = read_data(config)
    config = config.updated(source=full_name(config.data.source or data.name))
    model = {**dict(config.model), "shape": data.shape, "scale": data.scale}
    _check_model_matches(config, data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        vae = VAE.build(**model)
    _introduce(say, data, vae, config, folder)
    on_epoch = _draw_while_training(data, config, folder)
    history = fit(vae, data, out=folder, config=config, overwrite=overwrite, on_epoch=on_epoch, quiet=quiet)
    _conclude(say, vae, data, history, Run(folder))


def resume(run: Run, config: Config, *, quiet: bool) -> None:
    """Go on with a run up to the configuration's epochs, then measure and draw it again."""
    data = read_data(config)
    vae = VAE.build(config.model)
    on_epoch = _draw_while_training(data, config, run.path)
    history = fit(vae, data, out=run.path, config=config, resume=True, on_epoch=on_epoch, quiet=quiet)
    _conclude(console(), vae, data, history, Run(run.path))


def _new_folder(config: Config) -> Path:
    """runs/NAME, with a number if that is taken."""
    name = Path(config.data.source or "run").stem
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


def _introduce(say: Console, data: Dataset, vae: VAE, config: Config, folder: Path) -> None:
    say.print(data.describe())
    for skipped in data.skipped[:5]:
        say.print(f"  skipped {skipped.path}: {skipped.reason}")
    parameters = sum(p.numel() for p in vae.parameters())
    sizes = "-".join(map(str, (*config.model.hidden, vae.latent_dim)))
    say.print(
        f"encoder {'×'.join(map(str, vae.shape))}-{sizes}, {config.model.likelihood} likelihood, "
        f"{parameters:,} parameters, on {find_device(config.training.device)}"
    )
    say.print(beta_note(config, data))
    steps = steps_per_epoch(len(data.indices("train")), config.training)
    say.print(f"{config.training.epochs} epochs of {steps} steps into {shown(folder)}")


def beta_note(config: Config, data: Dataset) -> str:
    """What beta is called in programs that average the reconstruction error over pixels."""
    size = 1
    for side in data.shape:
        size *= side
    beta, batch = config.objective.beta, config.training.batch_size
    kind = "cross-entropy"
    if config.model.likelihood == "gaussian":
        # distortion = squared error / (2σ²) + constant
        beta, kind = beta * 2 * config.model.likelihood_scale**2, "squared error"
    return (
        f"beta {config.objective.beta:g} (1 is the ELBO): the KL's weight would be {beta / size:.3g} beside "
        f"a {kind} averaged over batch and dimensions, or {beta / size / batch:.3g} if summed over the batch"
    )


def _draw_while_training(data: Dataset, config: Config, folder: Path) -> Any:
    every = config.training.figures_every

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if every and row["epoch"] % every == 0 and row["epoch"] < config.training.epochs:
            draw_progress(vae, data, row["epoch"], folder / "figures")

    return on_epoch


def _conclude(say: Console, vae: VAE, data: Dataset, history: list[dict[str, Any]], run: Run) -> None:
    parts: tuple[Literal["test", "validation", "train"], ...] = ("test", "validation", "train")
    part = next(part for part in parts if len(data.indices(part)))
    device = next(vae.parameters()).device
    batches = Batches(data, device, binarize=run.config.data.binarize)
    measured = evaluate(vae, batches, data.indices(part), num_samples=0, seed=run.config.training.seed)
    run.write_metrics({"split": part, **measured})
    say.print(
        f"{part}: ELBO {measured['elbo']:.2f} = -(distortion {measured['distortion']:.2f} "
        f"+ rate {measured['rate']:.2f}) nats; "
        f"{measured['active_units']} of {vae.latent_dim} latent dimensions used"
    )
    say.print("drawing")
    pictures = draw_all(vae, data, history, run.path / "figures")
    say.print(f"run      {shown(run.path)}")
    for path in pictures:
        say.print(f"picture  {shown(path)}")
    say.print(f"next     elboroom evaluate {shown(run.path)}    for the importance-sampled NLL")

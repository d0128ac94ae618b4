"""What each verb of the command line takes; the work is done in ``commands``, imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from elboroom.cli.commands.compare import Compare
from elboroom.cli.data_verbs import data_faces, data_import_haskell, data_join, data_list, data_show
from elboroom.cli.options import (
    Device,
    Devices,
    Images,
    Label,
    Overwrite,
    Positional,
    Precision,
    PrepareImages,
    RunFolder,
    Seed,
    Split,
    arg,
    at_least,
)
from elboroom.cli.picture_verbs import figures, morph, reconstruct, sample, traverse
from elboroom.config import Config
from elboroom.errors import UsageError


@dataclass(frozen=True)
class Train:
    """Train a VAE. Writes a run folder with the model, its numbers and its figures.

    Examples: 'elboroom train mnist --latent-dim 2', 'elboroom train photos/ --hidden 1000 500 --beta 4'.
    """

    source: Annotated[
        Positional[str | None],
        arg(
            metavar="DATA",
            help="A named data set (see 'elboroom data list'), {FORMATS}.",
        ),
    ] = None
    out: Annotated[Path | None, arg(help="Folder for the run. Default: runs/DATA.")] = None
    preset: Annotated[str | None, arg(help="Configuration to start from: {PRESETS}.")] = None
    recipe: Annotated[
        str | None, arg(help="Recipe to apply on top of the preset; see 'elboroom recipes'.")
    ] = None
    config: Annotated[
        Path | None,
        arg(help="TOML file to apply on top of preset and recipe. Options on the command line override it."),
    ] = None
    overwrite: Annotated[bool, arg(help="Replace an existing run in --out.")] = False
    devices: Devices = 1
    quiet: Annotated[bool, arg(help="Print results and errors only.")] = False
    dry_run: Annotated[bool, arg(help="Print the layers with their parameters and memory, then exit.")] = (
        False
    )
    settings: Config = field(default_factory=Config)

    def __call__(self) -> None:
        """Run it; ``preset``, ``recipe`` and ``config`` were read before, as the defaults of ``settings``."""
        from elboroom.cli.commands.train import launched, train

        if launched(self.devices, self.settings.training.device):
            return
        settings = self.settings if self.source is None else self.settings.updated(source=self.source)
        train(settings, self.out, overwrite=self.overwrite, quiet=self.quiet, dry_run=self.dry_run)


def resume(
    run: Positional[RunFolder],
    epochs: Annotated[
        int | None, arg(help="Train up to this epoch. Default: the number in the run's configuration.")
    ] = None,
    patience: Annotated[
        int | None, arg(metavar="INT", help="Stop after this many epochs without a better validation ELBO.")
    ] = None,
    data: Annotated[
        str | None, arg(metavar="PATH", help="Where the run's data are now, if they have moved.")
    ] = None,
    condition_file: Annotated[
        str | None, arg(metavar="NPY", help="Where their vectors are now, if they have moved.")
    ] = None,
    device: Annotated[
        str | None,
        arg(metavar="NAME", help="Device to train on. Default: the one in the run's configuration."),
    ] = None,
    devices: Devices = 1,
    quiet: Annotated[bool, arg(help="Print results and errors only.")] = False,
) -> None:
    """Resume a stopped run, or extend a finished one, bit-identical to one uninterrupted run."""
    from elboroom.cli.commands.common import full_name
    from elboroom.cli.commands.train import launched
    from elboroom.cli.commands.train import resume as run_training
    from elboroom.runs.run import Run

    folder = Run(run)
    if launched(devices, device or folder.config.training.device):
        return
    places = {"source": data, "condition_file": condition_file}
    moved = {name: full_name(place) for name, place in places.items() if place is not None}
    changes = {"epochs": epochs, "patience": patience, "device": device, **moved}
    changes = {name: value for name, value in changes.items() if value is not None}
    run_training(folder, folder.config.updated(**changes), quiet=quiet)


def evaluate(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Data to use instead of the run's own.")] = None,
    condition_file: Annotated[
        Path | None, arg(metavar="NPY", help="Vectors of other data, for a model conditional on them.")
    ] = None,
    split: Split = "test",
    num_samples: Annotated[
        int, arg(help="Importance samples per example for the NLL. 0 skips the NLL.")
    ] = 1000,
    limit: Annotated[int | None, arg(help="Evaluate only the first this many examples.")] = None,
    seed: Seed = 0,
    precision: Precision = "fp32",
    device: Device = "auto",
    out: Annotated[
        Path | None, arg(help="A .json for the numbers, in place of the run's metrics.json.")
    ] = None,
    overwrite: Overwrite = False,
    json: Annotated[bool, arg(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Evaluate a run: ELBO, distortion, rate, importance-sampled NLL and active units, in nats."""
    from elboroom.cli.commands.measure import evaluate as measure
    from elboroom.runs.run import Run

    at_least("--num-samples", num_samples, 0)
    at_least("--limit", 1 if limit is None else limit, 1)
    measure(
        Run(run),
        data,
        split,
        num_samples,
        limit,
        seed,
        precision,
        device,
        as_json=json,
        out=out,
        overwrite=overwrite,
        vectors=condition_file,
    )


def neighbours(
    run: Positional[RunFolder],
    images: Positional[Images] = (),
    samples: Annotated[int, arg(help="Also show this many samples from the model.")] = 0,
    frames: Annotated[int, arg(help="Show this many frames of the morph between two images instead.")] = 0,
    n: Annotated[int, arg(help="Number of neighbours to show for each.")] = 5,
    space: Annotated[
        Literal["pixels", "codes"], arg(help="Space in which distances are measured.")
    ] = "pixels",
    label: Label = None,
    seed: Seed = 0,
    out: Annotated[Path | None, arg(help="Output file (.png). Default: RUN/figures/neighbours.png.")] = None,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Show images, samples or frames of a morph beside the training images nearest to them."""
    from elboroom.cli.commands import morph as commands
    from elboroom.runs.run import Run

    at_least("--n", n, 1)
    at_least("--samples", samples, 0)
    if frames and (samples or len(images) != 2):
        raise UsageError(
            f"--frames {frames} takes two images and no --samples; got {len(images)} and {samples}"
        )
    at_least("--frames", frames, 2 if frames else 0)
    if not images and not samples:
        raise UsageError("nothing to look at: name images, or give --samples 8")
    commands.neighbours(
        Run(run),
        images,
        samples=samples,
        frames=frames,
        n=n,
        space=space,
        seed=seed,
        out=out,
        overwrite=overwrite,
        prepare=prepare,
        device=device,
        label=label,
    )


def report(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Data to use instead of the run's own.")] = None,
    split: Split = "test",
    seed: Seed = 0,
    device: Device = "auto",
    json: Annotated[bool, arg(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Evaluate each class separately, and say whether one is reconstructed as another."""
    from elboroom.cli.commands.report import report as measure
    from elboroom.runs.run import Run

    measure(Run(run), data, split, seed, device, as_json=json)


def embed(
    run: Positional[RunFolder],
    data: Annotated[
        Positional[str | None], arg(metavar="DATA", help="Data to embed. Default: the run's own.")
    ] = None,
    out: Annotated[
        Path, arg(help=".csv or .npz, with the row or file of each code; .npy, with these in .rows.csv.")
    ] = Path("z.npy"),
    precision: Precision = "fp32",
    device: Device = "auto",
) -> None:
    """Write the code (posterior mean) of every example to a file."""
    from elboroom.cli.commands.embed import embed as write_codes
    from elboroom.runs.run import Run

    write_codes(Run(run), data, out, precision, device)


def recipes(
    name: Annotated[
        Positional[str | None], arg(metavar="RECIPE", help="Recipe to describe. Default: list all of them.")
    ] = None,
) -> None:
    """List the recipes: papers that can be trained by name."""
    from elboroom.cli.commands import recipes as command

    command.show(name) if name is not None else command.show_all()


VERBS: dict[str, Any] = {
    "train": Train,
    "recipes": recipes,
    "resume": resume,
    "evaluate": evaluate,
    "compare": Compare,
    "report": report,
    "figures": figures,
    "reconstruct": reconstruct,
    "sample": sample,
    "morph": morph,
    "neighbours": neighbours,
    "traverse": traverse,
    "embed": embed,
    "data list": data_list,
    "data show": data_show,
    "data faces": data_faces,
    "data join": data_join,
    "data import-haskell": data_import_haskell,
}

# What most people use of the verbs that have more options than fit a screen; --help-all shows the others.
_SETTINGS = (
    *("--latent-dim", "--network", "--hidden", "--likelihood", "--condition", "--beta", "--beta-schedule"),
    *("--binarize", "--data.size", "--validation", "--epochs", "--batch-size", "--lr", "--patience"),
    *("--seed", "--device"),
)
COMMON = {
    "train": ("--out", "--preset", "--recipe", "--config", "--overwrite", "--quiet", *_SETTINGS),
    "compare": ("--recipes", "--seeds", "--nll-samples", "--out", "--preset", "--quiet", *_SETTINGS),
}

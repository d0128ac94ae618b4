"""What each verb of the command line takes; the work is done in ``commands``, imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from elboroom.commands.compare import Compare
from elboroom.config import Config
from elboroom.data_verbs import data_faces, data_import_haskell, data_list, data_show
from elboroom.errors import UsageError

Device = Annotated[str, arg(help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.")]
Precision = Annotated[
    Literal["fp32", "bf16"],
    arg(help="Of the networks' products: bf16 is faster where the hardware has it, to about three digits."),
]
Devices = Annotated[
    int,
    arg(
        help="Train in so many processes of this machine, one a GPU if there are; torchrun does it over many."
    ),
]
Images = Annotated[
    tuple[str, ...],
    arg(
        metavar="IMAGE [IMAGE ...]",
        help="Image files, or examples of a data set as SET:INDEX, such as mnist:7.",
    ),
]
Resize = Annotated[bool, arg(help="Bring images of another size to the model's.")]
Label = Annotated[
    str | None,
    arg(
        metavar="LABEL",
        help="What a conditional model is told: a label, by name or number, or a vector as 0.5,1,0.",
    ),
]
RunFolder = Annotated[
    str, arg(metavar="RUN", help="The folder that 'elboroom train' named, such as runs/mnist.")
]


@dataclass(frozen=True)
class Train:
    """Train a VAE: data in, a run folder with the model, numbers and pictures out.

    Examples: 'elboroom train mnist --latent-dim 2', 'elboroom train photos/ --hidden 1000 500 --beta 4'.
    """

    source: Annotated[
        Positional[str | None],
        arg(
            metavar="DATA",
            help="A named set ('elboroom data list'), a .npy, .npz or .csv, or a folder of images.",
        ),
    ] = None
    out: Annotated[Path | None, arg(help="Folder of the run; runs/DATA if not given.")] = None
    preset: Annotated[str | None, arg(help="Start from a configuration that comes with elboroom.")] = None
    recipe: Annotated[
        str | None, arg(help="Lay a paper's composition over it; 'elboroom recipes' lists them.")
    ] = None
    config: Annotated[
        Path | None, arg(help="Lay a TOML file over that; the command line goes before all.")
    ] = None
    overwrite: Annotated[bool, arg(help="Replace a run that is in --out.")] = False
    devices: Devices = 1
    quiet: Annotated[bool, arg(help="Show no progress.")] = False
    dry_run: Annotated[bool, arg(help="Print the layers with their parameters and memory, and stop.")] = False
    settings: Annotated[Config, arg(name="")] = field(default_factory=Config)

    def __call__(self) -> None:
        """Run it; ``preset``, ``recipe`` and ``config`` were read before, as the defaults of ``settings``."""
        from elboroom.commands.train import launched, train

        if launched(self.devices, self.settings.training.device):
            return
        settings = self.settings if self.source is None else self.settings.updated(source=self.source)
        train(settings, self.out, overwrite=self.overwrite, quiet=self.quiet, dry_run=self.dry_run)


def resume(
    run: Positional[RunFolder],
    epochs: Annotated[
        int | None, arg(help="Go on to this epoch; the configured number if not given.")
    ] = None,
    patience: Annotated[
        int | None, arg(metavar="INT", help="Stop after so many epochs without a better one.")
    ] = None,
    device: Annotated[str | None, arg(metavar="NAME", help="Train on another device than before.")] = None,
    devices: Devices = 1,
    quiet: Annotated[bool, arg(help="Show no progress.")] = False,
) -> None:
    """Go on with a run that was stopped, or for longer: bit for bit what it would have been in one go."""
    from elboroom.commands.train import launched
    from elboroom.commands.train import resume as run_training
    from elboroom.run import Run

    folder = Run(run)
    if launched(devices, device or folder.config.training.device):
        return
    changes = {"epochs": epochs, "patience": patience, "device": device}
    changes = {name: value for name, value in changes.items() if value is not None}
    run_training(folder, folder.config.updated(**changes), quiet=quiet)


def evaluate(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Other data than the run's.")] = None,
    split: Literal["test", "validation", "train", "all"] = "test",
    num_samples: Annotated[
        int, arg(help="Importance samples of each example for the NLL; 0 for none.")
    ] = 1000,
    limit: Annotated[int | None, arg(help="Measure the first so many examples only.")] = None,
    seed: int = 0,
    precision: Precision = "fp32",
    device: Device = "auto",
    json: Annotated[bool, arg(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Measure a run: ELBO, distortion, rate, importance-sampled NLL, active units; nats per example."""
    from elboroom.commands.measure import evaluate as measure
    from elboroom.run import Run

    _at_least("--num-samples", num_samples, 0)
    _at_least("--limit", 1 if limit is None else limit, 1)
    measure(Run(run), data, split, num_samples, limit, seed, precision, device, as_json=json)


def figures(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Other data than the run's.")] = None,
    only: Annotated[tuple[str, ...], arg(help="Draw these only, such as latent manifold.")] = (),
    mark: Annotated[tuple[str, ...], arg(help="Images to mark in the histogram of losses.")] = (),
    label: Label = None,
    out: Annotated[Path | None, arg(help="Folder for the pictures; RUN/figures if not given.")] = None,
    resize: Resize = False,
    device: Device = "auto",
) -> None:
    """Draw the standard figures: losses, reconstructions, latent map, manifold, morph, samples and more."""
    from elboroom.commands import draw
    from elboroom.run import Run

    draw.figures(Run(run), data, only, mark, out, device, resize=resize, label=label)


def reconstruct(
    run: Positional[RunFolder],
    images: Positional[Images],
    refine: Annotated[
        int, arg(help="Gradient steps on the code, for images unlike the training's; try 100.")
    ] = 0,
    label: Label = None,
    out: Annotated[Path | None, arg(help="Folder for the pictures; RUN/figures if not given.")] = None,
    resize: Resize = False,
    device: Device = "auto",
) -> None:
    """Encode images and decode them again: a picture of each, and a sheet with all beside their originals."""
    from elboroom.commands import draw
    from elboroom.run import Run

    if not images:
        raise UsageError("no image named: give image files, or examples as SET:INDEX, such as mnist:7")
    steps = _at_least("--refine", refine, 0)
    draw.reconstruct(Run(run), images, steps, out, device, resize=resize, label=label)


def sample(
    run: Positional[RunFolder],
    n: Annotated[int, arg(help="How many.")] = 64,
    label: Label = None,
    out: Annotated[
        Path | None, arg(help=".png, or .npy for the numbers; RUN/samples/samples.png if not given.")
    ] = None,
    observe: Annotated[bool, arg(help="Draw from the likelihood too, instead of showing its mean.")] = False,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Draw codes from the prior and decode them; of a model that is told labels, a row for each of them."""
    from elboroom.commands import draw
    from elboroom.run import Run

    draw.sample(Run(run), _at_least("--n", n, 1), out, seed, device, observe=observe, label=label)


def morph(
    run: Positional[RunFolder],
    images: Annotated[
        Positional[tuple[str, ...]],
        arg(
            metavar="A [A ...] B",
            help="Where to start and, last, where to end: image files, SET:INDEX such as mnist:7, or of a "
            "class LABEL:random, LABEL:nearest or LABEL:mean such as dog:random.",
        ),
    ],
    walk: Annotated[
        Literal["linear", "spherical", "dense", "data"],
        arg(
            help="Which way: straight, along a sphere, where the prior is dense, or where codes of data are."
        ),
    ] = "linear",
    toward: Annotated[
        str | None,
        arg(
            help="Go towards this label instead of to B; or in the direction in which the numbers in a .npy, "
            "one per example, grow."
        ),
    ] = None,
    label: Label = None,
    to_label: Annotated[
        str | None,
        arg(
            metavar="LABEL",
            help="Go to the same with another label, in a conditional model, instead of to B.",
        ),
    ] = None,
    away: Annotated[str | None, arg(help="And away from this one; from all others if not given.")] = None,
    strength: Annotated[
        float, arg(help="How far: 1 is the difference of the labels' means, or a standard deviation.")
    ] = 1.0,
    refine: Annotated[
        int,
        arg(help="Gradient steps that first improve the codes of images, such as 200 for photos."),
    ] = 0,
    steps: Annotated[int, arg(help="Pictures on the way, both ends among them.")] = 25,
    seed: Annotated[int, arg(help="Of the random members of a class.")] = 0,
    out: Annotated[
        Path | None,
        arg(help=".gif, .mp4, or .png for a strip or a sheet; RUN/figures/morph.gif if not given."),
    ] = None,
    milliseconds: Annotated[int, arg(help="How long each picture of a GIF or film is shown.")] = 60,
    resize: Resize = False,
    device: Device = "auto",
) -> None:
    """Walk through the latent space from images to another, to a class or along an attribute."""
    from elboroom.commands import morph as commands
    from elboroom.run import Run

    _at_least("--steps", steps, 2)
    _at_least("--milliseconds", milliseconds, 1)
    _at_least("--refine", refine, 0)
    _at_least("--seed", seed, 0)
    if toward is not None and to_label is not None:
        raise UsageError(f"--toward {toward} and --to-label {to_label}: give one of the two")
    if len(images) < (2 if toward is None and to_label is None else 1):
        missing = "B" if images else "A"
        raise UsageError(f"{missing} is missing; give two images or more, or with --toward LABEL one or more")
    if toward is None and away is not None:
        raise UsageError(f"--away {away}: where to is missing; add --toward LABEL")
    if not abs(strength) < float("inf"):
        raise UsageError(f"--strength {strength}: a finite number, such as 1.5")
    commands.morph(
        Run(run),
        images,
        walk=walk,
        toward=toward,
        away=away,
        strength=strength,
        refining=refine,
        steps=steps,
        seed=seed,
        out=out,
        milliseconds=milliseconds,
        resize=resize,
        device=device,
        label=label,
        to_label=to_label,
    )


def neighbours(
    run: Positional[RunFolder],
    images: Positional[Images] = (),
    samples: Annotated[int, arg(help="Look at so many samples of the model as well.")] = 0,
    frames: Annotated[
        int, arg(help="Look at so many frames of the morph between the two images instead.")
    ] = 0,
    n: Annotated[int, arg(help="Neighbours of each to show.")] = 5,
    space: Annotated[Literal["pixels", "codes"], arg(help="What is compared.")] = "pixels",
    label: Label = None,
    seed: int = 0,
    out: Annotated[Path | None, arg(help=".png; RUN/figures/neighbours.png if not given.")] = None,
    resize: Resize = False,
    device: Device = "auto",
) -> None:
    """Is it memorised: images, samples or a morph's frames beside the training images nearest to them."""
    from elboroom.commands import morph as commands
    from elboroom.run import Run

    _at_least("--n", n, 1)
    _at_least("--samples", samples, 0)
    if frames and (samples or len(images) != 2):
        raise UsageError(
            f"--frames {frames} takes two images and no --samples; got {len(images)} and {samples}"
        )
    _at_least("--frames", frames, 2 if frames else 0)
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
        resize=resize,
        device=device,
        label=label,
    )


def report(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Other data than the run's.")] = None,
    split: Literal["test", "validation", "train", "all"] = "test",
    seed: int = 0,
    device: Device = "auto",
    json: Annotated[bool, arg(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Measure each class on its own, and say if one is rebuilt as another."""
    from elboroom.commands import morph as commands
    from elboroom.run import Run

    commands.report(Run(run), data, split, seed, device, as_json=json)


def traverse(
    run: Positional[RunFolder],
    at: Annotated[
        str | None, arg(help="Start from this image or SET:INDEX instead of the middle of the prior.")
    ] = None,
    dims: Annotated[
        tuple[int, ...], arg(help="Latent dimensions, from 0; the most active if not given.")
    ] = (),
    layer: Annotated[
        int | None, arg(help="Of several stochastic layers the most active dimensions of this, 1 the top.")
    ] = None,
    steps: Annotated[int, arg(help="Pictures in a row.")] = 11,
    span: Annotated[float, arg(help="From -span to span.")] = 3.0,
    label: Label = None,
    out: Annotated[Path | None, arg(help=".png; RUN/figures/traversals.png if not given.")] = None,
    resize: Resize = False,
    device: Device = "auto",
) -> None:
    """Change one latent dimension at a time and see what it means."""
    from elboroom.commands import draw
    from elboroom.run import Run

    _at_least("--steps", steps, 2)
    if not 0 < span < float("inf"):
        raise UsageError(f"--span {span}: a number above 0")
    draw.traverse(Run(run), at, dims, steps, span, out, device, layer=layer, resize=resize, label=label)


def embed(
    run: Positional[RunFolder],
    data: Annotated[
        Positional[str | None], arg(metavar="DATA", help="Any data set; the run's own if not given.")
    ] = None,
    out: Annotated[Path, arg(help=".npy (codes), .npz (with labels and split) or .csv.")] = Path("z.npy"),
    precision: Precision = "fp32",
    device: Device = "auto",
) -> None:
    """Write the code (posterior mean) of every example."""
    from elboroom.commands import measure
    from elboroom.run import Run

    measure.embed(Run(run), data, out, precision, device)


def recipes(
    name: Annotated[
        Positional[str | None], arg(metavar="RECIPE", help="Show what this one sets; all if not given.")
    ] = None,
) -> None:
    """List the papers that can be trained by name, each a composition of parts."""
    from elboroom.commands import recipes as command

    command.show(name) if name is not None else command.show_all()


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise UsageError(f"{option} {value}: at least {least}")
    return value


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
    "data import-haskell": data_import_haskell,
}

"""What the verbs that draw take; the work is done in ``commands``, imported when it is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from elboroom.cli.options import (
    Device,
    Images,
    Label,
    Overwrite,
    Positional,
    PrepareImages,
    RunFolder,
    Seed,
    arg,
    at_least,
)
from elboroom.errors import UsageError


def figures(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Other data than the run's.")] = None,
    only: Annotated[tuple[str, ...], arg(help="Draw these only, such as latent manifold.")] = (),
    mark: Annotated[tuple[str, ...], arg(help="Images to mark in the histogram of losses.")] = (),
    label: Label = None,
    out: Annotated[Path | None, arg(help="Folder for the pictures; RUN/figures if not given.")] = None,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Draw the standard figures: losses, reconstructions, latent map, manifold, morph, samples and more."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    draw.figures(Run(run), data, only, mark, out, device, overwrite=overwrite, prepare=prepare, label=label)


def reconstruct(
    run: Positional[RunFolder],
    images: Positional[Images],
    refine: Annotated[
        int, arg(help="Gradient steps on the code, for images unlike the training's; try 100.")
    ] = 0,
    label: Label = None,
    out: Annotated[Path | None, arg(help="Folder for the pictures; RUN/figures if not given.")] = None,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Encode images and decode them again: a picture of each, and a sheet with all beside their originals."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    if not images:
        raise UsageError("no image named: give image files, or examples as SET:INDEX, such as mnist:7")
    steps = at_least("--refine", refine, 0)
    draw.reconstruct(Run(run), images, steps, out, device, overwrite=overwrite, prepare=prepare, label=label)


def sample(
    run: Positional[RunFolder],
    n: Annotated[int, arg(help="How many.")] = 64,
    label: Label = None,
    out: Annotated[
        Path | None, arg(help=".png, or .npy for the numbers; RUN/samples/samples.png if not given.")
    ] = None,
    observe: Annotated[bool, arg(help="Draw from the likelihood too, instead of showing its mean.")] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw codes from the prior and decode them; of a model that is told labels, a row for each of them."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    at_least("--n", n, 1)
    draw.sample(Run(run), n, out, seed, device, overwrite=overwrite, observe=observe, label=label)


def morph(
    run: Positional[RunFolder],
    images: Annotated[
        Positional[tuple[str, ...]],
        arg(
            metavar="A [A ...] B",
            help="Where to start and, last, where to end: image files (group.jpg:2 is the second largest "
            "face in a photo), SET:INDEX such as mnist:7, or of a class LABEL:random, LABEL:nearest or "
            "LABEL:mean such as dog:random.",
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
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Walk through the latent space from images to another, to a class or along an attribute."""
    from elboroom.cli.commands import morph as commands
    from elboroom.runs.run import Run

    at_least("--steps", steps, 2)
    at_least("--milliseconds", milliseconds, 1)
    at_least("--refine", refine, 0)
    at_least("--seed", seed, 0)
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
        overwrite=overwrite,
        prepare=prepare,
        device=device,
        label=label,
        to_label=to_label,
    )


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
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Change one latent dimension at a time and see what it means."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    at_least("--steps", steps, 2)
    if not 0 < span < float("inf"):
        raise UsageError(f"--span {span}: a number above 0")
    command = partial(draw.traverse, layer=layer, overwrite=overwrite, prepare=prepare, label=label)
    command(Run(run), at, dims, steps, span, out, device)

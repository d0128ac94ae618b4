"""What the verbs that draw take; the work is done in ``commands``, imported when it is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

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

_FAR = 1e6  # farther from the prior float32 loses the differences between codes
_LONGEST = 65_535  # a GIF holds 16-bit hundredths of a second, and both ends stay ten times as long


def figures(
    run: Positional[RunFolder],
    data: Annotated[str | None, arg(help="Data to use instead of the run's own.")] = None,
    only: Annotated[tuple[str, ...], arg(help="Draw only these figures: {FIGURES}.")] = (),
    mark: Annotated[tuple[str, ...], arg(help="Images to mark in the histogram of losses.")] = (),
    label: Label = None,
    out: Annotated[Path | None, arg(help="Folder for the pictures. Default: RUN/figures.")] = None,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Draw the standard figures: loss curves, reconstructions, latent map, morph, samples and more."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    draw.figures(Run(run), data, only, mark, out, device, overwrite=overwrite, prepare=prepare, label=label)


def reconstruct(
    run: Positional[RunFolder],
    images: Positional[Images],
    refine: Annotated[
        int, arg(help="Gradient steps that refine each code, for images unlike the training data; try 100.")
    ] = 0,
    label: Label = None,
    out: Annotated[Path | None, arg(help="Folder for the pictures. Default: RUN/figures.")] = None,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Encode and decode images. Writes each reconstruction, and a sheet of all beside the originals."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    if not images:
        raise UsageError("no image named: give image files, or examples as SET:INDEX, such as mnist:7")
    steps = at_least("--refine", refine, 0)
    draw.reconstruct(Run(run), images, steps, out, device, overwrite=overwrite, prepare=prepare, label=label)


def sample(
    run: Positional[RunFolder],
    n: Annotated[int, arg(help="Number of samples.")] = 64,
    label: Label = None,
    out: Annotated[
        Path | None,
        arg(help="Output file: .png for pictures or .npy for an array. Default: RUN/samples/samples.png."),
    ] = None,
    observe: Annotated[
        bool, arg(help="Sample from the likelihood as well, instead of showing its mean.")
    ] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Sample from the prior and decode. A model conditional on labels gives one row per label."""
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
            help="Path through the latent space: straight, along a sphere, through dense regions of "
            "the prior, or close to codes of the data."
        ),
    ] = "linear",
    toward: Annotated[
        str | None,
        arg(
            help="Move towards this label instead of to B; or, given a .npy with one number per "
            "example, in the direction in which those numbers grow."
        ),
    ] = None,
    label: Label = None,
    to_label: Annotated[
        str | None,
        arg(
            metavar="LABEL",
            help="Keep the code and change the label to this one, for a conditional model, instead of "
            "going to B.",
        ),
    ] = None,
    away: Annotated[
        str | None, arg(help="With --toward: move away from this label. Default: away from all others.")
    ] = None,
    strength: Annotated[
        float,
        arg(
            help="Distance to move: 1 is the difference between the labels' mean codes, or one "
            "standard deviation."
        ),
    ] = 1.0,
    refine: Annotated[
        int,
        arg(help="Gradient steps that refine the codes of images first; try 200 for photos."),
    ] = 0,
    steps: Annotated[int, arg(help="Number of pictures on the path, including both ends.")] = 25,
    seed: Annotated[int, Field(lt=2**63), arg(help="Random seed that chooses the members of a class.")] = 0,
    out: Annotated[
        Path | None,
        arg(help="Output file: .gif, .mp4, or .png for a strip or a sheet. Default: RUN/figures/morph.gif."),
    ] = None,
    milliseconds: Annotated[int, arg(help="Duration of each frame in milliseconds.")] = 60,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Morph between images, to a class or along an attribute, by a path through the latent space."""
    from elboroom.cli.commands import morph as commands
    from elboroom.runs.run import Run

    at_least("--steps", steps, 2)
    at_least("--milliseconds", milliseconds, 1)
    if milliseconds > _LONGEST:
        raise UsageError(f"--milliseconds {milliseconds}: at most {_LONGEST:,}")
    at_least("--refine", refine, 0)
    at_least("--seed", seed, 0)
    if toward is not None and to_label is not None:
        raise UsageError(f"--toward {toward} and --to-label {to_label}: give one of the two")
    if len(images) < (2 if toward is None and to_label is None else 1):
        missing = "B" if images else "A"
        raise UsageError(f"{missing} is missing; give two images or more, or with --toward LABEL one or more")
    if toward is None and away is not None:
        raise UsageError(f"--away {away}: where to is missing; add --toward LABEL")
    if not abs(strength) <= _FAR:
        raise UsageError(f"--strength {strength}: a finite number from -{_FAR:g} to {_FAR:g}, such as 1.5")
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
        str | None, arg(help="Image file or SET:INDEX to start from, instead of the centre of the prior.")
    ] = None,
    dims: Annotated[
        tuple[int, ...], arg(help="Latent dimensions, counted from 0. Default: the most active ones.")
    ] = (),
    layer: Annotated[
        int | None,
        arg(
            help="With several stochastic layers: traverse the most active dimensions of this layer; "
            "1 is the top."
        ),
    ] = None,
    steps: Annotated[int, arg(help="Pictures per row.")] = 11,
    span: Annotated[
        float, arg(help="Range of the traversal: from -span to span, in standard deviations of the prior.")
    ] = 3.0,
    label: Label = None,
    out: Annotated[Path | None, arg(help="Output file (.png). Default: RUN/figures/traversals.png.")] = None,
    overwrite: Overwrite = False,
    prepare: PrepareImages = "auto",
    device: Device = "auto",
) -> None:
    """Decode codes that differ in one latent dimension at a time."""
    from elboroom.cli.commands import draw
    from elboroom.runs.run import Run

    at_least("--steps", steps, 2)
    if not 0 < span <= _FAR:
        raise UsageError(f"--span {span}: a number above 0 and at most {_FAR:g}")
    command = partial(draw.traverse, layer=layer, overwrite=overwrite, prepare=prepare, label=label)
    command(Run(run), at, dims, steps, span, out, device)

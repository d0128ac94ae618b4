"""Options that several verbs share, and the base classes of the verbs.

A verb is a frozen dataclass: its fields are its options, and calling it does the work. Modules that need
PyTorch or Matplotlib are imported when a verb is called, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field

from elboroom.cli.parser import parse
from elboroom.config import Config
from elboroom.config.options import Option

T = TypeVar("T")
Positional = Annotated[T, Option(positional=True)]
"""An argument that is given by its position: ``Positional[str]``."""

Device = Annotated[
    str, Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps; auto uses a GPU if there is one.")
]
Precision = Annotated[
    Literal["fp32", "bf16"],
    Option(
        help="Precision of the networks' matrix products. bf16 is faster where the hardware supports it "
        "and keeps about three significant digits."
    ),
]
Devices = Annotated[
    int,
    Option(
        help="Number of processes on this machine, one per GPU if there are GPUs. For several "
        "machines use torchrun."
    ),
]
DATA = Option(metavar="DATA", help="A named data set (see 'elboroom data list'), {FORMATS}.")
OtherData = Annotated[str | None, Option(metavar="DATA", help="Data to use instead of the run's own.")]
Images = Annotated[
    tuple[str, ...],
    Option(
        metavar="IMAGE [IMAGE ...]",
        help="Image files (group.jpg:2 is the second largest face in a photo), or examples of a data set as "
        "SET:INDEX, such as mnist:7.",
    ),
]
Prepare = Literal["auto", "faces", "crop", "none"]
Split = Annotated[Literal["test", "validation", "train", "all"], Option(help="Part of the data to use.")]
Count = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
NotNegative = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63), Option(help="Random seed.")]
Prior = Annotated[
    Literal["model", "fitted"],
    Option(help="Prior to use: the model's own, or the one that 'fit-prior' fitted to the run's codes."),
]
Refine = Annotated[
    NotNegative,
    Option(help="Gradient steps that refine the code of each image; try 200 for photos."),
]
Json = Annotated[bool, Option(help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, Option(help="Print results and errors only.")]
Overwrite = Annotated[
    bool,
    Option(
        help="Replace existing files. Without it, a default name is numbered, and an existing --out is "
        "refused."
    ),
]
Folder = Annotated[Path | None, Option(help="Folder for the pictures. Default: RUN/figures.")]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """Base of all verbs. Fields are options, the docstring is the help, and calling it does the work.

    ``common`` names the options that the short help shows; it shows all if empty.
    """

    common: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def read(cls, argv: Sequence[str], prog: str) -> Callable[[], None]:
        """Read a command line; calling the result runs the verb.

        Raises
        ------
        UsageError
            If the command line is invalid.
        """
        return parse(cls, argv, prog=prog)

    def __call__(self) -> None:
        """Run the verb."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RunVerb(Verb):
    """A verb that works on a trained run."""

    run: Annotated[Positional[str], Option(metavar="RUN", help="Run folder, such as runs/mnist.")]


@dataclass(frozen=True, kw_only=True)
class ModelVerb(RunVerb):
    """A verb that computes with the model of a run."""

    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class PictureVerb(ModelVerb):
    """A verb that draws pictures from a run."""

    label: Annotated[
        str | None,
        Option(
            metavar="LABEL",
            help="Condition for a conditional model: a label by name or number, or a vector such as 0.5,1,0.",
        ),
    ] = None
    overwrite: Annotated[
        bool,
        Option(
            help="Replace existing files. Without it, new pictures are numbered, as in morph-2.gif, and an "
            "existing --out is refused."
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ImageVerb(PictureVerb):
    """A verb that draws pictures from images that the user names."""

    prepare: Annotated[
        Prepare,
        Option(
            help="How image files are prepared. auto: like the run's examples. faces: find the largest face, "
            "align it and cut it out. crop: resize the largest centred part. none: take them as they are, "
            "which must be the model's size."
        ),
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class TrainingVerb(Verb):
    """A verb that trains with a configuration given by options."""

    usual: ClassVar[tuple[str, ...]] = (
        *(
            "--latent-dim",
            "--network",
            "--hidden",
            "--likelihood",
            "--condition",
            "--beta",
            "--beta-schedule",
        ),
        *("--binarize", "--data.size", "--validation", "--epochs", "--batch-size", "--lr", "--patience"),
        *("--seed", "--device", "--track"),
    )

    source: Annotated[Positional[str | None], DATA] = None
    preset: Annotated[str | None, Option(metavar="NAME", help="Configuration to start from: {PRESETS}.")] = (
        None
    )
    config: Annotated[
        Path | None,
        Option(help="TOML file to apply on top of preset and recipe. Options override it."),
    ] = None
    quiet: Quiet = False
    settings: Config = field(default_factory=Config)

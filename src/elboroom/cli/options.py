"""Arguments that several verbs take."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from elboroom.config.options import Option
from elboroom.errors import UsageError

arg = Option
T = TypeVar("T")
Positional = Annotated[T, arg(positional=True)]
"""An argument that is given by its place: ``Positional[str]``."""

Device = Annotated[str, arg(help="cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.")]
Precision = Annotated[
    Literal["fp32", "bf16"],
    arg(
        help="Precision of the networks' matrix products. bf16 is faster where the hardware has it "
        "and keeps about three digits."
    ),
]
Devices = Annotated[
    int,
    arg(
        help="Number of processes on this machine, one per GPU if there are GPUs. For several "
        "machines use torchrun."
    ),
]
Images = Annotated[
    tuple[str, ...],
    arg(
        metavar="IMAGE [IMAGE ...]",
        help="Image files (group.jpg:2 is the second largest face in a photo), or examples of a data set as "
        "SET:INDEX, such as mnist:7.",
    ),
]
Prepare = Literal["auto", "faces", "crop", "none"]
PrepareImages = Annotated[
    Prepare,
    arg(
        help="What is done to image files. auto: what was done to the run's examples. faces: the largest "
        "face is found, aligned and cut out. crop: the largest centred part is resized. none: nothing, and "
        "the size must be the model's."
    ),
]
Overwrite = Annotated[
    bool,
    arg(
        help="Replace pictures that exist. Without it new ones are numbered, as in morph-2.gif, and an --out "
        "that exists is refused."
    ),
]
Split = Annotated[Literal["test", "validation", "train", "all"], arg(help="Part of the data to use.")]
Seed = Annotated[int, Field(ge=0, lt=2**63), arg(help="Random seed for everything that is drawn.")]
Label = Annotated[
    str | None,
    arg(
        metavar="LABEL",
        help="Condition for a conditional model: a label by name or number, or a vector such as 0.5,1,0.",
    ),
]
RunFolder = Annotated[str, arg(metavar="RUN", help="Run folder, such as runs/mnist.")]


def at_least(option: str, value: int, least: int) -> int:
    """Return the value of an option.

    Raises
    ------
    UsageError
        If it is lower than the least that is allowed.
    """
    if value < least:
        raise UsageError(f"{option} {value}: at least {least}")
    return value

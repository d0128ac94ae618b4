"""``elboroom export``: encoder and decoder as files that run without elboroom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from elboroom.cli.options import RunVerb
from elboroom.config.options import Option
from elboroom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Export(RunVerb):
    """Write the encoder and the decoder to files that run without elboroom.

    The folder has a README with code that runs them, and export.json, which describes inputs, outputs and
    units. The files are compared with the model before the folder appears.
    """

    to: Annotated[
        tuple[Literal["onnx", "pt2", "diffusers"], ...],
        Option(
            metavar="FORMAT ...",
            help="Formats: onnx (for onnxruntime and most other programs; needs elboroom[onnx]), pt2 (for "
            "torch.export.load) or diffusers (AutoencoderKL.from_pretrained; of --network autoencoder-kl).",
        ),
    ] = ("onnx",)
    out: Annotated[Path | None, Option(help="Folder to write. Default: RUN/export.")] = None
    pixels: Annotated[
        Literal["auto", "uint8", "float32"],
        Option(
            help="What the encoder takes: uint8 pixels, or float32 numbers in the units of the model. auto "
            "takes uint8 for images of 8-bit pixels."
        ),
    ] = "auto"
    overwrite: Annotated[bool, Option(help="Replace an earlier export in the folder.")] = False

    def __call__(self) -> None:
        """Write the folder and report how exactly the files compute what the model computes."""
        from elboroom.cli.console import console, shown
        from elboroom.exports import export
        from elboroom.exports.description import agreement
        from elboroom.runs.run import Run

        run = Run(self.run)
        folder = self.out or run.path / "export"
        try:
            about = export(run, folder, self.to, pixels=self.pixels, overwrite=self.overwrite)
        except UsageError as error:
            raise UsageError(_in_options(str(error))) from None
        say = console()
        for name, facts in about["formats"].items():
            gaps = facts["checked"]["largest_difference"]
            say.print(f"{name:<8} {', '.join(facts['files'])}: {agreement(gaps)}")
        if "latents" in about:
            latents = about["latents"]
            say.print(f"codes    scaling_factor {latents['scaling_factor']:.6g}: {latents['origin']}")
        say.print(f"wrote    {shown(folder)}; see {shown(folder / 'README.md')}")


def _in_options(message: str) -> str:
    """Reword a message about an argument of the library in the terms of this command.

    Examples
    --------
    >>> _in_options("pixels = 'uint8': this model takes numbers; or set overwrite=True")
    '--pixels uint8: this model takes numbers; or set --overwrite'
    """
    from elboroom.cli.parser import in_options

    message = message.replace("overwrite=True", "--overwrite")
    return in_options(re.sub(r"\b(to|pixels) = '([^']*)'", r"--\1 \2", message))

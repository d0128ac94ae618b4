"""``elboroom data import-haskell``: weights of the Haskell program as a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import Positional, Verb
from elboroom.config.options import Option


@dataclass(frozen=True, kw_only=True)
class DataImportHaskell(Verb):
    """Import weights saved by the Haskell program as a run."""

    base: Annotated[
        Positional[Path],
        Option(metavar="BASE", help="Path of the saved weights, without _front_nn_info.txt at its end."),
    ]
    out: Annotated[Path, Option(help="Folder for the run.")]
    shape: Annotated[
        tuple[int, ...] | None, Option(help="Shape of one example, such as 28 28 1. Default: a square.")
    ] = None
    overwrite: Annotated[bool, Option(help="Replace an existing run in --out.")] = False

    def __call__(self) -> None:
        """Write the run folder."""
        from elboroom.cli.console import console, shown
        from elboroom.runs import write_status
        from elboroom.runs.haskell_weights import describe_half, import_haskell
        from elboroom.runs.run import Run, check_free

        check_free(self.out, overwrite=self.overwrite)
        vae, config = import_haskell(self.base, self.shape)
        run = Run.create(self.out, config, overwrite=self.overwrite)
        run.write_model(vae)
        run.write_environment(imported_from=str(self.base))
        write_status(run.path, "trained")
        halves = f"encoder {describe_half(vae.encoder)}, decoder {describe_half(vae.decoder)}"
        say = console()
        say.print(f"{halves}, tanh, sigmoid")
        say.print(f"run      {shown(run.path)}")
        say.print(f"next     elboroom sample {shown(run.path)}")

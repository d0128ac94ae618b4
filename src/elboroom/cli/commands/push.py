"""``elboroom push``: a trained model with its card, to the Hugging Face hub or into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import RunVerb
from elboroom.config.options import Option
from elboroom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Push(RunVerb):
    """Upload a trained model with a model card to the Hugging Face hub, or write the same into a folder.

    Examples: 'elboroom push runs/mnist --repo me/mnist', 'elboroom push runs/mnist --out share'.
    """

    repo: Annotated[
        str | None, Option(metavar="USER/NAME", help="Repository on the hub; it is created if there is none.")
    ] = None
    license: Annotated[
        str | None, Option(metavar="NAME", help="Licence for the card, such as apache-2.0, mit or cc-by-4.0.")
    ] = None
    private: Annotated[bool, Option(help="Create the repository as a private one.")] = False
    revision: Annotated[str | None, Option(metavar="NAME", help="Branch of the repository.")] = None
    out: Annotated[Path | None, Option(help="Write the folder here, and upload nothing.")] = None

    def __call__(self) -> None:
        """Write or upload the folder.

        Raises
        ------
        UsageError
            If neither or both of --repo and --out are given, or one of them is invalid.
        FailureError
            If the hub refuses, or does not answer.
        """
        from elboroom.cli.console import shown
        from elboroom.runs.run import Run

        if (self.repo is None) == (self.out is None):
            raise UsageError("give --repo USER/NAME to upload, or --out FOLDER to write a folder")
        run = Run(self.run)
        vae = run.model()
        if self.out is not None:
            vae.save_pretrained(self.out, run=run, license=self.license)
            print(f"wrote {shown(self.out)}")
            return
        assert self.repo is not None
        address = vae.push_to_hub(
            self.repo, run=run, license=self.license, private=self.private, revision=self.revision
        )
        print(address)

"""``elboroom doctor``: what is wrong with a run or with data, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import Json, Positional, Verb
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.doctor import Diagnosis


@dataclass(frozen=True, kw_only=True)
class Doctor(Verb):
    """Say what is wrong with a run or with data: the evidence in numbers, and one option of 'train' that
    mends it.
    """

    target: Annotated[
        Positional[str],
        Option(metavar="RUN|DATA", help="Run folder, or data: a named set, {FORMATS}."),
    ]
    json: Json = False

    def __call__(self) -> None:
        """Examine it and print what was found."""
        from elboroom.cli.console import console, print_result
        from elboroom.cli.findings import line_of
        from elboroom.data import NAMED
        from elboroom.io.files import json_text

        path = Path(self.target)
        is_run = (path / "config.json").exists()
        if not is_run and self.target not in NAMED and path.is_dir() and not any(path.iterdir()):
            raise UsageError(f"{path} is empty: there is no run at this place, and no data")
        found = self._of_run() if is_run else self._of_data()
        if self.json:
            print(json_text(found.as_json()), flush=True)
            return
        for finding in found.findings:
            print_result(line_of(finding))
        if not found.findings:
            print_result(f"{self.target}: nothing found.")
        for what in found.unseen:
            console().print(f"not looked at: {what}")

    def _of_run(self) -> Diagnosis:
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.doctor import examine
        from elboroom.runs.run import Run

        run = Run(self.target)
        try:
            data, why = run_data(run), None
        except UsageError as error:  # records alone tell much
            data, why = None, str(error)
        found = examine(run, data)
        return found if why is None else replace(found, unseen=(f"data and codes: {why}",))

    def _of_data(self) -> Diagnosis:
        from elboroom.data import NAMED, load_data
        from elboroom.doctor import examine_data

        data = load_data(self.target)
        is_folder = self.target not in NAMED and Path(self.target).is_dir()
        return examine_data(data, folder=self.target if is_folder else None)

"""``elboroom doctor``: what is wrong with a run, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from elboroom.cli.options import Json, RunVerb
from elboroom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Doctor(RunVerb):
    """Say what is wrong with a run: the evidence in numbers, and one option of 'train' that mends it."""

    json: Json = False

    def __call__(self) -> None:
        """Examine the run and print what was found."""
        from elboroom.cli.console import console, print_result
        from elboroom.cli.findings import line_of
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.doctor import examine
        from elboroom.io.files import json_text
        from elboroom.runs.run import Run

        run = Run(self.run)
        try:
            data, why = run_data(run), None
        except UsageError as error:  # records alone tell much
            data, why = None, str(error)
        found = examine(run, data)
        if why is not None:
            found = replace(found, unseen=(f"data and codes: {why}",))
        if self.json:
            print(json_text(found.as_json()), flush=True)
            return
        for finding in found.findings:
            print_result(line_of(finding))
        if not found.findings:
            print_result(f"{run.path}: nothing found.")
        for what in found.unseen:
            console().print(f"not looked at: {what}")

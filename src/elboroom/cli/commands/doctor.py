"""``elboroom doctor``: what is wrong with a run or with data, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import Json, Positional, Verb
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.doctor import Chart, Diagnosis

_PICTURE = "doctor.png"


@dataclass(frozen=True, kw_only=True)
class Doctor(Verb):
    """Say what is wrong with a run or with data: the evidence in numbers, and one option of 'train' that
    mends it. Of a run, a picture shows the evidence (figures/doctor.png).
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
        is_run, picture = (path / "config.json").exists(), None
        if not is_run and self.target not in NAMED and path.is_dir() and not any(path.iterdir()):
            raise UsageError(f"{path} is empty: there is no run at this place, and no data")
        runs = sorted(path.glob("*/*/config.json")) if (path / "comparison.json").exists() else []
        if runs and not is_run:
            raise UsageError(f"{path} is a comparison; name one of its runs, such as {runs[0].parent}")
        if is_run:
            found, picture = self._of_run()
        else:
            found = self._of_data()
        if self.json:
            shown = None if picture is None else str(picture)
            print(json_text({**found.as_json(), "picture": shown}), flush=True)
            return
        for finding in (*found.findings, *found.notes):
            print_result(line_of(finding))
        if not found.findings and not found.notes:
            print_result(f"{self.target}: nothing found.")
        if picture is not None:
            console().print(f"picture of the evidence: {picture}")
        for what in found.unseen:
            console().print(f"not looked at: {what}")

    def _of_run(self) -> tuple[Diagnosis, Path | None]:
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.doctor import chart_of, examine_chart
        from elboroom.runs.run import Run

        run = Run(self.target)
        try:
            data, why = run_data(run), None
        except UsageError as error:  # records alone tell much
            data, why = None, str(error)
        chart = chart_of(run, data)
        if why is not None:
            chart = replace(chart, unseen=(f"data and codes: {why}",))
        found = examine_chart(chart)
        return found, _draw(chart, found, run.path / "figures" / _PICTURE)

    def _of_data(self) -> Diagnosis:
        from elboroom.cli.console import console
        from elboroom.cli.parser import in_options
        from elboroom.data import NAMED, load_data
        from elboroom.data.dataset import skipped_lines
        from elboroom.doctor import examine_data

        data = load_data(self.target)
        for note in data.notes:
            console().print(in_options(note))
        for line in skipped_lines(data):
            console().print(line)
        is_folder = self.target not in NAMED and Path(self.target).is_dir()
        return examine_data(data, folder=self.target if is_folder else None)


def _draw(chart: Chart, found: Diagnosis, path: Path) -> Path | None:
    """Write the picture, or take away that of an earlier examination if there is nothing to show."""
    from elboroom.cli.console import console
    from elboroom.doctor.picture import picture_of
    from elboroom.figures.style import to_png
    from elboroom.io.files import write_atomic

    figure = picture_of(chart, found)
    try:
        if figure is None:
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, to_png(figure))
    except OSError as error:
        console().print(f"no picture: {path}: {error.strerror or error}")
        return None
    return path

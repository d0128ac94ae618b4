"""``elboroom explore``: one page with a map of the codes and the model itself, for any browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import Count, ModelVerb, OtherData, Overwrite, Split
from elboroom.config.options import Option


@dataclass(frozen=True, kw_only=True)
class Explore(ModelVerb):
    """Write a page to explore a run with: a map of its codes, and its decoder, live in the browser."""

    export: Annotated[
        Path | None,
        Option(
            metavar="HTML",
            help="Page to write. It is one file that works without a network. Default: RUN/explorer.html.",
        ),
    ] = None
    data: OtherData = None
    split: Split = "all"
    points: Annotated[Count, Option(help="Most examples on the map, taken evenly.")] = 10_000
    umap: Annotated[
        bool, Option(help="Add a map by UMAP, which keeps neighbours together; needs elboroom[umap].")
    ] = False
    overwrite: Overwrite = False

    def __call__(self) -> None:
        """Write the page.

        Raises
        ------
        UsageError
            If there are no examples in this part of the data, or the page cannot run the model.
        """
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import output_file
        from elboroom.errors import UsageError
        from elboroom.explorer.page import make_page
        from elboroom.explorer.payload import collect
        from elboroom.io.files import write_atomic
        from elboroom.runs.run import Run

        run = Run(self.run)
        default = run.path / "explorer.html"
        file = output_file(
            self.export, default, (".html", ".htm"), overwrite=self.overwrite, option="--export"
        )
        vae = load_model(run, self.device)
        data = seen_data(run, vae, self.data)
        rows = data.indices(self.split)
        if not len(rows):
            raise UsageError(f"{data.name} has no {self.split} examples; choose another --split")
        payload = collect(run, vae, data, rows, points=self.points, umap=self.umap)
        page = make_page(payload)
        write_atomic(file, page)
        say, weights = console(), payload.facts["weights"]
        for note in payload.notes:
            say.print(note)
        say.print(
            f"wrote {shown(file)}: {payload.facts['points']['count']:,} points, {len(page) / 1e6:.1f} MB; "
            f"pictures differ from the model's by {weights['meanError']:.2g} of the range of values "
            f"on average ({weights['format']} weights)"
        )

"""``elboroom explore``: one page with a map of the codes and the model itself, for any browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from elboroom.cli.options import Count, ModelVerb, OtherData, Overwrite, Split
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.explorer.payload import Payload
    from elboroom.models.fitted_prior import FittedPrior
    from elboroom.models.vae import VAE
    from elboroom.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Explore(ModelVerb):
    """Explore a run in the browser: a map of its codes, and its decoder, live.

    Serves a page on 127.0.0.1 until Ctrl-C is pressed, or writes it with --export: one file that works
    without a network.
    """

    export: Annotated[
        Path | None, Option(metavar="HTML", help="Write the page to this file instead of serving it.")
    ] = None
    data: OtherData = None
    split: Split = "all"
    points: Annotated[Count, Option(help="Most examples on the map, taken evenly.")] = 10_000
    umap: Annotated[
        bool, Option(help="Add a map by UMAP, which keeps neighbours together; needs elboroom[umap].")
    ] = False
    prior: Annotated[
        Literal["model", "fitted"],
        Option(
            help="fitted: the button Random shows draws from the prior that 'fit-prior' fitted, in place of "
            "codes near examples."
        ),
    ] = "model"
    overwrite: Overwrite = False
    open: Annotated[bool, Option(help="Open the page that is served in the browser.")] = False
    port: Annotated[int, Field(ge=0, lt=65536), Option(help="Port to serve at; 0 takes a free one.")] = 0

    def __call__(self) -> None:
        """Write the page, or serve it until Ctrl-C.

        Raises
        ------
        UsageError
            If there are no examples in this part of the data, or the page cannot run the model.
        FailureError
            If the file cannot be written, or the port is taken.
        """
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import output_file
        from elboroom.explorer.page import make_page
        from elboroom.explorer.payload import collect
        from elboroom.explorer.routes import routes
        from elboroom.io.files import write_atomic
        from elboroom.runs.run import Run
        from elboroom.serving import Server, run

        self._check()
        made = Run(self.run)
        served, file = self.export is None, Path()
        if self.export is not None:
            kinds = (".html", ".htm")
            file = output_file(self.export, file, kinds, overwrite=self.overwrite, option="--export")
        vae = load_model(made, self.device)
        data = seen_data(made, vae, self.data)
        rows = data.indices(self.split)
        if not len(rows):
            raise UsageError(f"{data.name} has no {self.split} examples; choose another --split")
        drawn_from = self._drawn_from(made, vae)
        sizes: dict[str, Any] = {"points": self.points, "umap": self.umap, "served": served}
        payload = collect(made, vae, data, rows, drawn_from=drawn_from, **sizes)
        page, say = make_page(payload, served=served), console()
        for note in payload.notes:
            say.print(note)
        if served:
            server = Server(routes(page, vae), port=self.port)
            say.print(_described(payload, len(page)))
            run(server, lambda line: print(line, flush=True), open_browser=self.open)
        else:
            write_atomic(file, page)
            say.print(f"wrote {shown(file)}: {_described(payload, len(page))}")

    def _drawn_from(self, run: Run, vae: VAE) -> FittedPrior | None:
        from elboroom.cli.inputs.prior import fitted_prior

        return fitted_prior(run, vae) if self.prior == "fitted" else None

    def _check(self) -> None:
        if self.export is not None and (self.open or self.port):
            option = "--open" if self.open else f"--port {self.port}"
            raise UsageError(f"{option} is for a page that is served; leave it or --export out")
        if self.export is None and self.overwrite:
            raise UsageError("--overwrite needs --export HTML")


def _described(payload: Payload, size: int) -> str:
    facts = payload.facts
    line = f"{facts['points']['count']:,} points, {size / 1e6:.1f} MB"
    if facts["weights"] is None:
        return line
    weights = facts["weights"]
    return (
        f"{line}; what the page decodes differs from the model's by {weights['meanError']:.2g} of the range "
        f"of values on average ({weights['format']} weights)"
    )

"""``elboroom score``: how odd each example is, and which columns or pixels make it so."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from elboroom.cli.options import Count, Json, ModelVerb, Overwrite, Positional, Seed
from elboroom.config.options import Option
from elboroom.errors import FailureError, UsageError, counted, some

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from elboroom.data import Dataset
    from elboroom.models.vae import VAE
    from elboroom.runs.run import Run
    from elboroom.scoring.calibration import Calibration
    from elboroom.scoring.measures import ScoreName
    from elboroom.scoring.oddest import Odd
    from elboroom.scoring.report import ScoreTable

_HEATMAPS = 24
_PRINTED = 5


@dataclass(frozen=True, kw_only=True)
class Score(ModelVerb):
    """Score how anomalous each example is, in nats (higher is more anomalous), with a calibrated verdict."""

    data: Annotated[
        Positional[str | None], Option(metavar="DATA", help="Data to score. Default: the run's own.")
    ] = None
    out: Annotated[Path | None, Option(help="Output file (.csv). Default: scores.csv.")] = None
    score: Annotated[
        Literal["auto", "elbo", "nll", "reconstruction", "regret"],
        Option(
            help="elbo: −ELBO. nll: −log p(x), importance-weighted. reconstruction: −E log p(x|z), without "
            "the rate. regret: how much the ELBO gains when the posterior is fitted to the example alone. "
            "auto takes regret for images, of which plain likelihood is no judge, and elbo for all else."
        ),
    ] = "auto"
    false_alarms: Annotated[
        float,
        Field(gt=0, lt=1),
        Option(metavar="RATE", help="Largest share of normal examples to call anomalous."),
    ] = 0.05
    calibration: Annotated[
        str | None,
        Option(
            metavar="DATA",
            help="Normal examples that the model was not trained on, which set the threshold. Default: the "
            "run's validation and test examples.",
        ),
    ] = None
    calibration_limit: Annotated[
        Count, Option(help="Calibrate by at most this many of these examples, evenly spaced.")
    ] = 2000
    num_samples: Annotated[Count, Option(help="Codes drawn for each example.")] = 100
    steps: Annotated[Count, Option(help="Gradient steps of regret.")] = 100
    contributions: Annotated[
        bool, Option(help="Also write the nats of every column of the data, which sum to the score.")
    ] = False
    heatmaps: Annotated[
        Path | None,
        Option(
            metavar="FOLDER",
            help=f"For images: draw the most anomalous ones, at most {_HEATMAPS}, and where they cost more "
            "nats than usual.",
        ),
    ] = None
    condition_file: Annotated[
        Path | None,
        Option(metavar="NPY", help="Condition vectors of DATA, for a model conditional on vectors."),
    ] = None
    seed: Seed = 0
    overwrite: Overwrite = False
    json: Json = False

    def __call__(self) -> None:
        """Write the table, and print the threshold and the most anomalous examples.

        Raises
        ------
        UsageError
            If the data, the score or the rate do not fit the model or the calibration examples.
        FailureError
            After the table was written, if some examples have no score.
        """
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.other_data import is_own
        from elboroom.cli.inputs.row_names import rows_of
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.cli.outputs import output_file
        from elboroom.cli.scoring_passes import Passes
        from elboroom.data.dataset import skipped_lines
        from elboroom.io.files import write_atomic
        from elboroom.runs.run import Run

        file = output_file(self.out, Path("scores.csv"), (".csv",), overwrite=self.overwrite)
        run = Run(self.run)
        vae = load_model(run, self.device)
        picture = self._picture(vae)
        passes = Passes(run, vae, self.score, num_samples=self.num_samples, steps=self.steps, seed=self.seed)
        passes.name_columns(every=self.contributions)
        data = run_data(run, self.data, self.condition_file)
        own = is_own(run, data, unknown=self.data is None)
        held_out, chosen = self._held_out(run, data if own else None)
        for line in skipped_lines(data):
            console().print(line)
        try:
            calibration = passes.calibrate(held_out, chosen, self.false_alarms)
        except UsageError as error:
            raise UsageError(_in_options(str(error))) from None
        table, oddest = passes.score(data, calibration, own=own, keep=_HEATMAPS)
        write_atomic(file, table.text())
        left_out = len(table.lines) - len(data)
        also = f", {left_out:,} of them for what was left out" if left_out else ""
        console().print(f"wrote {shown(file)}: {counted(len(table.lines), 'line')}{also}")
        if picture is not None:
            _draw(vae, data, oddest, picture)
        for line in passes.notes(table):
            console().print(line)
        self._print(passes.name, calibration, table, oddest, data, held_out)
        if table.not_scored:
            rows = [str(rows_of(data)[i]) for i in table.not_scored]
            raise FailureError(
                f"{len(rows):,} of {counted(len(data), 'example')} {'has' if len(rows) == 1 else 'have'} no "
                f"score, as the model's numbers overflow: row {some(rows)}; the others are in {shown(file)}"
            )

    def _picture(self, vae: VAE) -> Path | None:
        """Where the sheet of heat maps goes, if one is wanted."""
        from elboroom.cli.outputs import free_files

        if self.heatmaps is None:
            return None
        if len(vae.shape) != 3:
            raise UsageError(
                f"--heatmaps {self.heatmaps}: only images have heat maps, and this model's examples have the "
                f"shape {vae.shape}; the columns top_1, top_2 and top_3 of the table say what is odd in a row"
            )
        self.heatmaps.mkdir(parents=True, exist_ok=True)
        sheet = self.heatmaps / "heatmaps.png"
        return free_files([sheet], named=False, overwrite=self.overwrite)[0]

    def _held_out(self, run: Run, own: Dataset | None) -> tuple[Dataset, NDArray[np.int64]]:
        """Read the data to calibrate by, and choose their rows; ``own`` are the run's, if they are read."""
        import numpy as np

        from elboroom.cli.inputs.other_data import is_own
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.latent.arrays import evenly

        data = own if own is not None and self.calibration is None else run_data(run, self.calibration)
        rows = data.indices("all")
        if self.calibration is None or is_own(run, data):
            rows = np.flatnonzero(~np.isin(rows, data.indices("train")))
        if not len(rows):
            raise UsageError(
                f"{data.name} has neither validation nor test examples, so nothing tells which scores are "
                "normal; give normal examples with --calibration DATA"
            )
        return data, rows[evenly(len(rows), self.calibration_limit)]

    def _print(
        self,
        name: ScoreName,
        calibration: Calibration,
        table: ScoreTable,
        oddest: list[Odd],
        data: Dataset,
        held_out: Dataset,
    ) -> None:
        from elboroom.cli.console import print_result
        from elboroom.cli.inputs.row_names import name_cells, rows_of
        from elboroom.io.files import json_text
        from elboroom.latent.arrays import with_error
        from elboroom.scoring.report import ANOMALOUS
        from elboroom.scoring.scores import SCORES

        if self.json:
            result = {
                "score": name,
                "data": data.name,
                "examples": len(data),
                "skipped": len(data.skipped),
                **{verdict.replace(" ", "_"): count for verdict, count in table.counts.items()},
                "threshold": calibration.threshold if math.isfinite(calibration.threshold) else None,
                "false_alarms": self.false_alarms,
                "calibration": {"data": held_out.name, "examples": len(calibration.value)},
                "num_samples": self.num_samples,
                "seed": self.seed,
            }
            print(json_text(result), flush=True)
            return
        which = "examples" if self.calibration else "validation and test examples"
        print_result(
            f"{name}, {SCORES[name]}, in nats: higher is more anomalous",
            f"anomalous above {calibration.threshold:.5g} nats, which at most {self.false_alarms:.3g} of "
            f"normal examples exceed, by {len(calibration.value):,} {which} of {held_out.name}",
            f"{table.counts[ANOMALOUS]:,} of {counted(len(data), 'example')} "
            f"{'is' if table.counts[ANOMALOUS] == 1 else 'are'} anomalous",
        )
        for odd in oddest[:_PRINTED]:
            names = "".join(f" {cell}" for cell in name_cells(data, odd.index))
            why = ", ".join(f"{reason.name} +{reason.above:.3g}" for reason in odd.reasons)
            print_result(
                f"  row {rows_of(data)[odd.index]}{names}: {with_error(odd.value, odd.stderr)} nats, "
                f"p = {odd.p_value:.2g}" + (f"; above usual: {why}" if why else "")
            )


def _in_options(message: str) -> str:
    """Reword a message about an argument of the library in the terms of this command.

    Examples
    --------
    >>> _in_options("score = 'nll' needs a density")
    '--score nll needs a density'
    """
    argument = r"^(score|false_alarms|num_samples|steps) = '?([^\s':]+)'?"
    return re.sub(argument, lambda found: f"--{found[1].replace('_', '-')} {found[2]}", message)


def _draw(vae: VAE, data: Dataset, oddest: list[Odd], sheet: Path) -> None:
    """Draw the anomalous ones among the oddest."""
    import numpy as np

    from elboroom.cli.console import console
    from elboroom.cli.inputs.row_names import name_cells, rows_of
    from elboroom.cli.outputs import save_figure
    from elboroom.evaluation.examples import examples_of
    from elboroom.figures.heatmaps import heat_sheet

    odd = [each for each in oddest if each.anomalous]
    if not odd:
        console().print("no example is anomalous, so there is no heat map")
        return
    names = []
    for each in odd:
        name = "".join(f" {cell}" for cell in name_cells(data, each.index))
        names.append(f"row {rows_of(data)[each.index]}{name}: {each.value:.1f}")
    images = examples_of(vae, data, np.array([each.index for each in odd]))
    title = "The most anomalous examples with their scores: input, output, and nats above what is usual"
    save_figure(heat_sheet(vae, images, np.stack([each.above for each in odd]), names, title), sheet)

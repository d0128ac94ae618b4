"""The two passes of ``elboroom score`` over data: that which calibrates, and that which scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from elboroom.cli.console import console
from elboroom.cli.inputs.row_names import label_cells, name_cells, rows_of
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.data.table_text import columns_of
from elboroom.errors import UsageError, counted
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.scoring.calibration import Calibration
from elboroom.scoring.measures import ScoreName, Scores
from elboroom.scoring.oddest import Odd, Oddest
from elboroom.scoring.regret import has_regret
from elboroom.scoring.report import ScoreTable
from elboroom.scoring.scores import default_score, score_rows

_PARTS = ("train", "test", "validation")


class Passes:
    """Scores data sets by the model of a run.

    Parameters
    ----------
    run, vae
        The run, and its model on a device.
    score : {"auto", "elbo", "nll", "reconstruction", "regret"}
        What to measure.
    num_samples, steps, seed
        As in :func:`elboroom.scoring.score`.

    Attributes
    ----------
    name : str
        What is measured.
    """

    def __init__(
        self,
        run: Run,
        vae: VAE,
        score: ScoreName | Literal["auto"],
        *,
        num_samples: int,
        steps: int,
        seed: int,
    ):
        self.run = run
        self.vae = vae
        self.name: ScoreName = default_score(vae) if score == "auto" else score
        self._score_rows = partial(score_rows, num_samples=num_samples, steps=steps, seed=seed)
        self._columns: tuple[str, ...] = ()
        self._every = False

    def name_columns(self, *, every: bool) -> None:
        """Find the names of the columns whose parts are listed; with ``every``, of all of them in each row.

        Raises
        ------
        UsageError
            If all are asked for and the examples are not rows of numbers.
        """
        shape, config = self.vae.shape, self.run.config
        self._every = every
        if len(shape) == 1:
            columns = tuple(column.name for column in config.model.columns)
            self._columns = columns or columns_of(config.data.source, shape[0])
        elif every:
            raise UsageError(
                f"--contributions is for rows of numbers, and this model's examples have the shape {shape}"
                + ("; --heatmaps FOLDER draws those of images" if len(shape) == 3 else "")
            )

    def calibrate(self, data: Dataset, rows: NDArray[np.int64], false_alarms: float) -> Calibration:
        """Score held-out examples."""
        found = self._scored(data, rows, "calibrating by")
        return Calibration.of((scores for _, scores in found), false_alarms)

    def score(
        self, data: Dataset, calibration: Calibration, *, own: bool, keep: int
    ) -> tuple[ScoreTable, list[Odd]]:
        """Score all examples, and keep the most anomalous ones.

        Parameters
        ----------
        data : Dataset
            To score.
        calibration : Calibration
            By which they are judged.
        own : bool
            They are the run's own, so that the table says which part of the split each is in.
        keep : int
            How many.
        """
        heads = ["row"] + ["name"] * bool(data.names) + ["label"] * (data.labels is not None)
        table = ScoreTable([*heads, *["split"] * own], self._columns, every=self._every)
        oddest, numbers = Oddest(keep, self._columns), rows_of(data)
        for rows, scores in self._scored(data, data.indices("all"), "scoring"):
            judged = calibration.judge(scores)
            names = [
                [str(numbers[i]), *name_cells(data, i), *label_cells(data, i), *[_PARTS[data.split[i]]] * own]
                for i in rows.tolist()
            ]
            table.add(names, judged)
            oddest.add(rows, judged)
        _add_skipped(table, data)
        return table, oddest.sorted()

    def _scored(
        self, data: Dataset, rows: NDArray[np.int64], what: str
    ) -> Iterator[tuple[NDArray[np.int64], Scores]]:
        where, config = next(self.vae.parameters()).device, self.run.config.data
        batches = Batches(data, where, binarize=config.binarize, dequantize=config.dequantize)
        with Progress(console=console(), transient=True, disable=not console().is_terminal) as bar:
            task = bar.add_task(f"{what} {len(rows):,} examples", total=len(rows))
            for part, scores in self._score_rows(self.vae, batches, rows, self.name):
                bar.update(task, advance=len(part))
                yield part, scores

    def notes(self, table: ScoreTable) -> list[str]:
        """What is to be known of the scores."""
        found = []
        if len(self.vae.shape) == 3 and self.name != "regret":
            better = "--score regret"
            if not has_regret(self.vae):
                better += " of a model with one stochastic layer and codes with a density"
            found.append(
                f"note: {self.name} is a plain likelihood, which rates simple images higher, whatever they "
                f"show (arXiv:1810.09136); to find images of another kind take {better}"
            )
        if table.unreliable:
            found.append(
                f"note: not reliable (Pareto k̂ above 0.7): {counted(table.unreliable, 'score')}. The error "
                "is larger than it says; take a larger --num-samples, or --score elbo"
            )
        return found


def _add_skipped(table: ScoreTable, data: Dataset) -> None:
    """Add lines for what was left out: of a table in its place, of files after the others, by name."""
    place = {head: i for i, head in enumerate(table.names)}
    rows = [""] * len(data.skipped)
    if data.rows is not None:
        missing = np.setdiff1d(np.arange(len(data) + len(data.skipped)), data.rows)
        rows = [str(row) for row in missing] if len(missing) == len(rows) else rows
    for row, skipped in zip(rows, data.skipped, strict=True):
        cells = [""] * len(place)
        cells[place["row"]] = row
        if "name" in place and data.rows is None:
            cells[place["name"]] = skipped.path
        table.skip(cells)
    if all(rows):
        table.lines.sort(key=lambda line: int(line[place["row"]]))

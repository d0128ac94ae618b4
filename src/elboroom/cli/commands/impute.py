"""``elboroom impute``: the missing cells of a table filled in, once or several times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from elboroom.cli.options import Count, ModelVerb, NotNegative, Overwrite, Positional, Seed
from elboroom.config.options import Option
from elboroom.errors import UsageError, counted, some

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from elboroom.data import Dataset
    from elboroom.runs.run import Run
    from elboroom.tables import Imputed

_TEXT = (".csv", ".tsv")


@dataclass(frozen=True, kw_only=True)
class Impute(ModelVerb):
    """Fill in the missing cells of a table, each from the observed cells of its row."""

    data: Annotated[
        Positional[str | None],
        Option(metavar="DATA", help="Table to fill in, columns in any order. Default: the run's own."),
    ] = None
    out: Annotated[
        Path | None,
        Option(
            help="Table to write (.csv, .tsv, .parquet). Default: filled.csv. Beside it, FILE.cells.csv has"
            " each cell that was filled in, with its spread and how far its row can be relied on."
        ),
    ] = None
    imputations: Annotated[
        NotNegative,
        Option(
            metavar="M",
            help="Also write FILE-1 to FILE-M, in which missing cells are drawn from their distribution. An "
            "analysis repeated on each of them shows what the holes leave uncertain.",
        ),
    ] = 0
    num_samples: Annotated[
        Count, Option(help="Importance samples of each row. More reduce the Monte Carlo error.")
    ] = 1000
    seed: Seed = 0
    overwrite: Overwrite = False

    def __call__(self) -> None:
        """Write the tables, and name the rows that are not to be relied on.

        Raises
        ------
        UsageError
            If the model is not one of a table, or the table does not fit it.
        """
        import numpy as np

        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.row_names import rows_of
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import free_files, output_file
        from elboroom.data import full_name
        from elboroom.data.dataset import skipped_lines
        from elboroom.data.table_write import WRITTEN
        from elboroom.evaluation.examples import examples_of
        from elboroom.io.files import write_atomic
        from elboroom.runs.run import Run
        from elboroom.tables import impute
        from elboroom.tables.filled import as_in_file, cells_text

        default = Path("filled.csv")
        first = output_file(self.out, default, WRITTEN, overwrite=True)
        more = [first.with_name(f"{first.stem}-{i + 1}{first.suffix}") for i in range(self.imputations)]
        names = [first, first.with_suffix(".cells.csv"), *more]
        first, cells, *more = free_files(names, named=self.out is not None, overwrite=self.overwrite)
        run = Run(self.run)
        vae = load_model(run, self.device)
        if not vae.accepts_missing:
            raise UsageError(
                f"{run.path} is not a model of a table with kinds of columns (--likelihood mixed), and no "
                "other takes missing cells; train one with 'elboroom train TABLE.csv'"
            )
        data = seen_data(run, vae, self.data)
        say = console()
        other = self.data is not None and full_name(self.data) != run.config.data.source
        notes = () if other else data.notes  # those of other data are said where they are read
        for line in (*skipped_lines(data), *(note for note in notes if note.startswith("warning"))):
            say.print(line)
        examples = examples_of(vae, data, np.arange(len(data)))
        found = impute(vae, examples, self.num_samples, self.imputations, seed=self.seed)
        for file, x in zip((first, *more), (found.x, *found.draws), strict=True):
            self._write(run, data, found, x, file)
        holes = np.isnan(np.asarray(data.x))
        if not holes.any():
            say.print(f"no cell of {data.name} is missing: {shown(first)} is a copy")
            return
        say.print(f"wrote {shown(first)}: {_filled(holes)} filled in")
        if more:
            others = f" and the like, {len(more)} in all" if len(more) > 1 else ""
            say.print(f"wrote {shown(more[0])}{others}: missing cells drawn")
        source = self._text_source(run)
        if source is not None:
            found = replace(found, columns=as_in_file(source, found.columns, run.config.data.encoding))
        write_atomic(cells, cells_text(rows_of(data), found))
        say.print(f"wrote {shown(cells)}: the spread of each of these cells")
        if len(found.poor):
            named = some([str(rows_of(data)[i]) for i in found.poor], 5)
            say.print(
                f"warning: not to be relied on: {counted(len(found.poor), 'row')}, counted from 0: {named}. "
                "The importance weights are too uneven (below 10 effective samples, or Pareto k̂ above 0.7); "
                "give more --num-samples, or train longer, with --recipe missing-iwae or --drop-cells 0.3"
            )

    def _text_source(self, run: Run) -> Path | None:
        """The text file that the table is read from, if it is one."""
        source = Path(self.data or run.config.data.source or "")
        return source if source.suffix.lower() in _TEXT and source.is_file() else None

    def _write(self, run: Run, data: Dataset, found: Imputed, x: NDArray[Any], file: Path) -> None:
        """Write one table: cells that are not missing as the text file has them, if it is one."""
        from elboroom.data.table_write import write_table
        from elboroom.io.files import write_atomic
        from elboroom.tables.filled import filled_text

        source = self._text_source(run)
        if file.suffix.lower() in _TEXT and source is not None:
            encoding, ending = run.config.data.encoding, file.suffix.lower()
            write_atomic(file, filled_text(source, data, found.columns, x, encoding, ending))
        else:
            write_table(file, found.columns, x)


def _filled(holes: NDArray[Any]) -> str:
    """How many cells were missing, in how many rows."""
    return f"{counted(int(holes.sum()), 'cell')} in {counted(int(holes.any(1).sum()), 'row')}"

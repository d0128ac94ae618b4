"""``elboroom embed``: the code of every example, with the row or the file that it belongs to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from elboroom.cli.options import ModelVerb, Overwrite, Positional, Precision
from elboroom.config.options import Option
from elboroom.errors import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from elboroom.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Embed(ModelVerb):
    """Write the code (posterior mean) of every example to a file."""

    data: Annotated[
        Positional[str | None], Option(metavar="DATA", help="Data to embed. Default: the run's own.")
    ] = None
    out: Annotated[
        Path | None,
        Option(
            help=".csv or .npz, which also give the row or file of each code; or .npy, with these in a "
            "second file, .rows.csv. Default: z.npy."
        ),
    ] = None
    overwrite: Overwrite = False
    precision: Precision = "fp32"

    def __call__(self) -> None:
        """Write the codes in the order of the data, and which row or file each belongs to."""
        import numpy as np

        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import free_files, output_file, save_array
        from elboroom.data.dataset import skipped_lines
        from elboroom.evaluation.health import check_finite
        from elboroom.evaluation.neighbours import embed_rows
        from elboroom.io.files import write_atomic
        from elboroom.runs.run import Run

        default, allowed = Path("z.npy"), (".npy", ".npz", ".csv")
        file = output_file(self.out, default, allowed, overwrite=self.overwrite)
        kind = file.suffix.lower()
        beside = [file.with_suffix(".rows.csv")] if kind == ".npy" else []
        rows_files = free_files(beside, named=self.out is not None, overwrite=self.overwrite)
        run = Run(self.run)
        vae = load_model(run, self.device)
        data = seen_data(run, vae, self.data)
        codes = embed_rows(vae, data, np.arange(len(data)), self.precision)
        check_finite({"codes": codes}, str(run.path))
        for rows_file in rows_files:
            write_atomic(rows_file, _as_csv(codes[:, :0], data))
        if kind == ".npy":
            save_array(codes, file)
        else:
            write_atomic(file, _as_npz(codes, data) if kind == ".npz" else _as_csv(codes, data))
        say = console()
        for line in skipped_lines(data):
            say.print(line)
        say.print(
            f"wrote {shown(file)}: {counted(len(codes), 'code')} of "
            f"{counted(vae.latent_dim, 'number')}, in the data's order"
        )
        for rows_file in rows_files:
            say.print(f"wrote {shown(rows_file)}: the row of the data that each code belongs to")
        if data.skipped and not rows_files:
            say.print("the column 'row' gives the row of the data that each code belongs to, counted from 0")


def _as_npz(codes: NDArray[np.float32], data: Dataset) -> bytes:
    import numpy as np

    from elboroom.cli.inputs.row_names import rows_of

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"z": codes, "split": data.split, "row": np.array(rows_of(data))}
    if data.names:
        arrays["name"] = np.array(data.names)
    if data.labels is not None:
        arrays |= {"labels": data.labels, "label_names": np.array(data.label_names)}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _as_csv(codes: NDArray[np.float32], data: Dataset) -> str:
    from elboroom.cli.inputs.row_names import label_cells, name_cells, rows_of

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    before, after = ["row"] + ["name"] * bool(data.names), ["label"] * (data.labels is not None)
    table.writerow([*before, *(f"z{i}" for i in range(codes.shape[1])), *after])
    for i, row in enumerate(rows_of(data)):
        numbers = (f"{value:.7g}" for value in codes[i])
        table.writerow([row, *name_cells(data, i), *numbers, *label_cells(data, i)])
    return text.getvalue()

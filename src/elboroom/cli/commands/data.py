"""``data``: what can be trained on, what is in it, and the way in from the Haskell program."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from rich.table import Table

from elboroom.cli.commands.common import console, shown
from elboroom.data import NAMED, load_data
from elboroom.data.dataset import skipped_lines
from elboroom.data.rows import extent
from elboroom.errors import printable

_SHOWN_LABELS = 50


def list_sets() -> None:
    """Print the named sets."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, what in NAMED.items():
        table.add_row(name, what)
    console_out = console()
    console_out.stderr = False
    console_out.print(table)


def show(source: str, strict: bool) -> None:
    """Print what a source holds: sizes, split, labels, range, skipped files."""
    data = load_data(source, strict=strict)
    print(printable(data.describe()))
    for note in data.notes:
        print(printable(note))
    if data.labels is not None:
        found = zip(*np.unique(data.labels, return_counts=True), strict=True)
        counts = (f"{data.label_name(int(label))} {count:,}" for label, count in islice(found, _SHOWN_LABELS))
        more = (
            f", … {kinds:,} labels in all" if (kinds := len(np.unique(data.labels))) > _SHOWN_LABELS else ""
        )
        print(printable("labels  " + ", ".join(counts) + more))
    low, high = extent(data.x)
    scaled = f", of which {data.scale:g} is seen as 1" if data.scale != 1 else ""
    print(f"values  {low:g} to {high:g}{scaled}")
    for line in skipped_lines(data, most=10):
        print(printable(line))


def import_haskell(base: Path, out: Path, shape: tuple[int, ...] | None, overwrite: bool) -> None:
    """Write the Haskell program's saved weights as a run."""
    from elboroom.runs import write_status
    from elboroom.runs.haskell_weights import describe_half
    from elboroom.runs.haskell_weights import import_haskell as read_weights
    from elboroom.runs.run import Run, check_free

    check_free(out, overwrite=overwrite)
    vae, config = read_weights(base, shape)
    run = Run.create(out, config, overwrite=overwrite)
    run.write_model(vae)
    run.write_environment(imported_from=str(base))
    write_status(run.path, "trained")
    console().print(
        f"encoder {describe_half(vae.encoder)}, decoder {describe_half(vae.decoder)}, tanh, sigmoid"
    )
    console().print(f"run      {shown(run.path)}    elboroom sample {shown(run.path)} draws from it")

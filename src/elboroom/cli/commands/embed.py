"""``embed``: the code of every example, with the row or the file that it belongs to."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.cli.commands.common import console, output_file, seen_data, shown
from elboroom.data import Dataset
from elboroom.data.dataset import skipped_lines
from elboroom.evaluation.health import check_finite
from elboroom.evaluation.neighbours import embed_rows
from elboroom.io.files import write_atomic
from elboroom.models.vae import Precision
from elboroom.runs.run import Run
from elboroom.training.devices import find_device


def embed(run: Run, source: str | None, out: Path, precision: Precision, device: str) -> None:
    """Write the code of every example.

    A .csv and an .npz say of each code which row or file of the source it is of. A .npy holds codes alone, so
    a table of the same name that ends in ``.rows.csv`` says it for them.
    """
    path = output_file(out, out, (".npy", ".npz", ".csv"))
    vae = run.model().to(find_device(device))
    data = seen_data(run, vae, source)
    codes = embed_rows(vae, data, np.arange(len(data)), precision)
    check_finite({"codes": codes}, str(run.path))
    beside = None
    if path.suffix.lower() == ".npy":
        beside = path.with_suffix(".rows.csv")
        write_atomic(beside, _as_csv(codes[:, :0], data))
        write_atomic(path, _as_npy(codes))
    elif path.suffix.lower() == ".npz":
        write_atomic(path, _as_npz(codes, data))
    else:
        write_atomic(path, _as_csv(codes, data))
    say = console()
    for line in skipped_lines(data):
        say.print(line)
    say.print(f"wrote {shown(path)}: {len(codes):,} codes of {vae.latent_dim} numbers, in the data's order")
    if beside is not None:
        say.print(f"wrote {shown(beside)}: which row of the data each code is of")
    elif data.skipped:
        say.print("the column 'row' says which row of the data each code is of, counted from 0")


def rows_of(data: Dataset) -> NDArray[np.int64]:
    """Which row of its source each example was, from 0 on, int64 (n,)."""
    return np.arange(len(data)) if data.rows is None else data.rows


def _as_npy(codes: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, codes)
    return buffer.getvalue()


def _as_npz(codes: NDArray[np.float32], data: Dataset) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"z": codes, "split": data.split, "row": rows_of(data)}
    if data.names:
        arrays["name"] = np.array(data.names)
    if data.labels is not None:
        arrays |= {"labels": data.labels, "label_names": np.array(data.label_names)}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _as_csv(codes: NDArray[np.float32], data: Dataset) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    before, after = ["row"] + ["name"] * bool(data.names), ["label"] * (data.labels is not None)
    table.writerow([*before, *(f"z{i}" for i in range(codes.shape[1])), *after])
    for i, row in enumerate(rows_of(data).tolist()):
        name: Sequence[str] = data.names[i : i + 1]
        label = [] if data.labels is None else [data.label_name(int(data.labels[i]))]
        table.writerow([row, *name, *(f"{value:.7g}" for value in codes[i]), *label])
    return text.getvalue()

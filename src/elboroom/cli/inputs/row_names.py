"""How files name the examples that they are about: by row, file name and label."""

from __future__ import annotations

from collections.abc import Sequence

from elboroom.data import Dataset


def rows_of(data: Dataset) -> Sequence[int]:
    """List the row of its source that each example was, counted from 0, rows that were left out included."""
    return range(len(data)) if data.rows is None else data.rows.tolist()


def label_cells(data: Dataset, index: int) -> list[str]:
    """Name the label of an example, if the data have labels."""
    return [] if data.labels is None else [data.label_name(int(data.labels[index]))]


def name_cells(data: Dataset, index: int) -> list[str]:
    """File name of an example, or what an index column calls it, if the data have names."""
    return list(data.names[index : index + 1])

"""How files name the examples that they are about: by row, file name and label."""

from __future__ import annotations

from collections.abc import Sequence

from elboroom.data import Dataset


def rows_of(data: Dataset) -> Sequence[int]:
    """List the row of its source that each example was, counted from 0, rows that were left out included."""
    return range(len(data)) if data.rows is None else data.rows.tolist()


def place_of(data: Dataset, index: int) -> str:
    """Name an example by its row in the source and, if it has one, its name: "12", "12 (a/03.png)".

    Examples
    --------
    >>> import numpy as np
    >>> data = Dataset("t", np.zeros((2, 3)), np.zeros(2), rows=np.array([0, 5]), names=("a", "b"))
    >>> place_of(data, 1)
    '5 (b)'
    """
    return f"{rows_of(data)[index]}" + "".join(f" ({name})" for name in name_cells(data, index))


def rows_moved(data: Dataset) -> bool:
    """Whether the index of an example may differ from its row in the source, as others were left out."""
    return data.rows is not None and len(data) > 0 and int(data.rows[-1]) != len(data) - 1


def label_cells(data: Dataset, index: int) -> list[str]:
    """Name the label of an example, if the data have labels."""
    return [] if data.labels is None else [data.label_name(int(data.labels[index]))]


def name_cells(data: Dataset, index: int) -> list[str]:
    """File name of an example, or what an index column calls it, if the data have names."""
    return list(data.names[index : index + 1])

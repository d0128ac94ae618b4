"""Conditions of the examples of a data set: their labels, or a vector for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from elboroom.data.arrays import map_numbers
from elboroom.data.dataset import Array, Dataset
from elboroom.errors import UsageError


class ConditionSpec(Protocol):
    """What a model takes as a condition."""

    @property
    def kind(self) -> str:
        """Labels or vectors."""
        ...

    @property
    def size(self) -> int:
        """How many labels there are, or numbers in a vector."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the labels, in order; may be empty."""
        ...

    @property
    def ids(self) -> tuple[int, ...]:
        """Labels that are other numbers than 0, 1, … and have no names, in order; may be empty."""
        ...


def condition_size(data: Dataset, kind: str) -> int:
    """How many labels there are, or numbers in a vector.

    Raises
    ------
    UsageError
        If the data have none.
    """
    if kind == "vectors":
        return int(_vectors(data).shape[1])
    return len(data.label_names) or len(np.unique(_labels(data)))


def label_ids(data: Dataset) -> tuple[int, ...]:
    """Labels that occur, ascending, where these have no names and are not 0, 1, …; else nothing.

    Examples
    --------
    >>> rows, split = np.zeros((4, 1)), np.zeros(4)
    >>> label_ids(Dataset("years", rows, split, labels=np.array([2024, 1999, 2024, 2001])))
    (1999, 2001, 2024)
    >>> label_ids(Dataset("digits", rows, split, labels=np.array([0, 1, 1, 2])))
    ()
    """
    found = [] if data.label_names else np.unique(_labels(data)).tolist()
    return () if found == list(range(len(found))) else tuple(found)


def conditions_of(data: Dataset, wanted: ConditionSpec) -> Array:
    """Conditions of all examples for a model: the places of their labels, int64 (n,), or vectors (n, C).

    Labels are found by name, or by number where they have none, so that the data may have some of a model's
    classes only, and in another order.

    Raises
    ------
    UsageError
        If the data have none, or others than the model knows.
    """
    if wanted.kind == "vectors":
        found = _vectors(data)
        if found.shape[1] != wanted.size:
            raise UsageError(
                f"{data.name} has vectors of {found.shape[1]} numbers and the model takes {wanted.size}"
            )
        return found
    labels = _labels(data)
    classes, index = np.unique(labels, return_inverse=True)
    known = wanted.names or tuple(map(str, wanted.ids or range(wanted.size)))
    places = {name: place for place, name in enumerate(known)}
    names = [data.label_name(int(each)) for each in classes]
    unknown = [name for name in names if name not in places]
    if unknown and data.label_names and not (wanted.names or wanted.ids) and classes[-1] < wanted.size:
        return labels  # such a model knows only the order of its labels
    if unknown:
        raise UsageError(
            f"{data.name} has {_listed(unknown)}, which the model does not know: its labels are "
            f"{_listed(known)}" + (_UNNAMED if wanted.names and not data.label_names else "")
        )
    return np.array([places[name] for name in names], np.int64)[index.reshape(-1)]


_UNNAMED = "; the data need names for their labels, such as label_names in an .npz"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def with_vectors(data: Dataset, path: Path) -> Dataset:
    """Give each example a vector, the rows of a .npy (n, C) or (n,) in the data's order.

    Raises
    ------
    UsageError
        If the file cannot be read, or does not hold finite numbers for each example.
    """
    values = map_numbers(path, "--condition-file")
    try:
        return dataclasses.replace(data, vectors=values[:, None] if values.ndim == 1 else values)
    except UsageError as error:
        raise UsageError(f"--condition-file {path}: {error}") from None


def _labels(data: Dataset) -> Array:
    if data.labels is None:
        raise UsageError(
            f"{data.name} has no labels to be conditional on; use labelled data, or condition = 'vectors' "
            "with --condition-file"
        )
    negative = np.flatnonzero(data.labels < 0)
    if len(negative):
        count, row = len(negative), negative[0]
        what = "1 label is negative" if count == 1 else f"{count:,} labels are negative"
        raise UsageError(
            f"{data.name}: {what}, which usually marks unknown ones (row {row}, counting from 0, "
            f"has {data.labels[row]}); leave such examples out, or give them labels of 0 or more"
        )
    return data.labels


def _vectors(data: Dataset) -> Array:
    if data.vectors is None:
        raise UsageError(
            f"{data.name} has no vectors to be conditional on; give one for each example with "
            "--condition-file, or as vectors= of a Dataset"
        )
    return data.vectors

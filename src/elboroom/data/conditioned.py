"""Conditions of the examples of a data set: their labels, or a vector for each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np

from elboroom.data.dataset import Array, Dataset
from elboroom.errors import UsageError


class Wanted(Protocol):
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


def condition_size(data: Dataset, kind: str) -> int:
    """How many labels there are, or numbers in a vector.

    Raises
    ------
    UsageError
        If the data have none.
    """
    if kind == "vectors":
        return int(_vectors(data).shape[1])
    return len(data.label_names) or int(_labels(data).max()) + 1


def conditions_of(data: Dataset, wanted: Wanted) -> Array:
    """Conditions of all examples as a model takes them: int64 labels (n,), or float32 vectors (n, C).

    Raises
    ------
    UsageError
        If the data have none, or others than the model was made for.
    """
    found = _vectors(data) if wanted.kind == "vectors" else _labels(data)
    if wanted.kind == "vectors":
        if found.shape[1] != wanted.size:
            raise UsageError(
                f"{data.name} has vectors of {found.shape[1]} numbers and the model takes {wanted.size}"
            )
        return found
    if data.label_names != wanted.names and wanted.names and data.label_names:
        raise UsageError(
            f"{data.name} has the labels {', '.join(data.label_names)}, and the model takes "
            f"{', '.join(wanted.names)}, in this order; use data labelled alike"
        )
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= wanted.size:
        raise UsageError(
            f"{data.name} has labels from {low} to {high}, and the model takes 0 to {wanted.size - 1}"
        )
    return found


def with_vectors(data: Dataset, path: Path) -> Dataset:
    """Give each example a vector, the rows of a .npy (n, C) or (n,) in the data's order.

    Raises
    ------
    UsageError
        If the file cannot be read, or does not hold finite numbers for each example.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"--condition-file {path}: cannot be read as numbers ({error})") from None
    if not isinstance(values, np.ndarray):
        raise UsageError(f"--condition-file {path}: holds several arrays; give a .npy with one")
    try:
        return dataclasses.replace(data, vectors=values[:, None] if values.ndim == 1 else values)
    except UsageError as error:
        raise UsageError(f"--condition-file {path}: {error}") from None


def _labels(data: Dataset) -> Array:
    if data.labels is None:
        raise UsageError(
            f"{data.name} has no labels to be conditional on; use labelled data, or --condition vectors "
            "with --condition-file"
        )
    if data.labels.min() < 0:
        raise UsageError(f"{data.name} has label {data.labels.min()}; conditions are labels from 0 on")
    return data.labels


def _vectors(data: Dataset) -> Array:
    if data.vectors is None:
        raise UsageError(
            f"{data.name} has no vectors to be conditional on; give one for each example with "
            "--condition-file, or as vectors= of a Dataset"
        )
    return data.vectors

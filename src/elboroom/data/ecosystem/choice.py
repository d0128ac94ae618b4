"""Which library an object in memory comes from."""

from __future__ import annotations

from typing import Any

from elboroom.data.dataset import Dataset
from elboroom.data.ecosystem.anndata_sets import from_anndata
from elboroom.data.ecosystem.asked import Asked
from elboroom.data.ecosystem.hf_objects import from_datasets
from elboroom.data.ecosystem.torch_sets import from_torch
from elboroom.errors import UsageError


def outside_set(source: Any, asked: Asked) -> Dataset | None:
    """Make a data set of AnnData, or of a data set of Hugging Face or PyTorch; None if it is none of them.

    Raises
    ------
    UsageError
        If it cannot be used.
    """
    libraries = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(source).__mro__}
    if ("anndata", "AnnData") in libraries:
        return from_anndata(source, asked)
    if libraries & {("datasets", "Dataset"), ("datasets", "DatasetDict")}:
        return from_datasets(source, asked)
    if ("datasets", "IterableDataset") in libraries or ("datasets", "IterableDatasetDict") in libraries:
        raise UsageError(
            "a streamed data set of Hugging Face cannot be read more than once; load it without "
            "streaming=True, or give Dataset.from_list(list(stream.take(1000)))"
        )
    if libraries & {("torch", "Dataset"), ("torch", "DataLoader")}:
        return from_torch(source, asked)
    return None


def check_asked(asked: Asked, where: str) -> None:
    """Refuse what only sets of other libraries have.

    Raises
    ------
    UsageError
        If it was asked for.
    """
    if asked.layer is not None:
        raise UsageError(
            f"layer = {asked.layer!r} is for AnnData, and {where} is something else; leave it out"
        )
    if asked.label_column is not None:
        raise UsageError(
            f"label_column = {asked.label_column!r} is for AnnData and data sets of Hugging Face, and "
            f"{where} is something else; leave it out, and name the column of a table 'label'"
        )

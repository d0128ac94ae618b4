"""Data sets of the library ``datasets``, in memory or mapped from its cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from elboroom.data.dataset import Dataset
from elboroom.data.ecosystem.arrow_sets import BATCH, Part, from_parts
from elboroom.data.ecosystem.asked import Asked
from elboroom.errors import UsageError


def from_datasets(source: Any, asked: Asked) -> Dataset:
    """Make a data set of a ``datasets.Dataset``, or of a ``DatasetDict`` with its splits.

    Raises
    ------
    UsageError
        If its splits have other columns, or nothing can be used; see `from_parts`.
    """
    splits: Mapping[str, Any] = source if isinstance(source, Mapping) else {"": source}
    if not splits:
        raise UsageError("the DatasetDict has no splits")
    features = [one.features.to_dict() for one in splits.values()]
    if any(one != features[0] for one in features):
        raise UsageError(
            "the splits of the DatasetDict have different features; bring them to the same columns"
        )
    parts = [_part(str(name), one) for name, one in splits.items()]
    return from_parts(parts, features[0], asked, "dataset", "a data set of Hugging Face", local_files=True)


def _part(name: str, source: Any) -> Part:
    def tables(columns: list[str]) -> Iterator[Any]:
        return iter(source.select_columns(columns).with_format("arrow").iter(BATCH))

    return Part(name, len(source), tables)

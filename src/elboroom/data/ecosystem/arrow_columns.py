"""Columns of Arrow data with the features of Hugging Face: images, arrays, classes and single values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from elboroom.data.ecosystem.asked import Asked, as_words
from elboroom.data.rows import Array
from elboroom.errors import UsageError, some

Kind = Literal["image", "array", "table"]
Features = Mapping[str, Mapping[str, Any]]
_LISTS = ("List", "LargeList", "Sequence", "Array2D", "Array3D", "Array4D", "Array5D")


@dataclass(frozen=True)
class Layout:
    """Which columns are read, and as what.

    Attributes
    ----------
    kind : {"image", "array", "table"}
        What an example is.
    values : tuple of str
        The column of images or arrays, or the columns of the table.
    label : str or None
        The column of labels.
    left_out : tuple of str
        Columns that are not read.
    """

    kind: Kind
    values: tuple[str, ...]
    label: str | None
    left_out: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        return list(dict.fromkeys([*self.values, *([self.label] if self.label else [])]))


def layout_of(features: Features, asked: Asked, name: str) -> Layout:
    """Choose the columns: the one of images, else the one of arrays, else all single values as a table.

    Raises
    ------
    UsageError
        If several columns hold images or arrays, or nothing can be read.
    """
    by_kind: dict[str, list[str]] = {"image": [], "array": [], "table": []}
    for column, feature in features.items():
        held_as = _kind(feature)
        if held_as:
            by_kind[held_as].append(column)
    label = asked.labels_in([*by_kind["table"]], name)
    classes = [column for column in by_kind["table"] if features[column].get("_type") == "ClassLabel"]
    kinds: tuple[Kind, ...] = ("image", "array")
    for kind in kinds:
        held = by_kind[kind]
        if len(held) > 1:
            raise UsageError(
                f"{name}: columns {some(held)} hold {kind}s; keep one of them, as select_columns does"
            )
        if held:
            if label is None and len(classes) == 1:
                label = classes[0]
            left = tuple(column for column in features if column not in (held[0], label))
            return Layout(kind, (held[0],), label, left)
    if not by_kind["table"]:
        raise UsageError(
            f"{name}: no column of images, arrays, numbers or text; it has {some(list(features))}"
        )
    left = tuple(column for column in features if column not in by_kind["table"])
    return Layout("table", tuple(by_kind["table"]), label, left)


def _kind(feature: Any) -> Kind | None:
    if not isinstance(feature, Mapping):
        return None
    kind = feature.get("_type")
    if kind == "Image":
        return "image"
    if kind in _LISTS:
        inner = feature
        while isinstance(inner, Mapping) and inner.get("_type") in _LISTS and "feature" in inner:
            inner = inner["feature"]
        text = isinstance(inner, Mapping) and str(inner.get("dtype", "")) in (
            "string",
            "large_string",
            "binary",
        )
        readable = isinstance(inner, Mapping) and inner.get("_type") in ("Value", *_LISTS) and not text
        return "array" if readable else None
    return "table" if kind in ("Value", "ClassLabel") else None


def features_of(schema: Any) -> Features:
    """Read the features that a schema of Arrow carries; without them, find them out by its types."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored:
        try:
            found = json.loads(stored)["info"]["features"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found = None
        if isinstance(found, dict) and set(found) == set(schema.names):
            return found
    return {field.name: _by_type(field.type) for field in schema}


def _by_type(kind: Any) -> dict[str, Any]:
    text = str(kind)
    if text.startswith("struct<bytes: binary"):
        return {"_type": "Image"}
    if text.startswith(("list<", "large_list<", "fixed_size_list<")):
        return {"_type": "List", "feature": _by_type(kind.value_type)}
    return {"_type": "struct" if text.startswith("struct") else "Value", "dtype": text}


def labels_from(
    values: Sequence[Any], feature: Mapping[str, Any], what: str
) -> tuple[Array, tuple[str, ...]]:
    """Return labels as numbers or words, and the names of numbered classes.

    Raises
    ------
    UsageError
        If one is missing, or is not the number of a class.
    """
    names = tuple(map(str, feature.get("names") or ()))
    if feature.get("_type") != "ClassLabel":
        return as_words(values, what), ()
    # Hugging Face numbers examples without a class -1.
    numbers = as_words([None if value is None or value < 0 else value for value in values], what)
    if names and numbers.size and int(numbers.max()) >= len(names):
        raise UsageError(
            f"{what} has class {int(numbers.max())}, and there are {len(names)} names of classes"
        )
    return numbers, names


def array_of(column: Any, feature: Mapping[str, Any], what: str) -> Array:
    """Return a column of lists of numbers as an array ``(n, …)``.

    Raises
    ------
    UsageError
        If its lists differ in length, are missing, or hold no numbers.
    """
    part = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    part = part.chunk(0) if hasattr(part, "chunk") else part
    part = getattr(part, "storage", part)
    shape: list[int] = [len(part)]
    while str(part.type).startswith(("list<", "large_list<", "fixed_size_list<")):
        if part.null_count:
            raise UsageError(f"{what} has {part.null_count} missing arrays; leave them out")
        inner = part.flatten()
        size = len(inner) // max(1, len(part))
        lengths = (
            part.value_lengths().to_numpy() if hasattr(part, "value_lengths") else np.full(len(part), size)
        )
        if not np.all(lengths == size):
            raise UsageError(
                f"{what} has arrays of {lengths.min()} to {lengths.max()} entries; they must be alike"
            )
        shape.append(size)
        part = inner
    if part.null_count:
        raise UsageError(f"{what} has {part.null_count} missing numbers; fill them")
    values = part.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "biuf":
        raise UsageError(f"{what} contains {part.type}; it must contain plain numbers")
    declared = feature.get("shape")
    if isinstance(declared, list | tuple) and list(declared) != shape[1:]:
        raise UsageError(f"{what} has arrays of shape {tuple(shape[1:])}, and {tuple(declared)} is declared")
    return np.asarray(values.reshape(shape))

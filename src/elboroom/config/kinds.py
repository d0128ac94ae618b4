"""Kinds of columns as the user declares them: ``'zip=category, rating=ordinal:low<mid<high'``."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from elboroom.config.columns import FAMILIES, KINDS, ColumnKind, Family
from elboroom.errors import UsageError, nearest, shortened

_KIND = re.compile(
    r"(?P<kind>[a-z]+)(?:/(?P<family>[a-z_]+))?\s*(?:\[(?P<unit>[^\]]*)\])?\s*(?::(?P<detail>.*))?", re.DOTALL
)
_FORM = "write 'zip=category, rating=ordinal:low<mid<high, weight=positive[kg], day=datetime:%d/%m/%Y'"


@dataclass(frozen=True)
class Declared:
    """What the user says of one column.

    Attributes
    ----------
    kind : str
        One of `elboroom.config.columns.KINDS`.
    family : str, optional
        Its likelihood, if not the kind's default.
    unit : str
        Of the numbers.
    levels : tuple of str
        Categories in their order, or the two values of a boolean.
    date_format : str
        Of dates.
    """

    kind: ColumnKind
    family: Family | None = None
    unit: str = ""
    levels: tuple[str, ...] = ()
    date_format: str = ""


def read_kinds(value: object) -> dict[str, str]:
    """Name → kind, of a mapping or of text such as ``'zip=category, id=ignored'``.

    An entry that contains a comma is put into double quotes.

    Examples
    --------
    >>> read_kinds('zip=category, "size, outer=positive[mm]"')
    {'zip': 'category', 'size, outer': 'positive[mm]'}
    """
    if isinstance(value, str):
        entries = next(csv.reader([value], skipinitialspace=True), [])
        pairs = [entry.rpartition("=")[::2] for entry in entries if entry.strip()]
        if not all(name.strip() for name, _ in pairs):
            raise ValueError(f"contains an entry without a name; {_FORM}")
    elif isinstance(value, Mapping):
        pairs = [(str(name), str(kind)) for name, kind in value.items()]
    else:
        raise ValueError(f"must be text or a table; {_FORM}")  # noqa: TRY004 (pydantic reports it)
    found = {name.strip(): kind.strip() for name, kind in pairs}
    for name, kind in found.items():
        declared(name, kind)
    if len(found) < len(pairs):
        raise ValueError("names a column twice")
    return found


Kinds = Annotated[dict[str, str], BeforeValidator(read_kinds)]


def declared(name: str, text: str) -> Declared:
    """Parse the kind of one column.

    Raises
    ------
    UsageError
        If it is none.

    Examples
    --------
    >>> declared("rating", "ordinal:low<mid<high").levels
    ('low', 'mid', 'high')
    """
    found = _KIND.fullmatch(text)
    kind, column = found and found["kind"], f"column {shortened(name)}"
    if found is None or kind not in KINDS:
        raise UsageError(f"{column}: no kind {shortened(text)}; {nearest(kind or text, KINDS)}")
    family, detail = found["family"], (found["detail"] or "").strip()
    if family is not None and family not in FAMILIES[kind]:
        raise UsageError(f"{column}: no likelihood {family!r} for {kind}; {nearest(family, FAMILIES[kind])}")
    levels = _levels(column, kind, detail) if detail and kind != "datetime" else ()
    if kind == "ordinal" and not levels:
        raise UsageError(f"{column}: the order of its levels is missing; write 'ordinal:low<mid<high'")
    return Declared(
        cast(ColumnKind, kind),
        cast(Family | None, family),
        (found["unit"] or "").strip(),
        levels,
        detail if kind == "datetime" else "",
    )


def _levels(column: str, kind: str, detail: str) -> tuple[str, ...]:
    mark = {"ordinal": "<", "category": "|", "boolean": "|"}.get(kind)
    if mark is None:
        raise UsageError(f"{column}: {kind} takes nothing after a colon; leave {detail!r} out")
    levels = tuple(level.strip() for level in detail.split(mark))
    if len(levels) < 2 or not all(levels) or len(set(levels)) < len(levels):
        raise UsageError(
            f"{column}: {shortened(detail)} must be two or more different levels with '{mark}' between them"
        )
    if kind == "boolean" and len(levels) != 2:
        raise UsageError(f"{column}: a boolean has two values, such as 'boolean:no|yes', not {len(levels)}")
    return levels


def declared_kinds(kinds: Any) -> dict[str, Declared]:
    """Parse the kinds of several columns; see `read_kinds`.

    Raises
    ------
    UsageError
        If one is invalid.
    """
    try:
        return {name: declared(name, kind) for name, kind in read_kinds(kinds or {}).items()}
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"kinds = {shortened(kinds)} {error}") from None

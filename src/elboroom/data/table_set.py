"""A data set of the columns of a table, by their kinds or by the columns that a run knows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from elboroom.config.columns import NOT_MODELLED, Column
from elboroom.config.kinds import Declared
from elboroom.data.dataset import Dataset, Skipped, draw_split
from elboroom.data.precision import Rounding
from elboroom.data.rows import Array
from elboroom.data.spelling import speller
from elboroom.data.table import labels_of
from elboroom.data.table_cells import Cells, settled
from elboroom.data.table_encode import encode
from elboroom.data.table_kinds import Found, declare, find_kind
from elboroom.errors import UsageError, nearest, shortened, some

_MOST_ALIKE = 3  # notes that say the same of several columns, each in a line of its own


@dataclass(frozen=True)
class Reading:
    """How a table is to be read.

    Attributes
    ----------
    kinds : mapping of str to Declared
        Kinds of columns that are not to be inferred.
    columns : tuple of Column
        Columns of a run, to which the table is brought by name; inferred if there are none.
    strict : bool
        Whether a cell that does not fit its column is an error.
    unseen : {"refuse", "missing"}
        What a category is at use that a column does not have.
    """

    kinds: Mapping[str, Declared] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    strict: bool = False
    unseen: str = "refuse"

    def levels(self, name: str) -> tuple[str, ...]:
        """Categories that a column is declared or known to have."""
        return self._known.get(name, ()) or (self.kinds[name].levels if name in self.kinds else ())

    @cached_property
    def said(self) -> frozenset[str]:
        """Columns whose kind is declared or known."""
        return frozenset((*self.kinds, *self._known))

    @cached_property
    def texts(self) -> frozenset[str]:
        """Columns whose numbers are words: identifiers, and dates such as 20210131."""
        declared = {
            name for name, said in self.kinds.items() if said.kind == "identifier" or said.date_format
        }
        return frozenset(declared | {column.name for column in self.columns if column.date_format})

    @cached_property
    def _known(self) -> dict[str, tuple[str, ...]]:
        return {column.name: column.categories for column in self.columns}


def table_set(
    cells: Sequence[Cells],
    name: str,
    reading: Reading,
    *,
    where: str | None = None,
    names: Sequence[str] = (),
    notes: Sequence[str] = (),
    split: Array | None = None,
    **known: Any,
) -> Dataset:
    """Make a data set of the cells of a table's columns.

    Parameters
    ----------
    cells : sequence of Cells
        The columns, all of one length.
    name, where : str
        Of the data set, and what messages call the source.
    reading : Reading
        Kinds, and known columns.
    names : sequence of str
        Names of the rows; without them, the first identifier names them.
    notes, split, **known
        As in `Dataset`.

    Raises
    ------
    UsageError
        If a column cannot be used; the message names it.
    """
    where = where or name
    as_known = speller([*reading.kinds, *(column.name for column in reading.columns)])
    cells = [replace(each, name=as_known(each.name)) for each in cells]
    cells = [settled(each, reading.levels(each.name)) for each in cells]
    headings = [each.name for each in cells]
    twice = [heading for heading, count in Counter(headings).items() if count > 1]
    if twice:
        raise UsageError(
            f"{where}: two columns are called {shortened(twice[0])}; give each a name of its own"
        )
    for heading in reading.kinds:
        if heading not in headings:
            raise UsageError(f"{where}: no column {shortened(heading)}; {nearest(heading, headings)}")
    found = _found(cells, reading, where)
    said = [*notes, *_folded(_respelled(cells))]
    if reading.columns:
        columns = reading.columns
        left_out, more = _matched(found, columns, where)
        said += more
    else:
        said += _folded([(each.column.name, note) for each in found for note in each.notes])
        columns = tuple(each.column for each in found if each.column.kind not in NOT_MODELLED)
        left_out = tuple(each.column for each in found if each.column.kind in NOT_MODELLED)
    if not columns:
        raise UsageError(f"{where}: no column is left to model; {'; '.join(said[:3])}")
    by_name = dict(zip(headings, cells, strict=True))
    x, more = _encoded([by_name[column.name] for column in columns], columns, where, strict=reading.strict)
    identifier = next((column.name for column in left_out if column.kind == "identifier"), None)
    if not names and identifier is not None:
        own = by_name[identifier]
        names = ["" if gone else own.said(i) for i, gone in enumerate(own.missing.tolist())]
    return Dataset(
        name,
        x,
        draw_split(len(x)) if split is None else split,
        columns=columns,
        left_out=left_out,
        names=tuple(names),
        notes=(*said, *more),
        published_split=split is not None,
        **known,
    )


def labelled_set(
    cells: Sequence[Cells], name: str, reading: Reading, *, where: str | None = None, **known: Any
) -> Dataset:
    """As `table_set`, of columns one of which may be called ``label``: it holds labels.

    Rows without a label are left out, which `Dataset.skipped` says.
    """
    where = where or name
    own = [settled(each) for each in cells if each.name.lower() == "label"]
    if not own:
        return table_set(cells, name, reading, where=where, **known)
    if len(own) > 1:
        raise UsageError(f"{where}: {len(own)} columns are headed 'label'; one may hold labels")
    others = [each for each in cells if each.name.lower() != "label"]
    if not others:
        raise UsageError(f"{where}: contains labels only; it needs at least one other column")
    missing = own[0].missing
    kept = np.flatnonzero(~missing)
    if not len(kept):
        raise UsageError(f"{where}: column {shortened(own[0].name)} is empty; give labels, or leave it out")
    labels, label_names = labels_of([own[0].said(row) for row in kept.tolist()], where)
    if missing.any():
        known["skipped"] = tuple(
            Skipped(f"{where}:{row}", f"row {row} (counting from 0) has no label")
            for row in np.flatnonzero(missing).tolist()
        )
        known["rows"] = kept
        names = known.get("names", ())
        known["names"] = tuple(names[row] for row in kept.tolist()) if names else ()
        others = [each.taken(kept) for each in others]
    return table_set(others, name, reading, where=where, labels=labels, label_names=label_names, **known)


def _respelled(cells: Sequence[Cells]) -> list[tuple[str, str]]:
    """Columns with words in several Unicode normal forms, and what is to be said of them."""
    return [
        (
            each.name,
            f"warning: column {shortened(each.name)}: {some([*map(shortened, each.respelled)])} written in "
            "several Unicode normal forms: taken as one",
        )
        for each in cells
        if each.respelled
    ]


def _folded(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Notes on columns; of many that say the same, the first, and the other columns by name.

    Examples
    --------
    >>> _folded([(name, f"column {name!r} is empty") for name in "abcdefg"])
    ["column 'a' is empty; likewise 6 more columns: 'b', 'c', 'd' and 3 more"]
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, note in notes:
        gist = re.sub(r"\(.*?\)|'.*?'|\d[\d.,]*", "", note.replace(shortened(name), ""))
        alike.setdefault(gist, []).append((name, note))
    said = []
    for group in alike.values():
        if len(group) <= _MOST_ALIKE:
            said += [note for _, note in group]
        else:
            others = [shortened(name) for name, _ in group[1:]]
            said.append(f"{group[0][1]}; likewise {len(others):,} more columns: {some(others)}")
    return said


def _found(cells: Sequence[Cells], reading: Reading, where: str) -> list[Found]:
    """Kinds of all columns; of those that a run does not know, only whether they identify rows matters."""
    known = {column.name: column for column in reading.columns}
    found = []
    for each in cells:
        if each.name in known:
            found.append(Found(known[each.name]))
        elif each.name in reading.kinds:
            found.append(declare(each, reading.kinds[each.name], where, reading.unseen))
        elif not known:
            found.append(find_kind(each, where, reading.unseen))
        else:
            try:
                found.append(find_kind(each, where, reading.unseen))
            except UsageError:
                found.append(Found(Column(name=each.name, kind="ignored")))
    return found


def _matched(
    found: Sequence[Found], columns: Sequence[Column], where: str
) -> tuple[tuple[Column, ...], list[str]]:
    """Columns that a run does not use, with notes on them."""
    there, wanted = [each.column.name for each in found], {column.name for column in columns}
    refuse_lacking(columns, there, where)
    others = tuple(each.column for each in found if each.column.name not in wanted)
    extra = [shortened(column.name) for column in others if column.kind not in NOT_MODELLED]
    notes = [f"columns that the model does not use: {some(extra, 8)}"] if extra else []
    left_out = [
        column
        if column.kind in NOT_MODELLED
        else Column(name=column.name, kind="ignored", dtype=column.dtype)
        for column in others
    ]
    return tuple(left_out), notes


def refuse_lacking(columns: Sequence[Column], there: Sequence[str], where: str) -> None:
    """Refuse a table without some columns of a run.

    Raises
    ------
    UsageError
        That names them, and what is there.
    """
    names = set(there)
    lacking = [shortened(column.name) for column in columns if column.name not in names]
    if lacking:
        which = f"columns {some(lacking)} of the training table are" if len(lacking) > 1 else ""
        which = which or f"column {lacking[0]} of the training table is"
        raise UsageError(f"{where}: {which} missing; found {some([*map(shortened, there)], 8)}")


def _encoded(
    cells: Sequence[Cells], columns: Sequence[Column], where: str, *, strict: bool
) -> tuple[Array, list[str]]:
    x = np.empty((len(cells[0]), len(columns)), np.float32)
    notes: list[tuple[str, str]] = []
    holes: list[str] = []
    for i, (own, column) in enumerate(zip(cells, columns, strict=True)):
        encoded = encode(own, column, where, strict=strict)
        x[:, i] = encoded.values
        notes += [(column.name, note) for note in encoded.notes]
        absent = int(np.isnan(encoded.values).sum())
        if absent:
            holes.append(f"{shortened(column.name)} {absent:,}")
        known = encoded.values[~np.isnan(encoded.values)]
        if len(known) and not column.categories and column.kind != "datetime":
            rounding = Rounding()
            rounding.add(known[:, None])
            notes += [(column.name, note) for note in rounding.notes([shortened(column.name)], where)]
    first = [f"missing cells: {some(holes, 6)}"] if holes else []
    return x, first + _folded(notes)

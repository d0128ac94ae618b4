"""A data set of Arrow data with features of Hugging Face, read a part of its rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data import images
from elboroom.data.arrays import encode_labels, from_array
from elboroom.data.columns import as_numbers
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Dataset, Skipped, draw_split, refuse_skipped
from elboroom.data.ecosystem.arrow_columns import Features, Layout, array_of, labels_from, layout_of
from elboroom.data.ecosystem.asked import LABEL, Asked
from elboroom.data.folder import choose_shape, made_by_decoding, size_notes
from elboroom.data.memory import require_memory
from elboroom.data.rows import Array
from elboroom.data.samples import as_file
from elboroom.data.table_frames import memory_table
from elboroom.data.table_set import Reading, labelled_set
from elboroom.data.written import WrittenRows
from elboroom.errors import UsageError, some

SPLITS = {"train": TRAIN, "test": TEST, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION}
SPLITS["dev"] = VALIDATION
BATCH = 256  # rows that are read at a time


@dataclass(frozen=True)
class Part:
    """The rows of one split.

    Attributes
    ----------
    split : str
        Its name; "" if the rows come without one.
    rows : int
        How many there are.
    tables : callable
        Columns → iterator of Arrow tables of these columns, of at most `BATCH` rows; may be called again.
    """

    split: str
    rows: int
    tables: Callable[[list[str]], Iterator[Any]]


def from_parts(
    parts: Sequence[Part],
    features: Features,
    asked: Asked,
    name: str,
    origin: str,
    *,
    scratch: Path | None = None,
    local_files: bool = False,
) -> Dataset:
    """Make a data set of the splits of one source.

    Parameters
    ----------
    parts : sequence of Part
        Its splits; those of other names than `SPLITS` are left out.
    features : mapping
        What each column holds, as ``Features.to_dict`` of datasets gives.
    asked : Asked
        Size and channels of images, and labels.
    name, origin : str
        As in `Dataset`.
    scratch : Path, optional
        Folder in which images are decoded to a file; in memory without one.
    local_files : bool
        Whether images that are only named may be read from the files of that name.

    Raises
    ------
    UsageError
        If nothing in it can be used, or it does not fit into memory.
    """
    if asked.layer is not None:
        raise UsageError(f"layer = {asked.layer!r} is for AnnData, and {name} has no layers; leave it out")
    used = [part for part in parts if part.split in SPLITS or not part.split] or list(parts)
    if not sum(part.rows for part in used):
        raise UsageError(f"{name}: has no rows")
    layout = layout_of(features, asked, name)
    others = [part.split for part in parts if part not in used]
    notes = [f"splits that are not read: {some(others)}"] if others else []
    if layout.left_out:
        notes.append(f"columns that are not read: {some(layout.left_out, 8)}")
    if layout.label is not None and layout.label != LABEL:
        notes.append(f"labels are column {layout.label!r}")
    source = _Source(used, features, layout, asked, name, origin, tuple(notes), local_files)
    match layout.kind:
        case "table":
            return source.table()
        case "array":
            return source.arrays()
        case "image":
            return source.decoded(scratch)


@dataclass(frozen=True)
class _Source:
    """The splits that are read, and how; see `from_parts`."""

    parts: Sequence[Part]
    features: Features
    layout: Layout
    asked: Asked
    name: str
    origin: str
    notes: tuple[str, ...]
    local_files: bool

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def split(self) -> Array | None:
        """Split of each row; None, for one to be drawn, unless there is something to train on and more."""
        codes = [SPLITS.get(part.split, TRAIN) for part in self.parts]
        if len(set(codes)) < 2 or TRAIN not in codes:
            return None
        return np.repeat(np.array(codes, np.uint8), [part.rows for part in self.parts])

    def tables(self, columns: list[str]) -> Iterator[Any]:
        for part in self.parts:
            yield from part.tables(columns)

    def labels(self) -> tuple[Array | None, tuple[str, ...]]:
        column = self.layout.label
        if column is None:
            return None, ()
        values = [v for table in self.tables([column]) for v in table.column(column).to_pylist()]
        return labels_from(values, self.features[column], f"{self.name}: column {column!r}")

    def arrays(self) -> Dataset:
        (column,) = self.layout.values
        what, x, start = f"{self.name}: column {column!r}", None, 0
        for table in self.tables([column]):
            found = array_of(table.column(column), self.features[column], what)
            if x is None:
                needed = self.rows * found[:1].nbytes
                require_memory(needed, f"{self.name}: {self.rows:,} arrays are kept in memory", self.name)
                x = np.empty((self.rows, *found.shape[1:]), found.dtype)
            if found.shape[1:] != x.shape[1:]:
                shapes = f"{x.shape[1:]} and {found.shape[1:]}"
                raise UsageError(f"{what} has arrays of shapes {shapes}; they must be alike")
            x[start : start + len(found)] = found
            start += len(found)
        assert x is not None
        labels, names = self.labels()
        return from_array(
            x,
            self.name,
            labels=labels,
            label_names=names,
            split=self.split,
            origin=self.origin,
            notes=self.notes,
        )

    def table(self) -> Dataset:
        import pyarrow

        whole = pyarrow.concat_tables(list(self.tables(self.layout.columns)))
        for i, column in enumerate(whole.column_names):
            names = self.features[column].get("names")
            if self.features[column].get("_type") == "ClassLabel" and names:
                words = [None if v is None or v < 0 else str(names[v]) for v in whole.column(i).to_pylist()]
                whole = whole.set_column(i, column, pyarrow.array(words, pyarrow.string()))
        more: dict[str, Any] = {} if self.split is None else {"split": self.split}
        label = self.layout.label
        if label is not None:
            empty = whole.column(label).null_count
            if empty and more:
                raise UsageError(
                    f"{self.name}: column {label!r} has {empty} empty cells; fill them, or leave the rows out"
                )
            others = [f"{LABEL}_" if c == LABEL != label else c for c in whole.column_names]
            whole = whole.rename_columns([LABEL if c == label else c for c in others])
        cells = memory_table(whole)
        assert cells is not None
        reading = self.asked.reading or Reading()
        data = labelled_set(cells, self.name, reading, origin=self.origin, notes=self.notes, **more)
        return data if self.asked.reading is not None else as_numbers(data)

    def decoded(self, scratch: Path | None) -> Dataset:
        headers, peaks, bad = self._headers()
        shape, white = (
            choose_shape(list(headers), self.asked.size, self.asked.channels),
            images.white_of(peaks),
        )
        written = WrittenRows(scratch, (self.rows - len(bad), *shape), self.name)
        good = []
        for row, cell in enumerate(self._cells()):
            if row in bad:
                continue
            try:
                written.append(images.decode(_file_of(cell, self.local_files), shape, white))
                good.append(row)
            except (ValueError, OSError) as error:
                bad[row] = str(error)
        if not good:
            raise self._nothing(bad)
        kept, (labels, names) = np.array(good, np.int64), self.labels()
        if labels is not None:
            labels, names = encode_labels(labels[kept], names, self.name)
        data = Dataset(
            self.name,
            written.finish(),
            draw_split(len(kept)) if self.split is None else self.split[kept],
            labels,
            names,
            scale=255.0,
            published_split=self.split is not None,
            skipped=tuple(Skipped(f"{self.name}:{row}", reason) for row, reason in sorted(bad.items())),
            rows=kept if bad else None,
            preparation=made_by_decoding(headers, shape, white),
            origin=self.origin,
            notes=(*self.notes, *size_notes(headers, shape)),
        )
        if self.asked.strict:
            refuse_skipped(data)
        return data

    def _headers(self) -> tuple[set[images.Header], set[int], dict[int, str]]:
        """What the headers of all images say, the peaks of those of 16 bits, and what cannot be read."""
        headers: set[images.Header] = set()
        peaks: set[int] = set()
        bad: dict[int, str] = {}
        for row, cell in enumerate(self._cells()):
            try:
                header = images.read_header(_file_of(cell, self.local_files))
                if header.deep:
                    peaks.add(images.peak(_file_of(cell, self.local_files)))
                headers.add(header)
            except (ValueError, OSError) as error:
                bad[row] = str(error)
        if not headers:
            raise self._nothing(bad)
        return headers, peaks, bad

    def _cells(self) -> Iterator[Any]:
        (column,) = self.layout.values
        for table in self.tables([column]):
            yield from table.column(column).to_pylist()

    def _nothing(self, bad: dict[int, str]) -> UsageError:
        first = min(bad)
        return UsageError(
            f"{self.name}: no image in column {self.layout.values[0]!r} can be used; row {first} {bad[first]}"
        )


def _file_of(cell: Any, local_files: bool) -> Path:
    """The encoded image of a cell: its bytes, or a file that it names.

    Raises
    ------
    ValueError
        If it has neither.
    """
    content = cell.get("bytes") if isinstance(cell, dict) else None
    if content is not None:
        return as_file(content)
    path = cell.get("path") if isinstance(cell, dict) else None
    if path and local_files:
        return Path(path)
    raise ValueError("is missing" if not path else "is not in the data, which only name a file")

"""Change single rows of a landmarks file, and keep all else that it holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from elboroom.data.faces.geometry import PARTS, Points
from elboroom.data.faces.landmarks import COLUMNS, FILES, Landmarks, read_table
from elboroom.errors import UsageError
from elboroom.io.files import write_atomic

FILE = FILES[0]
_BOM = "\ufeff"


def name_problem(place: str) -> str | None:
    """Say why a CSV file cannot hold a photo's path within its folder; None if it can."""
    try:
        place.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8; rename it"
    if "\\" in place or place != place.strip() or len(place.splitlines()) != 1:
        return "has a name with a backslash, a line break or a space at its edge; rename it"
    return None


def set_row(path: Path, names: Sequence[str], points: Points | None) -> None:
    """Write the landmarks of one photo into a file, which is replaced whole or not at all.

    Rows of other photos, further columns and their order stay as they are. Without ``landmarks.csv`` the rows
    of a ``landmarks.json`` beside it are taken over, since the CSV file counts where there are both.

    Parameters
    ----------
    path : pathlib.Path
        The CSV file.
    names : sequence of str
        Names that mean the photo, as in `elboroom.data.faces.photos.names_of`; a new row has the first.
    points : mapping of str to (float, float) or None
        In pixels of the upright photo. If empty, the row has no coordinates: the photo is left out. None
        removes the row.

    Raises
    ------
    UsageError
        If the file is no longer a landmarks file.
    FailureError
        If it cannot be written.
    """
    mark, header, rows = _read(path)
    columns = [cell.strip() for cell in header]
    missing = [column for column in COLUMNS if column not in columns]
    header, columns = [*header, *missing], [*columns, *missing]
    at = columns.index("file")
    for row in rows:
        row += [""] * (len(columns) - len(row))
    keys = [_key(row[at]) for row in rows]
    name = next((name for name in names if name in keys), names[0])
    found = [row for row, key in zip(rows, keys, strict=True) if key == name]
    kept = [row for row, key in zip(rows, keys, strict=True) if key != name or (row is found[0])]
    if points is None:
        kept = [row for row in kept if not found or row is not found[0]]
    else:
        if not found:
            kept.append([name if column == "file" else "" for column in columns])
        row = found[0] if found else kept[-1]
        for column in COLUMNS:
            part, _, axis = column.rpartition("_")
            row[columns.index(column)] = _written(points[part]["xy".index(axis)]) if part in points else ""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *kept])
    write_atomic(path, mark + text.getvalue())


def _read(path: Path) -> tuple[str, list[str], list[list[str]]]:
    """Byte order mark, header and rows of a file, of the JSON file beside it, or of none."""
    other = path.with_name(FILES[1])
    if not path.is_file():
        rows = rows_of_json(other) if path.name == FILE and other.is_file() else []
        return "", ["file", *COLUMNS], rows
    read_table(path)  # says what is wrong with a file that is none
    text = path.read_text(encoding="utf-8")
    reader = csv.reader(io.StringIO(text.removeprefix(_BOM), newline=""), skipinitialspace=True)
    header, *rows = [row for row in reader if row]
    return _BOM if text.startswith(_BOM) else "", header, rows


def rows_of_json(path: Path) -> list[list[str]]:
    """Return the landmarks of a JSON file as rows of a CSV file.

    Raises
    ------
    UsageError
        If it cannot be read, or an entry cannot be used.
    """
    rows = []
    for name, given in read_table(path).entries.items():
        if not isinstance(given, Landmarks):
            raise UsageError(f"{path}: {name}: {given}; correct it, as its rows go to {FILE}")
        points = given.points
        pairs = [map(_written, points[part]) if part in points else ("", "") for part in PARTS]
        rows.append([name, *(cell for pair in pairs for cell in pair)])
    return rows


def _key(cell: str) -> str:
    return Path(cell.strip().replace("\\", "/")).as_posix()


def _written(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

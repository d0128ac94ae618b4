"""Landmarks that come with photos: CSV and JSON files, the dogs of Columbia, the names of UTKFace.

Coordinates are pixels of the upright photo, as a viewer shows it: ``(0, 0)`` is the upper left corner, x
grows to the right and y down. "Left" is left in the picture.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elboroom.data.faces.geometry import PARTS, Point, Points
from elboroom.errors import UsageError, nearest

FILES = ("landmarks.csv", "landmarks.json")
COLUMNS = tuple(f"{part}_{axis}" for part in PARTS for axis in "xy")
_NEEDED = ",".join(COLUMNS[:4])

# The animal's own right comes first, which a photo of its face shows on the left.
_DOG_PARTS = ("left_eye", "right_eye", "nose")
_DOG_LINES = 8
_FARTHEST = 1e6  # pixels; larger than any photo, and small enough to be squared
_SHOWN = 60  # characters of a wrong value
_UTKFACE = re.compile(
    r"(?P<age>\d{1,3})_(?P<gender>[01])(_(?P<race>[0-4]))?_\d{8,20}(\.jpe?g)?(\.chip)?\.(jpe?g|png)", re.I
)


@dataclass(frozen=True)
class Landmarks:
    """Where the parts of one face are, by their names, and their source."""

    points: Points
    source: str

    def scaled(self, across: float, down: float) -> Landmarks:
        """Return them for a photo of another size."""
        points = {part: (x * across, y * down) for part, (x, y) in self.points.items()}
        return Landmarks(points, self.source)


Given = Landmarks | str
"""Landmarks, or the reason why what was given is unusable."""


@dataclass(frozen=True)
class Table:
    """The landmarks of one file, by the names it gives to photos."""

    path: Path
    entries: Mapping[str, Given]

    def get(self, *names: str) -> Given | None:
        """Return what the file says of a photo that goes by these names; the first that is known counts."""
        return next((self.entries[name] for name in names if name in self.entries), None)


def find_table(folder: Path) -> Table | None:
    """Read ``landmarks.csv`` or ``landmarks.json`` of a folder, if there is one.

    Raises
    ------
    UsageError
        See `read_table`.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    return None if path is None else read_table(path)


def read_table(path: Path) -> Table:
    """Read landmarks from a CSV or JSON file.

    A CSV has the columns ``file, left_eye_x, left_eye_y, right_eye_x, right_eye_y`` and perhaps ``nose_x,
    nose_y, mouth_x, mouth_y``; others are passed over. JSON is ``{"file": {"left_eye": [x, y], …}, …}``.
    Bad rows spoil their own photos only.

    Raises
    ------
    UsageError
        If there is no such file, or it is not such a file at all.
    """
    readers: dict[str, Callable[[str, Path], Iterator[tuple[str, Given]]]] = {
        ".csv": _csv_rows,
        ".json": _json_rows,
    }
    if not path.is_file():
        raise UsageError(f"no landmarks file {path}; give a .csv or .json")
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path}: landmarks are read from .csv and .json files only")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as UTF-8 text ({error}); save it again") from error
    entries: dict[str, Given] = {}
    for name, given in readers[path.suffix.lower()](text, path):
        key = Path(name.replace("\\", "/")).as_posix()
        entries[key] = f"is named more than once in {path.name}" if key in entries else given
    return Table(path, entries)


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, Given]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [column.strip() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    for column in ("file", *COLUMNS[:4]):
        if column not in columns:
            others = set(columns) - {"file", *COLUMNS}
            hint = nearest(column, others) if others else f"found: {', '.join(columns) or 'nothing'}"
            raise UsageError(f"{path}: has no column {column!r} ({hint}); it needs file,{_NEEDED}")
    try:
        for row in reader:
            if row["file"]:
                cells = {part: (row.get(f"{part}_x"), row.get(f"{part}_y")) for part in PARTS}
                filled = {part: pair for part, pair in cells.items() if any(pair)}
                yield row["file"].strip(), _checked(filled, path.name, f"{path.name} line {reader.line_num}")
    except csv.Error as error:
        raise UsageError(
            f"{path}: line {reader.line_num} is not valid CSV ({error}); save it again"
        ) from error


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, Given]]:
    try:
        # Pairs instead of a dict keep a name that is there twice.
        rows = json.loads(text, object_pairs_hook=list)
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON ({error}); correct it") from error
    except RecursionError:
        raise UsageError(f"{path}: is nested too deeply for landmarks; correct it") from None
    if not isinstance(rows, list) or not all(isinstance(row, tuple) for row in rows):
        raise UsageError(
            f"{path}: must map files to landmarks, as in "
            '{"a.jpg": {"left_eye": [x, y], "right_eye": [x, y]}}'
        )
    for name, parts in rows:
        known = isinstance(parts, list) and all(isinstance(part, tuple) for part in parts)
        yield name, _checked(dict(parts) if known else {}, path.name, f"{path.name}, {name!r}")


def _checked(parts: Mapping[str, Any], source: str, place: str) -> Given:
    """Turn what a file holds into landmarks, or say what is wrong with it."""
    points: dict[str, Point] = {}
    for part in PARTS:
        pair = parts.get(part)
        if pair is None:
            continue
        try:
            x, y = (float(value) for value in pair)
        except (TypeError, ValueError, OverflowError):
            return f"{place}: {part} is {_short(pair)}, not two numbers"
        if not (abs(x) <= _FARTHEST and abs(y) <= _FARTHEST):  # nor is nan
            return f"{place}: {part} is ({x:g}, {y:g}), not a place in a photo"
        points[part] = (x, y)
    missing = [part for part in PARTS[:2] if part not in points]
    return f"{place}: has no {' and no '.join(missing)}" if missing else Landmarks(points, source)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def read_dog_parts(photo: Path) -> Given | None:
    """Read the annotation of a photo in the layout of Columbia's "Dogs with Parts", if it has one.

    One text file per photo with eight lines ``x y``: right eye, left eye, nose, right ear tip, right ear
    base, head top, left ear base, left ear tip, right and left being the dog's own. It lies beside the photo
    or, if that is below a folder ``dogImages``, at the same place below ``dogParts``. Negative coordinates
    mark what cannot be seen. A text file that does not begin with a number is something else.
    """
    parts = photo.with_suffix(".txt").parts
    places = [Path(*parts)]
    if "dogImages" in parts:
        at = len(parts) - 1 - parts[::-1].index("dogImages")
        places.append(Path(*parts[:at], "dogParts", *parts[at + 1 :]))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(4096).replace(",", " ").strip().splitlines()
    except (OSError, UnicodeDecodeError):
        return f"has a part file {path.name} that cannot be read as text"
    rows = [line.split() for line in lines]
    try:
        float(rows[0][0])
    except (IndexError, ValueError):
        return None
    if len(rows) != _DOG_LINES or not all(len(row) == 2 for row in rows):
        return f"has a part file {path.name} without {_DOG_LINES} lines of x and y"
    seen = {part: row for part, row in zip(_DOG_PARTS, rows, strict=False) if not row[0].startswith("-")}
    return _checked(seen, "parts", path.name)


def read_utkface_name(name: str) -> dict[str, str] | None:
    """Read age in years, gender (0 male, 1 female) and race from a file name of UTKFace, if it is one.

    Examples
    --------
    >>> read_utkface_name("61_1_3_20170109150557335.jpg.chip.jpg")
    {'age': '61', 'gender': '1', 'race': '3'}
    >>> read_utkface_name("holiday_2019.jpg") is None
    True
    """
    found = _UTKFACE.fullmatch(name)
    return None if found is None else {key: value or "" for key, value in found.groupdict().items()}

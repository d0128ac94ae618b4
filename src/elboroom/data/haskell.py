"""The folder of text files that the original Haskell program trains on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from elboroom.data.dataset import Array, Dataset, Skipped, draw_split
from elboroom.data.images import SUFFIXES
from elboroom.errors import UsageError, shortened

_LARGEST_LABEL = float(1 << 53)  # beyond this, float64 skips whole numbers


def is_haskell_directory(path: Path) -> bool:
    """Whether a folder holds files named ``<number>.txt`` and no images; beside images they are captions."""
    files = list(path.iterdir()) if path.is_dir() else []
    return any(map(_is_numbered, files)) and not any(f.suffix.lower() in SUFFIXES for f in files)


def _is_numbered(file: Path) -> bool:
    return file.suffix == ".txt" and file.stem.isascii() and file.stem.isdigit()


def load_haskell_directory(path: Path, strict: bool = False) -> Dataset:
    """Load ``<i>.txt`` files of one line ``label,p0,p1,…`` each, in the order of ``i``.

    Pixels are whole numbers 0..255, perhaps written ``12.0``. A square count of them is read as a grey
    image ``(s, s, 1)``, another as a row. The scale is 256 because that is what the program divides by.

    Parameters
    ----------
    path : pathlib.Path
        The directory.
    strict : bool
        Whether a file that cannot be read is an error; if not, it is left out and listed in ``skipped``.

    Raises
    ------
    UsageError
        If no file can be read, or under `strict` if any cannot.
    """
    files = sorted((f for f in path.iterdir() if _is_numbered(f)), key=lambda f: (int(f.stem), f.name))
    rows: list[Array] = []
    names: list[str] = []
    labels: list[int] = []
    skipped: list[Skipped] = []
    for file in files:
        try:
            label, pixels = _parse(file, len(rows[0]) if rows else None)
        except (OSError, ValueError) as error:
            if strict:
                raise UsageError(f"{file}: {error}; correct or remove it") from error
            skipped.append(Skipped(str(file), str(error)))
            continue
        rows.append(pixels)
        labels.append(label)
        names.append(file.name)
    if not rows:
        why = f"; the first, {files[0].name}, {skipped[0].reason}" if skipped else ""
        raise UsageError(f"{path}: none of {len(files)} <number>.txt files can be read{why}")
    x = np.stack(rows)
    side = math.isqrt(x.shape[1])
    if side * side == x.shape[1]:
        x = x.reshape(len(x), side, side, 1)
    return Dataset(
        path.resolve().name,
        x,
        draw_split(len(x)),
        np.array(labels, dtype=np.int64),
        scale=256.0,
        skipped=tuple(skipped),
        names=tuple(names),
    )


def example(folder: Path) -> Path:
    """Write a few numbered text files into a folder."""
    path = folder / "numbered"
    path.mkdir()
    for number in range(4):
        (path / f"{number}.txt").write_text(f"{number},0,255.0,{number},7\n", encoding="utf-8")
    return path


def _parse(file: Path, count: int | None) -> tuple[int, Array]:
    """Return the label and the uint8 pixels ``(count,)`` of one file; ValueError says what is wrong."""
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if not text:
        raise ValueError("is empty")
    lines = text.splitlines()
    if len(lines) > 1:
        raise ValueError(f"has {len(lines)} lines where one line label,p0,p1,… is wanted")
    cells = lines[0].rstrip(",").split(",")
    if len(cells) < 2:
        raise ValueError("has no pixels after the label")
    if count is not None and len(cells) != count + 1:
        raise ValueError(f"has {len(cells) - 1} pixels where the files before it have {count}")
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        raise ValueError(
            f"has {shortened(cells[bad])} in column {bad + 1} where a number is wanted"
        ) from None
    if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise ValueError("has a value that is not a whole number")
    if abs(values[0]) > _LARGEST_LABEL:
        raise ValueError(f"has the label {values[0]:g}; it must be a whole number below 2^53")
    pixels = values[1:]
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"has pixels from {pixels.min():g} to {pixels.max():g} where 0 to 255 is wanted")
    return int(values[0]), pixels.astype(np.uint8)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

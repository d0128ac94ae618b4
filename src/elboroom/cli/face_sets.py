"""What ``data faces`` and ``data join`` report: a contact sheet, counts, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from elboroom.cli.console import shown
from elboroom.data import Dataset, Skipped
from elboroom.data.faces.files import REJECTED, commonest
from elboroom.data.faces.prepare import Prepared, load_prepared
from elboroom.figures.grids import ImageGrid, stack
from elboroom.figures.style import to_png
from elboroom.io.files import write_atomic

_SHEET = "contact_sheet.png"
_REASONS = 4  # most reasons for leaving photos out that are listed
_ACROSS, _DOWN = 12, 8  # most faces in a row of the sheet, and most rows in total


def write_contact_sheet(folder: Path, *, keep: bool) -> Path | None:
    """Draw the contact sheet of a set of images in its folder; ``keep`` one that exists.

    Returns
    -------
    pathlib.Path or None
        The sheet; None if the set holds no images.
    """
    data, sheet = load_prepared(folder), folder / _SHEET
    if not data.is_image:
        return None
    if not (keep and sheet.is_file()):
        write_atomic(sheet, contact_sheet(data))
    return sheet


def contact_sheet(data: Dataset) -> bytes:
    """Draw evenly chosen examples of each label as a PNG."""
    labels = np.zeros(len(data), np.int64) if data.labels is None else data.labels
    names = data.label_names or (data.name,)
    rows = max(1, _DOWN // len(names))
    image_grids = []
    for label, name in enumerate(names):
        members = np.flatnonzero(labels == label)
        if not len(members):
            continue
        chosen = members[np.unique(np.linspace(0, len(members) - 1, rows * _ACROSS).astype(np.int64))]
        shown_of = f"{len(chosen)} of {len(members):,}" if len(chosen) < len(members) else f"{len(members):,}"
        image_grids.append(ImageGrid(data.values(chosen), _ACROSS, gap=3, title=f"{name}: {shown_of}"))
    return to_png(stack(*image_grids))


def lines_about(made: Prepared) -> list[str]:
    """Report how many photos were kept and left out, what was unusual, and what to do next."""
    kept = ", ".join(f"{count:,} {name}" for name, count in made.kept.items())
    how = "already there" if made.reused else f"{made.seconds:.1f} s"
    lines = [f"faces    {kept} ({how})"]
    for name, sources in made.sources.items():
        lines.append(f"         {name}: {_where_from(sources, made.by_label[name].template)}")
    lines += _left_out(made.rejected, made.path / REJECTED)
    lines += [f"note     {note}" for note in made.notes]
    lines.append(f"picture  {shown(made.path / _SHEET)}")
    return [*lines, *next_lines(made.path, made.problems)]


def _where_from(sources: Mapping[str, int], template: str) -> str:
    to_dogs = " to the template of a dog" if template == "dog" else ""
    parts = []
    for source, count in sources.items():
        how = _HOW.get(source) or f"aligned by {_WHOM.get(source, source)}{to_dogs}"
        parts.append(f"{count:,} {how}")
    return ", ".join(parts)


_HOW = {
    "utkface": "crops of UTKFace, taken as they are",
    "crop": "cropped to the middle",
    "none": "face crops, taken as they are",
}
_WHOM = {"haar": "the detector haar", "yunet": "the detector yunet", "parts": "their part files"}


def _left_out(rejected: Sequence[Skipped], table: Path) -> list[str]:
    """Count the photos that were left out, with the commonest reasons."""
    if not rejected:
        return []
    reasons, several = commonest(rejected), len(rejected) > 1
    lines = [
        f"left out {len(rejected):,} photo{'s' * several}; {shown(table)} names {'them' if several else 'it'}"
    ]
    for reason, often in reasons[:_REASONS]:
        lines.append(
            f"         1 photo {reason}" if often == 1 else f"         {often:,} photos: each {reason}"
        )
    if len(reasons) > _REASONS:
        lines.append(f"         and {len(reasons) - _REASONS} more reasons")
    return lines


def next_lines(path: Path, problems: Sequence[str]) -> list[str]:
    """Give the next command, or the problems that prevent training."""
    if not problems:
        return [f"next     elboroom train {shown(path)}"]
    return [f"problem  {problem}" for problem in problems]

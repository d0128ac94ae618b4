"""``data faces``: photos in, aligned faces out, and a sheet to see whether they are any good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from elboroom.cli.commands.common import console, shown
from elboroom.data import Dataset, Skipped
from elboroom.data.faces.align import parse_align
from elboroom.data.faces.files import REJECTED, commonest
from elboroom.data.faces.prepare import Prepared, load_prepared, prepare_faces
from elboroom.data.join import join_data
from elboroom.errors import UsageError
from elboroom.figures.grids import ImageGrid, stack
from elboroom.figures.style import to_png
from elboroom.io.files import write_atomic

_SHEET = "contact_sheet.png"
_REASONS = 4  # for leaving photos out, that are said
_ACROSS, _DOWN = 12, 8  # most faces in a row of the sheet, and most rows of all labels together


def faces(
    folders: Sequence[Path],
    out: Path,
    size: tuple[int, ...] = (64,),
    *,
    rgb: bool = False,
    align: Sequence[str] = (),
    landmarks: Path | None = None,
    detector: str = "auto",
    template: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> None:
    """Prepare photos, draw the contact sheet, and tell what came of it.

    Raises
    ------
    UsageError
        As `elboroom.data.faces.prepare.prepare_faces`.
    """
    if len(size) not in (1, 2):
        raise UsageError(f"--size {' '.join(map(str, size))}: give a side, or height and width")
    say = console()
    bar = Progress(
        TextColumn("photos"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=say,
        disable=not say.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("photos", total=None)
        made = prepare_faces(
            folders,
            out,
            size=size[0] if len(size) == 1 else (size[0], size[1]),
            channels=3 if rgb else 1,
            align=parse_align(align, [Path(folder).expanduser().resolve().name for folder in folders]),
            detector=detector,
            landmarks=landmarks,
            template=template,
            workers=workers,
            strict=strict,
            overwrite=overwrite,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if not made.reused or not (made.path / _SHEET).is_file():
        write_atomic(made.path / _SHEET, contact_sheet(load_prepared(made.path)))
    for line in _told(made):
        say.print(line, markup=False)


def join(sources: Sequence[str], out: Path, *, overwrite: bool = False) -> None:
    """Join data sets, draw the contact sheet of images, and tell what came of it.

    Raises
    ------
    UsageError
        As `elboroom.data.join.join_data`.
    """
    made = join_data(sources, out, overwrite=overwrite)
    say = console()
    kept = ", ".join(f"{count:,} {name}" for name, count in made.kept.items())
    lines = [f"joined   {kept}: {'×'.join(map(str, made.shape))}{' (already there)' if made.reused else ''}"]
    if made.duplicates:
        table = shown(made.path / REJECTED)
        lines.append(f"left out {made.duplicates:,} that an earlier set holds as well; see {table}")
    data = load_prepared(made.path)
    if data.is_image:
        if not made.reused or not (made.path / _SHEET).is_file():
            write_atomic(made.path / _SHEET, contact_sheet(data))
        lines.append(f"picture  {shown(made.path / _SHEET)}")
    for line in [*lines, *next_lines(made.path, made.problems)]:
        say.print(line, markup=False)


def contact_sheet(data: Dataset) -> bytes:
    """Draw some faces of each label, evenly chosen, as a PNG."""
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


def _told(made: Prepared) -> list[str]:
    """Say in lines what became of the photos, what is odd about it, and what comes next."""
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
    """Say how many photos were left out, and the commonest reasons."""
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
    """Say what comes next: training, or what keeps one from it."""
    if not problems:
        return [f"next     elboroom train {shown(path)}"]
    return [f"problem  {problem}" for problem in problems]

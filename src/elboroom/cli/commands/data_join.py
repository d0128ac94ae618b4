"""``elboroom data join``: one data set out of several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import Positional, Verb
from elboroom.config.options import Option
from elboroom.errors import counted


@dataclass(frozen=True, kw_only=True)
class DataJoin(Verb):
    """Join data sets that were made separately: labels are matched by name and splits are kept."""

    sources: Annotated[
        Positional[tuple[str, ...]],
        Option(
            metavar="DATA DATA [DATA ...]",
            help="Sets to join, each of them a named data set, {FORMATS}. Labels are matched by name; a set "
            "without labels gets its own name as label.",
        ),
    ]
    out: Annotated[Path, Option(help="Folder for the joined set, to train on.")]
    overwrite: Annotated[bool, Option(help="Replace an existing set in --out.")] = False

    def __call__(self) -> None:
        """Join them, draw the contact sheet of images and report the counts."""
        from elboroom.cli.console import console, shown
        from elboroom.cli.face_sets import next_lines, write_contact_sheet
        from elboroom.data.faces.files import REJECTED
        from elboroom.data.join import join_data

        made = join_data(self.sources, self.out, overwrite=self.overwrite)
        kept = ", ".join(f"{count:,} {name}" for name, count in made.kept.items())
        shape = "×".join(map(str, made.shape))
        lines = [f"joined   {kept}: {shape}{' (already there)' if made.reused else ''}"]
        if made.duplicates:
            table = shown(made.path / REJECTED)
            lines.append(f"left out {counted(made.duplicates, 'duplicate')} of an earlier set; see {table}")
        sheet = write_contact_sheet(made.path, keep=made.reused)
        if sheet is not None:
            lines.append(f"picture  {shown(sheet)}")
        say = console()
        for line in [*lines, *next_lines(made.path, made.problems)]:
            say.print(line)

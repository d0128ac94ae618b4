"""``elboroom data annotate``: a page on this computer for marking eyes, nose and mouth in photos."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from elboroom.cli.options import Positional, Verb
from elboroom.config.options import Option

if TYPE_CHECKING:
    from elboroom.annotation.marks import Counts


@dataclass(frozen=True, kw_only=True)
class DataAnnotate(Verb):
    """Mark eyes, nose and mouth in photos by clicks, for 'data faces'.

    Serves a page on 127.0.0.1 until Ctrl-C is pressed. After every photo the marks are saved in
    landmarks.csv in the folder, which 'data faces' reads; starting again goes on with the photos that are
    not marked.
    """

    folder: Annotated[Positional[Path], Option(metavar="FOLDER", help="Folder of photos.")]
    template: Annotated[
        Literal["auto", "person", "dog"],
        Option(
            help="Face to align to, for the preview, as in 'data faces'. dog needs no mouth: three clicks a "
            "photo instead of four."
        ),
    ] = "auto"
    open: Annotated[bool, Option(help="Open the page in the browser.")] = False
    port: Annotated[int, Field(ge=0, lt=65536), Option(help="Port to serve at; 0 takes a free one.")] = 0

    def __call__(self) -> None:
        """Serve the page until Ctrl-C, and say how many photos are marked.

        Raises
        ------
        UsageError
            If the folder has no photos, or its landmarks file cannot be used.
        FailureError
            If the folder cannot be written, or the port is taken.
        """
        from elboroom.annotation import Marks, routes
        from elboroom.cli.console import console, print_result, shown
        from elboroom.serving import Server, run

        marks = Marks(self.folder.expanduser(), self.template)
        server = Server(routes(marks), port=self.port)
        say = console()
        say.print(f"{marks.counts.photos:,} photos in {shown(marks.folder)}: {_done(marks.counts)}")
        if marks.takes_over is not None:
            say.print(
                f"note: {shown(marks.takes_over)} is copied to {marks.file.name}, which is read instead"
            )
        run(server, lambda line: print(line, flush=True), open_browser=self.open)
        print_result(f"{_done(marks.counts)}; {shown(marks.file)}")
        if marks.counts.marked:
            folder = shlex.quote(shown(marks.folder))
            say.print(f"next: elboroom data faces {folder} --align landmarks --out faces")


def _done(counts: Counts) -> str:
    return f"{counts.marked:,} marked, {counts.skipped:,} skipped, {counts.todo:,} to do"

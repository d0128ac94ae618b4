"""``elboroom data faces``: photos to aligned faces, and a contact sheet to judge them by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from elboroom.cli.options import Positional, Verb
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from elboroom.data.faces.prepare import Prepared


@dataclass(frozen=True, kw_only=True)
class DataFaces(Verb):
    """Turn photos into aligned, cropped faces, and draw a contact sheet of them."""

    folders: Annotated[
        Positional[tuple[Path, ...]],
        Option(
            metavar="FOLDER [FOLDER ...]",
            help="Folders of photos, one per class; a folder's name is the label.",
        ),
    ]
    out: Annotated[Path, Option(help="Folder for the faces, to train on.")]
    size: Annotated[tuple[int, ...], Option(help="Side in pixels, or height and width.")] = (64,)
    rgb: Annotated[bool, Option(help="Write colour images instead of greyscale.")] = False
    align: Annotated[
        tuple[str, ...],
        Option(
            metavar="FOLDER=METHOD ...",
            help="How the photos of each folder are aligned, such as people=detect dogs=crop; a single word "
            "applies to all. detect: with a face detector. landmarks: with a file of landmarks. crop: take "
            "the middle of each photo. none: they are face crops already. auto: with landmarks if there are "
            "any, else with the detector, else crop.",
        ),
    ] = ()
    landmarks: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Positions of eyes, nose and mouth: a .csv with the columns file, left_eye_x, left_eye_y, "
            "right_eye_x, right_eye_y and optionally nose_x, nose_y, mouth_x, mouth_y, or a .json "
            '{"a.jpg": {"left_eye": [x, y], ...}}. Default: landmarks.csv or landmarks.json in each '
            "folder. See docs/faces.md.",
        ),
    ] = None
    detector: Annotated[
        str, Option(help="Face detector: auto, haar, yunet, none, or a YuNet .onnx file.")
    ] = "auto"
    template: Annotated[
        Literal["auto", "person", "dog"],
        Option(
            help="Face to align to, which sets the positions of eyes, nose and mouth; auto chooses by the "
            "landmarks."
        ),
    ] = "auto"
    workers: Annotated[
        int | None,
        Option(metavar="INT", help="Number of photos processed in parallel. Default: one per core."),
    ] = None
    strict: Annotated[bool, Option(help="Stop at an unusable photo instead of listing it.")] = False
    overwrite: Annotated[bool, Option(help="Replace an existing set of faces in --out.")] = False

    def __call__(self) -> None:
        """Prepare the photos, draw the contact sheet and report the counts.

        Raises
        ------
        UsageError
            As `elboroom.data.faces.prepare.prepare_faces`.
        """
        if len(self.size) not in (1, 2):
            raise UsageError(f"--size {' '.join(map(str, self.size))}: give one side, or height and width")
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from elboroom.cli.console import console
        from elboroom.cli.face_sets import lines_about, write_contact_sheet

        say = console()
        columns = TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=say, disable=not say.is_terminal, transient=True) as bar:
            made = self._prepare(bar)
        write_contact_sheet(made.path, keep=made.reused)
        for line in lines_about(made):
            say.print(line)

    def _prepare(self, bar: Progress) -> Prepared:
        from elboroom.data.faces.align import parse_align
        from elboroom.data.faces.prepare import prepare_faces

        task = bar.add_task("photos", total=None)
        names = [folder.expanduser().resolve().name for folder in self.folders]
        return prepare_faces(
            self.folders,
            self.out,
            size=self.size[0] if len(self.size) == 1 else (self.size[0], self.size[1]),
            channels=3 if self.rgb else 1,
            align=parse_align(self.align, names),
            detector=self.detector,
            landmarks=self.landmarks,
            template=self.template,
            workers=self.workers,
            strict=self.strict,
            overwrite=self.overwrite,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )

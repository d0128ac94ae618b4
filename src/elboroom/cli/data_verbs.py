"""What the verbs of ``elboroom data`` take; the work is done in ``commands``, imported when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from elboroom.cli.options import Positional, arg


def data_list() -> None:
    """List the named data sets."""
    from elboroom.cli.commands import data

    data.list_sets()


def data_show(
    source: Annotated[Positional[str], arg(metavar="DATA", help="A named set, file or folder.")],
    strict: Annotated[bool, arg(help="Stop at a damaged file instead of skipping it.")] = False,
) -> None:
    """Tell what a data set holds: sizes, split, labels, values, skipped files."""
    from elboroom.cli.commands import data

    data.show(source, strict)


def data_faces(
    folders: Annotated[
        Positional[tuple[Path, ...]],
        arg(metavar="FOLDER [FOLDER ...]", help="Photos, a folder for each kind; its name is the label."),
    ],
    out: Annotated[Path, arg(help="Folder to write, which 'elboroom train' takes.")],
    size: Annotated[tuple[int, ...], arg(help="Side in pixels, or height and width.")] = (64,),
    rgb: Annotated[bool, arg(help="Colour instead of grey.")] = False,
    align: Annotated[
        tuple[str, ...],
        arg(
            metavar="KIND=WAY [KIND=WAY ...]",
            help="How the photos of a folder become examples, as people=detect dogs=crop; one word is for "
            "all. detect: by a face detector; landmarks: by a file; crop: the middle of each photo; none: "
            "they are face crops already; auto: by landmarks, else by the detector, else crop.",
        ),
    ] = (),
    landmarks: Annotated[
        Path | None,
        arg(
            metavar="FILE",
            help="Where eyes, nose and mouth are: a .csv with the columns file, left_eye_x, left_eye_y, "
            "right_eye_x, right_eye_y and perhaps nose_x, nose_y, mouth_x, mouth_y, or a .json "
            '{"a.jpg": {"left_eye": [x, y], ...}}. By default landmarks.csv or landmarks.json in each '
            "folder. See docs/faces.md.",
        ),
    ] = None,
    detector: Annotated[str, arg(help="auto, haar, yunet, none, or a YuNet .onnx file.")] = "auto",
    template: Annotated[
        Literal["auto", "person", "dog"],
        arg(help="Where eyes and nose come to lie; auto goes by the landmarks."),
    ] = "auto",
    workers: Annotated[
        int | None, arg(metavar="INT", help="Photos at a time; one per core if not given.")
    ] = None,
    strict: Annotated[bool, arg(help="Stop at an unusable photo instead of listing it.")] = False,
    overwrite: Annotated[bool, arg(help="Replace another set of faces that is in --out.")] = False,
) -> None:
    """Find, align and crop the faces of photos, with a contact sheet to look at."""
    from elboroom.cli.commands.faces import faces

    faces(
        folders,
        out,
        size,
        rgb=rgb,
        align=align,
        landmarks=landmarks,
        detector=detector,
        template=template,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
    )


def data_join(
    sources: Annotated[
        Positional[tuple[str, ...]],
        arg(
            metavar="DATA DATA [DATA ...]",
            help="Sets to join: folders of faces or images, .npy, .npz or .csv files. Labels are united by "
            "name; a set without labels gets its own name as label.",
        ),
    ],
    out: Annotated[Path, arg(help="Folder to write, which 'elboroom train' takes.")],
    overwrite: Annotated[bool, arg(help="Replace another set that is in --out.")] = False,
) -> None:
    """Join data sets that were made apart: labels united by name, splits kept."""
    from elboroom.cli.commands.faces import join

    join(sources, out, overwrite=overwrite)


def data_import_haskell(
    base: Annotated[Positional[Path], arg(metavar="BASE", help="What stands before _front_nn_info.txt.")],
    out: Annotated[Path, arg(help="Folder of the run to write.")],
    shape: Annotated[
        tuple[int, ...] | None, arg(help="Of one example, such as 28 28 1; a square if not given.")
    ] = None,
    overwrite: Annotated[bool, arg(help="Replace a run that is in --out.")] = False,
) -> None:
    """Bring weights saved by the Haskell program into a run."""
    from elboroom.cli.commands import data

    data.import_haskell(base, out, shape, overwrite)

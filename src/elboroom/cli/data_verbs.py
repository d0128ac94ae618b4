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
    source: Annotated[Positional[str], arg(metavar="DATA", help="A named data set, {FORMATS}.")],
    strict: Annotated[bool, arg(help="Stop at a damaged file instead of skipping it.")] = False,
) -> None:
    """Describe a data set: shapes, split, labels, values and skipped files."""
    from elboroom.cli.commands import data

    data.show(source, strict)


def data_faces(
    folders: Annotated[
        Positional[tuple[Path, ...]],
        arg(
            metavar="FOLDER [FOLDER ...]",
            help="Folders of photos, one per class; the folder's name is the label.",
        ),
    ],
    out: Annotated[Path, arg(help="Folder for the faces, which 'elboroom train' then takes.")],
    size: Annotated[tuple[int, ...], arg(help="Side in pixels, or height and width.")] = (64,),
    rgb: Annotated[bool, arg(help="Write colour images instead of greyscale.")] = False,
    align: Annotated[
        tuple[str, ...],
        arg(
            metavar="FOLDER=METHOD [FOLDER=METHOD ...]",
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
        arg(help="Where eyes, nose and mouth are placed; auto chooses by the landmarks."),
    ] = "auto",
    workers: Annotated[
        int | None, arg(metavar="INT", help="Photos processed in parallel. Default: one per core.")
    ] = None,
    strict: Annotated[bool, arg(help="Stop at an unusable photo instead of listing it.")] = False,
    overwrite: Annotated[bool, arg(help="Replace an existing set of faces in --out.")] = False,
) -> None:
    """Turn photos into aligned, cropped faces, and draw a contact sheet of them."""
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
            help="Sets to join, each of them a named data set, {FORMATS}. Labels are united by name; a set "
            "without labels gets its own name as label.",
        ),
    ],
    out: Annotated[Path, arg(help="Folder for the faces, which 'elboroom train' then takes.")],
    overwrite: Annotated[bool, arg(help="Replace another set that is in --out.")] = False,
) -> None:
    """Join data sets that were made apart: labels united by name, splits kept."""
    from elboroom.cli.commands.faces import join

    join(sources, out, overwrite=overwrite)


def data_import_haskell(
    base: Annotated[
        Positional[Path],
        arg(metavar="BASE", help="Path of the saved weights up to, and without, _front_nn_info.txt."),
    ],
    out: Annotated[Path, arg(help="Folder for the run.")],
    shape: Annotated[
        tuple[int, ...] | None, arg(help="Shape of one example, such as 28 28 1. Default: a square.")
    ] = None,
    overwrite: Annotated[bool, arg(help="Replace an existing run in --out.")] = False,
) -> None:
    """Import weights saved by the Haskell program as a run."""
    from elboroom.cli.commands import data

    data.import_haskell(base, out, shape, overwrite)

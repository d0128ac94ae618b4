"""The formats that data may have, a row each; loading, help, messages and hostile tests follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from elboroom.data import arrays, folder, haskell, shards, table, table_frames
from elboroom.data.columns import as_numbers
from elboroom.data.dataset import Dataset
from elboroom.data.ecosystem import anndata_sets
from elboroom.data.ecosystem.asked import Asked
from elboroom.data.faces import files as faces
from elboroom.data.image_tree import Otherwise
from elboroom.data.table_read import load_table
from elboroom.data.table_set import Reading, labelled_set


@dataclass(frozen=True)
class Options:
    """What the caller of `elboroom.data.load_data` asked for.

    Attributes
    ----------
    size : (int, int), optional
        Height and width of images. A reader may decode at this size; what it returns is resized if need be.
    channels : {1, 3}, optional
        Grey or colour.
    strict : bool
        Whether an input that cannot be read is an error instead of a row of `Dataset.skipped`.
    white : int, optional
        The value that becomes 255 in image files of 16 bits, if it is not to be found out.
    reading : Reading, optional
        How a table is read; None for rows of plain numbers, without kinds of columns.
    encoding : str, optional
        Of text files.
    label_column : str, optional
        Column of labels, of AnnData and data sets of Hugging Face.
    layer : str, optional
        Layer of AnnData instead of X.
    otherwise : Otherwise, optional
        Size of image files, if none is asked for and they do not have a size of their own.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    strict: bool = False
    white: int | None = None
    reading: Reading | None = field(default_factory=Reading)
    encoding: str | None = None
    label_column: str | None = None
    layer: str | None = None
    otherwise: Otherwise | None = None

    @property
    def asked(self) -> Asked:
        """Those that sets of other libraries take."""
        reading = self.reading and replace(self.reading, strict=self.strict)
        return Asked(self.size, self.channels, self.strict, self.label_column, self.layer, reading)

    @property
    def of_images(self) -> dict[str, Any]:
        """Those that image files take."""
        size = self.size or self.otherwise
        return {"size": size, "channels": self.channels, "strict": self.strict, "white": self.white}


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    what : str
        What a source in this format is, with its article; for help and messages.
    recognises : callable
        Whether a path is in this format. The first row that recognises it reads it.
    read : callable
        Makes a data set of it; raises `UsageError` with the path where that cannot be done.
    example : callable
        Writes a small source in this format into an empty folder and returns its path. Tests damage it.
    origin : str
        What ``data show`` calls it; empty if the reader's own `Dataset.origin` says more.
    suffixes : tuple of str
        Endings of its files, where it is a single file.
    asks : bool
        Whether it has ``label_column`` and ``layer``.
    """

    what: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Options], Dataset]
    example: Callable[[Path], Path]
    origin: str = ""
    suffixes: tuple[str, ...] = ()
    asks: bool = False


def _ends_in(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes and path.exists() and not path.is_dir()


def _load_table(path: Path, options: Options) -> Dataset:
    if options.reading is None:
        return table.load_csv(path, options.strict, options.encoding)
    return load_table(path, replace(options.reading, strict=options.strict), options.encoding)


def _load_parquet(path: Path, options: Options) -> Dataset:
    reading = replace(options.reading or Reading(), strict=options.strict)
    data = labelled_set(table_frames.read_parquet(path), path.name, reading, where=str(path))
    return data if options.reading is not None else as_numbers(data)


IMAGE_FOLDER = Format(
    "a folder of images",
    Path.is_dir,
    lambda path, options: folder.load_folder(path, **options.of_images),
    folder.example,
)

FORMATS: tuple[Format, ...] = (
    Format(
        "a .npy array",
        _ends_in(".npy"),
        lambda path, _: arrays.load_npy(path),
        arrays.example_npy,
        "a .npy file",
        (".npy",),
    ),
    Format(
        "an .npz archive",
        _ends_in(".npz"),
        lambda path, _: arrays.load_npz(path),
        arrays.example_npz,
        "an .npz file",
        (".npz",),
    ),
    Format(
        "a .csv or .tsv table",
        _ends_in(*table.SUFFIXES),
        _load_table,
        table.example,
        "a table",
        table.SUFFIXES,
    ),
    Format(
        "a .parquet table",
        _ends_in(".parquet"),
        _load_parquet,
        table_frames.example,
        "a table",
        (".parquet",),
    ),
    Format(
        "an .h5ad file of AnnData",
        _ends_in(".h5ad"),
        lambda path, options: anndata_sets.load_h5ad(path, options.asked),
        anndata_sets.example,
        suffixes=(".h5ad",),
        asks=True,
    ),
    Format(
        "a folder of prepared faces",
        faces.is_prepared,
        lambda path, _: faces.load_prepared(path),
        faces.example,
    ),
    Format(
        "a folder of <number>.txt files",
        haskell.is_haskell_directory,
        lambda path, options: haskell.load_haskell_directory(path, options.strict),
        haskell.example,
        "a folder of numbered text files",
    ),
    Format(
        ".tar or .npy shards",
        shards.is_shards,
        lambda path, options: shards.load_shards(path, **options.of_images),
        shards.example,
    ),
    IMAGE_FOLDER,
)


def recognise(path: Path) -> Format | None:
    """The format of a path; None if it has none."""
    return next((row for row in FORMATS if row.recognises(path)), None)


def listed(formats: Sequence[Format] = FORMATS) -> str:
    """Name the formats in a sentence.

    Examples
    --------
    >>> listed(FORMATS[:3])
    'a .npy array, an .npz archive or a .csv or .tsv table'
    """
    *others, last = (row.what for row in formats)
    return f"{', '.join(others)} or {last}"


def file_suffixes() -> tuple[str, ...]:
    """Endings of all files that are data sets by themselves."""
    return tuple(suffix for row in FORMATS for suffix in row.suffixes)

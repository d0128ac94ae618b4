"""Data sets of the Hugging Face hub by name: Parquet files of a commit, without the library datasets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from elboroom.data.cache import cache_dir, cached
from elboroom.data.dataset import Dataset, refuse_skipped
from elboroom.data.ecosystem.arrow_columns import features_of, layout_of
from elboroom.data.ecosystem.arrow_sets import BATCH, SPLITS, Part, from_parts
from elboroom.data.ecosystem.asked import Asked
from elboroom.errors import UsageError
from elboroom.hub.datasets import PREFIX, parquet_files, read_name

ORIGIN = "the Hugging Face hub"


def is_hub_name(source: object) -> bool:
    """Whether a source names a data set on the hub."""
    return isinstance(source, str) and source.startswith("hf://")


def load_hub_set(name: str, asked: Asked) -> Dataset:
    """Load ``hf://datasets/user/name@COMMIT/folder``: images, arrays or a table, with their splits.

    Files are downloaded once. Decoded images are cached on the disk and memory-mapped.

    Raises
    ------
    UsageError
        If there is no such data set, it names no commit or has no Parquet files, or nothing can be used.
    FailureError
        If the hub does not answer, and the cache does not have it.
    """
    if not name.startswith(PREFIX):
        raise UsageError(f"{name}: a data set on the hub is named {PREFIX}user/name@COMMIT")
    data = read_name(name)
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError(f"{name}: Parquet files need pyarrow; pip install 'elboroom[hub,tables]'") from None
    found = parquet_files(data, cache_dir() / "hub")
    files = [(_split_of(path), _opened(parquet, local, f"{data}: {path}")) for path, local in found]
    features = features_of(files[0][1].schema_arrow)
    if any(set(file.schema_arrow.names) != set(features) for _, file in files):
        raise UsageError(f"{data}: the files have different columns; add a folder that has one kind of them")
    parts = [Part(split, file.metadata.num_rows, partial(_tables, file, str(data))) for split, file in files]
    title = data.place.repo.rpartition("/")[2]
    make = partial(from_parts, parts, features, asked, title, ORIGIN)
    if layout_of(features, asked, title).kind != "image":
        return make()
    words = f"{data} {asked.size} {asked.channels} {asked.label_column} {asked.layer}"
    made = cached(
        f"hf-{hashlib.sha256(words.encode()).hexdigest()[:32]}", lambda scratch: make(scratch=scratch)
    )
    if asked.strict:
        refuse_skipped(made)
    return made


def _split_of(path: str) -> str:
    """The split that a file's name says: ``data/train-00000-of-00001.parquet``; "" if it says none."""
    for word in re.split(r"[^a-z]+", PurePosixPath(path).stem.lower()):
        if word in SPLITS:
            return word
    return ""


def _opened(parquet: Any, path: Path, what: str) -> Any:
    try:
        return parquet.ParquetFile(path)
    except Exception as error:  # Arrow's own errors and those of the system
        raise UsageError(f"{what} is not a Parquet file or is damaged ({error})") from None


def _tables(file: Any, name: str, columns: list[str]) -> Iterator[Any]:
    import pyarrow

    try:
        for batch in file.iter_batches(BATCH, columns=columns):
            yield pyarrow.Table.from_batches([batch])
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{name} is damaged ({error})") from None

"""WebDataset tar shards: read as they are, decoded once into one array on the disk.

Which members make a sample and what they hold is in `elboroom.data.samples`.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from elboroom.data import images
from elboroom.data.cache import cached, forget_others
from elboroom.data.dataset import Array, Dataset, Skipped, draw_split, refuse_skipped
from elboroom.data.folder import DECODING, THREADS, choose_shape, made_by_decoding, size_notes
from elboroom.data.image_tree import cached_as, digest
from elboroom.data.samples import Sample, read_header, read_pixels, samples
from elboroom.data.written import WrittenRows
from elboroom.errors import UsageError

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BATCH = 256  # images in memory at a time,
_BATCH_BYTES = 64 << 20  # and fewer if they are large
_Out = TypeVar("_Out")


def load_tars(
    shards: list[Path],
    splits: list[int] | None,
    name: str,
    *,
    where: str,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    strict: bool = False,
    white: int | None = None,
) -> Dataset:
    """Load tar shards of images as uint8 ``(n, h, w, c)``, in the order of their members.

    Images (``.jpg``, ``.png``, ``.webp``, …) are decoded, cropped and resized as those of a folder are; a
    ``.npy`` member holds a uint8 image. A label is what ``.cls`` says, or the field ``label`` of ``.json``.
    The result is cached by the names, sizes and times of the shards, on the disk and memory-mapped. The
    shards are read twice to make it, and no more than a few hundred images are in memory at a time.

    Parameters
    ----------
    shards : list of pathlib.Path
        Uncompressed tar files.
    splits : list of int, optional
        The split of each; drawn if missing.
    name : str
        What the data set is called.
    where : str
        What names these shards: another set of shards of the same name takes its place in the cache.
    size, channels, strict, white
        As in `elboroom.data.folder.load_folder`.

    Raises
    ------
    UsageError
        If a shard is compressed or no tar file, no image can be used, or under `strict` any cannot.
    FailureError
        If the disk is full.
    """
    for shard in shards:
        _check_plain(shard)
    prefix = "shards-named-" + digest(cached_as(where, size, channels, white)) + "-"
    stats = [(shard, shard.stat()) for shard in shards]
    key = prefix + digest(
        [DECODING, *(f"{shard.absolute()}\0{s.st_size}\0{s.st_mtime_ns}" for shard, s in stats)]
    )
    data = cached(key, lambda scratch: _build(shards, splits, name, size, channels, white, scratch))
    forget_others(prefix, keep=key)
    if strict:
        refuse_skipped(data)
    return data


def _check_plain(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    packed = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if packed is not None:
        raise UsageError(
            f"{path}: is compressed with {packed}, and shards are read by offset; "
            "unpack it to a plain .tar first"
        )
    if start == bytes(512):
        return  # an archive of nothing
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise UsageError(f"{path}: is not a tar file ({error}); make or copy it again") from None


def _build(
    shards: list[Path],
    splits: list[int] | None,
    name: str,
    size: tuple[int, int] | None,
    channels: int | None,
    white: int | None,
    scratch: Path | None,
) -> Dataset:
    """Read headers to settle shape and count, then decode sample after sample into one array."""
    seen = _looked_at(shards, name)
    white = seen.white if white is None else white
    shape = choose_shape(list(seen.headers), size, channels)
    rows = WrittenRows(scratch, (seen.count, *shape), name)
    batch = max(THREADS, min(_BATCH, _BATCH_BYTES // rows.row_bytes))
    words: dict[str, int] = {}
    numbers, origins = np.zeros(seen.count, np.int64), np.zeros(seen.count, np.int64)
    skipped: list[Skipped] = []
    members: list[str] = []
    for sample, pixels in _in_threads(lambda s: read_pixels(s, shape, white), samples(shards), batch):
        if isinstance(pixels, str):
            skipped.append(sample.skipped(pixels))
        elif seen.labelled and sample.label is None:
            skipped.append(sample.skipped("has no label, and others have"))
        else:
            numbers[rows.count] = words.setdefault(sample.label or "", len(words))
            origins[rows.count] = sample.shard
            rows.append(pixels)
            members.append(f"{sample.path.name}:{sample.member}")
    if not rows.count:
        raise _nothing_usable(name, skipped)
    labels, names = _encode(numbers[: rows.count], list(words)) if seen.labelled else (None, ())
    return Dataset(
        name,
        rows.finish(),
        draw_split(rows.count) if splits is None else np.array(splits, np.uint8)[origins[: rows.count]],
        labels,
        names,
        scale=255.0,
        published_split=splits is not None,
        skipped=tuple(skipped),
        names=tuple(members),
        origin=f"{len(shards):,} tar shard{'s' if len(shards) > 1 else ''}",
        preparation=made_by_decoding(seen.headers, shape, white),
        notes=tuple(size_notes(seen.headers, shape)),
    )


@dataclass(frozen=True)
class _Seen:
    """What the first pass over all images finds: their headers, count, white, and whether any has a label."""

    headers: set[images.Header]
    count: int
    white: int
    labelled: bool


def _looked_at(shards: list[Path], name: str) -> _Seen:
    headers: set[images.Header] = set()
    skipped: list[Skipped] = []
    peaks: set[int] = set()
    count, labelled = 0, False
    for sample, found in _in_threads(read_header, samples(shards), _BATCH):
        if isinstance(found, str):
            skipped.append(sample.skipped(found))
            continue
        header, peak = found
        headers.add(header)
        if peak is not None:
            peaks.add(peak)
        count += 1
        labelled = labelled or sample.label is not None
    if not count:
        raise _nothing_usable(name, skipped)
    return _Seen(headers, count, images.white_of(peaks), labelled)


def _nothing_usable(name: str, skipped: list[Skipped]) -> UsageError:
    why = f"; the first, {skipped[0].path}: {skipped[0].reason}" if skipped else ""
    return UsageError(f"{name}: no image in the tar shards can be used ({len(skipped)} skipped{why})")


def _in_threads(
    read: Callable[[Sample], _Out], found: Iterator[Sample], batch: int
) -> Iterator[tuple[Sample, _Out | str]]:
    """Yield each sample with what was read of it, or the reason why it could not be."""
    with ThreadPoolExecutor(THREADS) as pool:  # Pillow decodes outside the interpreter's lock
        while some := list(islice(found, batch)):
            yield from zip(some, pool.map(lambda sample: _attempted(read, sample), some), strict=True)


def _attempted(read: Callable[[Sample], _Out], sample: Sample) -> _Out | str:
    try:
        return read(sample)
    except ValueError as error:
        return str(error)


def _encode(numbers: Array, words: list[str]) -> tuple[Array, tuple[str, ...]]:
    """Labels as whole numbers if all are; else numbers of the words in sorted order, and the words."""
    if all(re.fullmatch(r"-?[0-9]{1,18}", word) for word in words):
        return np.array([int(word) for word in words], np.int64)[numbers], ()
    names = sorted(words)
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[word] for word in words], np.int64)[numbers], tuple(names)

"""The samples of WebDataset tar shards: which members belong together, where they lie, what they hold.

A sample is a run of members whose paths agree up to the first dot of the file name, as ``0001.jpg`` and
``0001.cls`` do. Nothing is extracted; images are read by their offsets.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from elboroom.data import images
from elboroom.data.dataset import Array, Skipped
from elboroom.data.image_files import Room
from elboroom.data.images import Header
from elboroom.data.members import HEADERS

_KINDS = frozenset({suffix[1:] for suffix in images.SUFFIXES} | {"npy"})
_LARGEST_IMAGE = 256 << 20
_LARGEST_LABEL = 1 << 20
_HELD = Room(_LARGEST_IMAGE)
_BLOCK = 512


@dataclass(frozen=True)
class Sample:
    """An image by its place in its shard, and its label; or the reason why there is none.

    Attributes
    ----------
    shard : int
        Number of the shard.
    path : pathlib.Path
        Its file.
    member : str
        The image's name inside.
    offset, size : int
        Of its bytes.
    label : str, optional
        As it is written.
    reason : str
        Why the sample cannot be used; empty if it can.
    """

    shard: int
    path: Path
    member: str
    offset: int = 0
    size: int = 0
    label: str | None = None
    reason: str = ""

    def skipped(self, reason: str) -> Skipped:
        """Say that it was left out, and why."""
        return Skipped(f"{self.path}:{self.member}" if self.member else str(self.path), reason)


def samples(shards: list[Path]) -> Iterator[Sample]:
    """Go through the members of shards in their order, holding those of one sample at a time.

    Hidden members and those without a suffix are passed over. What cannot be used, or is missing at the end
    of a damaged shard, comes as a sample with a reason.
    """
    for number, path in enumerate(shards):
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            size = path.stat().st_size
            for _, group in groupby(_members(tar), _key):
                found = list(group)
                if isinstance(found[0], str):
                    yield Sample(number, path, "", reason=found[0])
                else:
                    yield _sample(number, path, tar, cast(list[tarfile.TarInfo], found), size)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo | str]:
    """Yield members that are files with a suffix, and at last what is wrong with the archive, if anything."""
    last = "its start"
    try:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            if not info.isdir() and _key(info):
                yield info
            last = info.name
        # A damaged header ends the list as the end mark of zeros does.
        end = tar.offset
        assert tar.fileobj is not None
        tar.fileobj.seek(end)
        if tar.fileobj.read(_BLOCK).strip(b"\0"):
            yield f"is damaged after {last}, so what follows is missing; copy it again"
    except Exception as error:  # damaged headers are met with nearly any of them
        yield f"is cut short or damaged after {last} ({error}); copy it again"


def _key(member: tarfile.TarInfo | str) -> str:
    """What the members of a sample share; empty of hidden ones and those without a suffix."""
    if isinstance(member, str):
        return ""
    folder, _, file = member.name.rpartition("/")
    stem, dot, _ = file.partition(".")
    return f"{folder}/{stem}" if stem and dot else ""


def _sample(number: int, path: Path, tar: tarfile.TarFile, group: list[tarfile.TarInfo], size: int) -> Sample:
    fields = {info.name.rpartition("/")[2].partition(".")[2].lower(): info for info in group}
    found = [kind for kind in fields if kind in _KINDS] or [
        kind for kind in fields if kind.rpartition(".")[2] in _KINDS
    ]
    if len(found) != 1:
        held = f"contains {len(found)} images ({', '.join(found)})" if found else "contains no image"
        return Sample(number, path, group[0].name, reason=f"{held}; each sample must have exactly one")
    info = fields[found[0]]
    try:
        _check_plain(info, size, _LARGEST_IMAGE)
        label = _label(tar, fields, size)
    except ValueError as error:
        return Sample(number, path, info.name, reason=str(error))
    return Sample(number, path, info.name, info.offset_data, info.size, label)


def _check_plain(info: tarfile.TarInfo, archive: int, largest: int) -> None:
    if not info.isreg() or info.issparse():
        raise ValueError("is a link or has holes; only whole files are read")
    if info.offset_data + info.size > archive:
        raise ValueError("is cut short")
    if info.size > largest:
        raise ValueError(f"has {info.size:,} bytes; at most {largest:,} are read")


def _label(tar: tarfile.TarFile, fields: dict[str, tarfile.TarInfo], size: int) -> str | None:
    """What ``.cls`` or the field of ``.json`` says; ValueError if that is nothing that can be a label."""
    kind = next((kind for kind in ("cls", "json") if kind in fields), None)
    if kind is None:
        return None
    _check_plain(fields[kind], size, _LARGEST_LABEL)
    held = tar.extractfile(fields[kind])
    assert held is not None
    try:
        text = held.read().decode("utf-8-sig").strip()
        value = text if kind == "cls" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its .{kind} is damaged ({error})") from None
    if isinstance(value, dict):
        value = value.get("label")
    if value is None or (kind == "json" and not isinstance(value, str | int | float | list)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | float) or value == "":
        raise ValueError(f"its label in .{kind} is {str(value)[:40]!r}; it must be a whole number or a word")
    return str(value)


@contextmanager
def _contents(sample: Sample) -> Iterator[bytes]:
    """Hold the bytes of an image; threads that would hold too many in all wait."""
    if sample.reason:
        raise ValueError(sample.reason)
    with _HELD.take(sample.size):
        with sample.path.open("rb") as file:
            file.seek(sample.offset)
            contents = file.read(sample.size)
        yield contents


class _InMemory(io.BytesIO):
    """Bytes with the ``stat`` method that `elboroom.data.images` needs."""

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=len(self.getbuffer()))


def as_file(contents: bytes) -> Path:
    """Bytes in memory as a file that `elboroom.data.images` reads."""
    return cast(Path, _InMemory(contents))


def read_header(sample: Sample) -> tuple[Header, int | None]:
    """Read the size and kind of a sample's image, and the highest value of one of 16 bits.

    Raises
    ------
    ValueError
        If it cannot be used; the text says why.
    """
    with _contents(sample) as contents:
        if sample.member.lower().endswith(".npy"):
            height, width, channels = _read_npy(contents).shape
            return Header(height, width, grey=channels == 1), None
        header = images.read_header(as_file(contents))
        return header, images.peak(as_file(contents)) if header.deep else None


def read_pixels(sample: Sample, shape: tuple[int, int, int], white: int) -> Array:
    """Decode a sample's image to uint8 ``shape = (h, w, c)``, cropped to its centre and resized if need be.

    Of an image of 16 bits, `white` and higher values become 255.

    Raises
    ------
    ValueError
        If it cannot be used; the text says why.
    """
    with _contents(sample) as contents:
        if sample.member.lower().endswith(".npy"):
            return images.resize_images(_read_npy(contents)[None], shape)[0]
        return images.decode(as_file(contents), shape, white)


def _read_npy(contents: bytes) -> Array:
    """View the uint8 image ``(h, w, c)`` in a ``.npy`` file; what its header claims is checked first."""
    with io.BytesIO(contents) as file:
        try:
            shape, fortran, dtype = HEADERS[np.lib.format.read_magic(file)](file)
        except Exception as error:
            raise ValueError(f"is damaged ({error})") from None
        start = file.tell()
    if dtype != np.uint8 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"contains {shape} {dtype}; a .npy of a sample must contain uint8 (h, w), (h, w, 1) or (h, w, 3)"
        )
    if 0 in shape or math.prod(shape) != len(contents) - start:
        raise ValueError(
            f"is damaged ({len(contents) - start:,} bytes of values where shape {shape} is stated)"
        )
    image = np.frombuffer(contents, np.uint8, offset=start).reshape(shape, order="F" if fortran else "C")
    return image.reshape(*shape[:2], -1)

"""A folder per cached data set: plain arrays, written whole or not at all, loaded as memory maps."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.dataset import Array, Dataset, Skipped, chunks
from elboroom.data.new_folder import fresh_folder
from elboroom.data.preparation import Preparation
from elboroom.errors import FailureError
from elboroom.io.files import json_text

log = logging.getLogger(__name__)

_VERSION = 1
_NAMES = "names.json"
_PARTIAL = ".partial-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_IN_THE_WAY = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
_DAY = 86400.0


def cache_dir() -> Path:
    """The folder of cached data sets: ``$ELBOROOM_CACHE``, else ``elboroom`` in the user's cache folder.

    That folder is ``$XDG_CACHE_HOME``, else ``~/.cache``. Nothing is created.
    """
    own = os.environ.get("ELBOROOM_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "elboroom"


def cached(key: str, build: Callable[[Path | None], Dataset]) -> Dataset:
    """Return the cached data set `key`, building and storing it if there is none.

    Two processes may build one entry at once: each writes a folder of its own, and the first to rename it
    wins. Without a writable cache, nothing is stored; a damaged entry is rebuilt. Both are logged.

    Parameters
    ----------
    key : str
        The folder's name.
    build : callable
        Gets a scratch folder on the cache's disk, or None if there is none, and returns the data set. It may
        `reserve` an array there and return it; anything else it leaves there is not kept.

    Raises
    ------
    FailureError
        If the disk is full.
    """
    entry = cache_dir() / key
    held = _load(entry)
    if held is not None:
        return held
    scratch = _scratch(entry.parent)
    if scratch is None:
        return build(None)
    try:
        built = build(scratch)
        write_entry(built, scratch)
        _publish(scratch, entry)
    except OSError as error:
        raise FailureError(
            f"cannot write the cache in {entry.parent}: {error.strerror or error}; "
            "free some space or set ELBOROOM_CACHE to another folder"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    held = _load(entry)
    return built if held is None else dataclasses.replace(held, origin=built.origin)


def forget_others(prefix: str, keep: str) -> None:
    """Remove entries whose names start with `prefix`, but not `keep`: what a changed folder left behind."""
    with contextlib.suppress(OSError):
        for entry in cache_dir().iterdir():
            if entry.name.startswith(prefix) and entry.name != keep:
                shutil.rmtree(entry, ignore_errors=True)


def reserve(path: Path, shape: tuple[int, ...], dtype: Any = np.uint8) -> Array:
    """Create a ``.npy`` file of this shape and type and return it as a writable memory map.

    The blocks are claimed at once: writing through a map into a file with holes would kill the process
    when the disk fills up, where claiming them raises.

    Raises
    ------
    FailureError
        If the disk has no room for it.
    """
    needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        x = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        _claim_blocks(path)
    except OSError as error:
        raise FailureError(
            f"no room for {needed:,} bytes in {path.parent.parent}: {error.strerror or error}; "
            "free some space, set ELBOROOM_CACHE to another folder, or ask for a smaller size"
        ) from error
    return x


def _claim_blocks(path: Path) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno in _FULL:
                raise
            log.debug("%s: this disk cannot claim blocks (%s)", path, error)


def _scratch(parent: Path) -> Path | None:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f"{_PARTIAL}*"):  # left by processes that were killed
            with contextlib.suppress(FileNotFoundError):  # another process may be done with it just now
                if time.time() - old.stat().st_mtime > _DAY:
                    shutil.rmtree(old, ignore_errors=True)
        return fresh_folder(parent, _PARTIAL)
    except OSError as error:
        if error.errno in _FULL:
            raise FailureError(
                f"cannot write the cache in {parent}: {error.strerror}; "
                "free some space or set ELBOROOM_CACHE to another folder"
            ) from error
        log.warning(
            "working without a cache: %s cannot be written to (%s); set ELBOROOM_CACHE to another folder",
            parent,
            error.strerror or error,
        )
        return None


def write_entry(data: Dataset, folder: Path) -> None:
    """Write a data set's arrays into a folder, and then its metadata, which marks the entry as complete."""
    mapped = Path(str(data.x.filename)) if isinstance(data.x, np.memmap) else None
    in_place = mapped is not None and mapped.parent == folder
    for leftover in folder.iterdir():
        if not (in_place and leftover == mapped):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if in_place and isinstance(data.x, np.memmap) and mapped is not None:
        data.x.flush()
        mapped.rename(folder / "x.npy")
    else:
        _save(folder / "x.npy", data.x)
    _save(folder / "split.npy", data.split)
    if data.labels is not None:
        _save(folder / "labels.npy", data.labels)
    if data.names:
        with (folder / _NAMES).open("w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(json_text(list(data.names)))
            _to_disk(file)
    meta = {
        "version": _VERSION,
        "name": data.name,
        "label_names": data.label_names,
        "scale": data.scale,
        "published_split": data.published_split,
        "skipped": [dataclasses.astuple(skip) for skip in data.skipped],
        "names": bool(data.names),
        "notes": data.notes,
        "fingerprint": data.fingerprint(),
        "labels_sha256": _labels_hash(data.labels),
        "preparation": None if data.preparation is None else data.preparation.to_json(),
    }
    with (folder / "meta.json").open("w", encoding="utf-8") as file:
        file.write(json_text(meta, indent=1))
        _to_disk(file)


def _read_names(entry: Path) -> tuple[str, ...]:
    return tuple(json.loads((entry / _NAMES).read_text(encoding="utf-8", errors="surrogatepass")))


def _save(path: Path, array: Array) -> None:
    """Write a ``.npy`` file; unlike numpy's own writer, it says why when it cannot."""
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in chunks(array):
            file.write(np.ascontiguousarray(rows).data)
        _to_disk(file)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _labels_hash(labels: Array | None) -> str:
    return "" if labels is None else hashlib.sha256(np.ascontiguousarray(labels).data).hexdigest()


def _publish(scratch: Path, entry: Path) -> None:
    """Rename a finished folder to its place; if a whole one got there first, leave that."""
    for _ in range(3):  # each time, another process may be faster
        try:
            scratch.rename(entry)
            break
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        if _is_whole(entry):
            return
        aside = fresh_folder(entry.parent, _PARTIAL)
        with contextlib.suppress(FileNotFoundError):
            entry.rename(aside / "damaged")
        shutil.rmtree(aside, ignore_errors=True)
    if os.name == "posix":  # the rename itself must survive a power cut
        handle = os.open(entry.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_whole(entry: Path) -> bool:
    try:
        read_entry(entry)
    except Exception:
        return False
    return True


def _load(entry: Path) -> Dataset | None:
    """Load an entry as a memory map; None if there is none, or, with a warning, if it is damaged."""
    try:
        return read_entry(entry) if entry.is_dir() else None
    except Exception as error:  # numpy raises nearly any of them on damaged bytes
        log.warning("the cached data in %s is damaged and will be made again: %s", entry, error)
        return None


def read_entry(entry: Path) -> Dataset:
    """Map a written data set into memory; any exception means that it is damaged or of another version."""
    meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
    if meta["version"] != _VERSION:
        raise ValueError(f"it has version {meta['version']}, this program writes {_VERSION}")
    labels = np.load(entry / "labels.npy", allow_pickle=False) if meta["labels_sha256"] else None
    data = Dataset(
        name=meta["name"],
        x=np.load(entry / "x.npy", mmap_mode="r", allow_pickle=False),
        split=np.load(entry / "split.npy", allow_pickle=False),
        labels=labels,
        label_names=tuple(meta["label_names"]),
        scale=meta["scale"],
        published_split=meta["published_split"],
        skipped=tuple(Skipped(*skip) for skip in meta["skipped"]),
        origin="cache",
        notes=tuple(meta.get("notes", ())),
        names=_read_names(entry) if meta.get("names") else (),  # entries of version 0.1 have none
        # Entries of version 0.1 do not say.
        preparation=None if meta.get("preparation") is None else Preparation.from_json(meta["preparation"]),
    )
    if data.fingerprint() != meta["fingerprint"] or _labels_hash(labels) != meta["labels_sha256"]:
        raise ValueError("its contents are not what was written")
    return data

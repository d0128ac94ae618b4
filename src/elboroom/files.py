"""Files written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elboroom.errors import FailureError, UsageError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing: temporary file beside it, fsync, rename.

    Raises
    ------
    FailureError
        If the disk is full or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with explain_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def check_space(path: Path, needed: int) -> None:
    """Make sure that a disk has room, before work begins.

    Parameters
    ----------
    path : path
        Of a file or folder to be written.
    needed : int
        Bytes.

    Raises
    ------
    UsageError
        If there is less.
    """
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UsageError(
            f"{path}: {free / 1e6:,.1f} MB are free on this disk and about {needed / 1e6:,.1f} MB needed; "
            "free some, or write to another disk with --out"
        )


@contextmanager
def explain_disk(path: Path) -> Iterator[None]:
    """Turn an operating-system error into one line that names the path."""
    try:
        yield
    except OSError as error:
        raise FailureError(
            f"cannot write {path}: {error.strerror}; free space or give another folder"
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

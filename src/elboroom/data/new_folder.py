"""Write a folder under a temporary name, and rename it when it is complete."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from elboroom.errors import UsageError
from elboroom.io.files import explain_disk

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-z_]{8}\.new")
_OLD = "old"


def fresh_folder(parent: Path, prefix: str, suffix: str = "") -> Path:
    """Make an empty folder of a name that is not taken, with the permissions that the umask leaves."""
    while True:  # tempfile.mkdtemp would shut out everybody else, whatever the umask
        path = parent / f"{prefix}{secrets.token_hex(4)}{suffix}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `out` at the end, or is removed after an error.

    What killed processes left beside `out` is removed.

    Raises
    ------
    UsageError
        If another process is writing `out`.
    FailureError
        If the disk is full or cannot be written to.
    """
    with explain_disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            _remove_leftovers(out)
            scratch = fresh_folder(out.parent, f".{out.name}.", ".new")
            try:
                yield scratch
                _take_place(scratch, out)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def _take_place(scratch: Path, out: Path) -> None:
    if not out.exists():
        scratch.rename(out)
        return
    aside = fresh_folder(out.parent, f".{out.name}.", ".new")
    try:
        out.rename(aside / _OLD)
        scratch.rename(out)
    finally:
        if not out.exists():
            (aside / _OLD).rename(out)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other processes from writing `out`; the lock is the kernel's and ends with its process."""
    lock = FileLock(_lock_file(out.parent, out.name), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"{out} is being written by another process; wait for its end, or choose another out="
        ) from None
    try:
        yield
    finally:
        # Removed while it is held: afterwards it may be another's.
        _lock_file(out.parent, out.name).unlink(missing_ok=True)
        lock.release()


def _lock_file(parent: Path, name: str) -> Path:
    return parent / f".{name}.lock"


def _remove_leftovers(out: Path) -> None:
    """Remove temporary folders beside `out` whose processes are dead, as their locks are free."""
    names: dict[str, list[Path]] = {}
    for path in sorted(out.parent.iterdir()):
        found = _LEFTOVER.fullmatch(path.name)
        if found and path.is_dir() and not path.is_symlink():
            names.setdefault(found["name"], []).append(path)
    for name, leftovers in names.items():
        place = out.parent / name
        with contextlib.ExitStack() as held:
            if name != out.name:
                try:
                    held.enter_context(_locked(place))
                except UsageError:
                    continue
            for leftover in leftovers:
                if (leftover / _OLD).is_dir() and not place.exists():  # killed between two renames
                    (leftover / _OLD).rename(place)
                shutil.rmtree(leftover, ignore_errors=True)

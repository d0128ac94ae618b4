"""Write files atomically, read JSON that may be damaged, and lock folders."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from elboroom.errors import FailureError, UsageError

_LOCK = ".lock"
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part")

Content = str | bytes | Callable[[Path], None]


def json_text(content: Any, *, indent: int | None = None) -> str:
    """Write JSON that every program reads: standard JSON has no nan and no infinity.

    A non-finite number becomes null, and the key ``not_finite`` of the outermost object keeps its value.

    Parameters
    ----------
    content : Any
        Dicts, lists, numbers, strings and None.
    indent : int, optional
        As of :func:`json.dumps`.

    Examples
    --------
    >>> json_text({"elbo": float("nan"), "layers": [1.5, float("inf")]})
    '{"elbo": null, "layers": [1.5, null], "not_finite": {"elbo": "nan", "layers.1": "inf"}}'
    """
    lost: dict[str, str] = {}
    content = _finite(content, "", lost)
    if lost and isinstance(content, dict):
        content = {**content, "not_finite": lost}
    return json.dumps(content, indent=indent, allow_nan=False)


def _finite(tree: Any, name: str, lost: dict[str, str]) -> Any:
    if isinstance(tree, float) and not math.isfinite(tree):
        lost[name] = str(float(tree))
        return None
    if isinstance(tree, dict):
        return {key: _finite(value, f"{name}.{key}".lstrip("."), lost) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value, f"{name}.{i}".lstrip("."), lost) for i, value in enumerate(tree)]
    return tree


def read_json(path: Path, fix: str = "write or copy it again") -> Any:
    """Read a JSON file that may come from anywhere.

    Parameters
    ----------
    path : path
        Of the file.
    fix : str
        The fix if it is damaged, for the end of the message.

    Raises
    ------
    UsageError
        If it is no JSON text in UTF-8, is nested too deeply, or holds a number of thousands of digits.
    """
    return parse_json(path.read_bytes(), path, fix)


def parse_json(content: str | bytes, where: object, fix: str) -> Any:
    """Parse JSON that may come from anywhere; see :func:`read_json`.

    Raises
    ------
    UsageError
        If it cannot be parsed; ``where`` names it and ``fix`` says what helps.
    """
    try:
        return json.loads(content if isinstance(content, str) else content.decode())
    except UnicodeDecodeError:
        why = "it is not text in UTF-8"
    except RecursionError:
        why = "it is nested too deeply"
    except json.JSONDecodeError as error:
        why = str(error)
    except ValueError:  # Python's limit on the digits of a whole number, which is there against attacks
        why = "it contains a number of thousands of digits"
    raise UsageError(f"{where} is damaged ({why}); {fix}")


def write_atomic(path: Path, content: Content) -> None:
    """Write a whole file or nothing: temporary file beside it, fsync, rename.

    Parameters
    ----------
    path : path
        Its folder is made if need be.
    content : str, bytes or callable
        Its content, or a function that fills the file at the given path.

    Raises
    ------
    FailureError
        If the disk is full or the folder cannot be written.
    """
    with whole_file(path, content) as temporary:
        temporary.replace(path)


@contextmanager
def whole_file(path: Path, content: Content) -> Iterator[Path]:
    """Write a file beside ``path``, whole and flushed to the disk, for the caller to rename.

    It is gone afterwards, whatever happens; a process that is killed meanwhile leaves it, under a name that
    only :func:`remove_leftovers` looks for.

    Raises
    ------
    UsageError
        If ``path`` is a device, a pipe or a socket, which the rename would replace.
    FailureError
        For any error of the operating system, the caller's own in the ``with`` block too.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"{path} is a device or a pipe, which a file would replace; give another name")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with explain_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fill(temporary, content)
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _fill(temporary: Path, content: Content) -> None:
    # The kernel lays the umask over the mode: to ask for it in Python is to change it, for all threads.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if not callable(content):
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            return
    content(temporary)
    with temporary.open("rb+") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) != mode:  # some libraries shut out all others
            temporary.chmod(mode)
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make renames in a folder outlast a loss of power, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network folders cannot
                raise
        finally:
            os.close(descriptor)


def remove_leftovers(folders: Iterable[Path], older_than: float = 0) -> None:
    """Remove temporary files that killed processes left, last changed ``older_than`` seconds ago or more."""
    latest = time.time() - older_than
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            with contextlib.suppress(OSError):  # another process may have renamed it just now
                if _LEFTOVER.fullmatch(path.name) and path.stat().st_mtime <= latest:
                    path.unlink()


def is_trace(name: str) -> bool:
    """Whether a file of this name was left by a lock or a killed process, and is nobody's data.

    Examples
    --------
    >>> is_trace(".lock"), is_trace(".config.json.0f3a9c21.part"), is_trace(".gitignore")
    (True, True, False)
    """
    return name == _LOCK or _LEFTOVER.fullmatch(name) is not None


def lock_folder(folder: Path) -> FileLock:
    """Keep other processes from writing to a folder until the lock is released, or this process is dead.

    The file ``.lock`` stays, with the number of the process that last held it; the lock itself is the
    kernel's, so that it never outlives its process.

    Raises
    ------
    UsageError
        If another process, or another training in this one, holds it; the text names the process.
    FailureError
        If the folder cannot be written.
    """
    # Any thread may release it: training's last write may be under way in its own.
    lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    with explain_disk(folder):
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"{folder} is being written by another training{_holder(folder / _LOCK)}; wait for its end "
                "or stop it, or give another folder"
            ) from None
    with contextlib.suppress(OSError):  # the lock holds without it
        (folder / _LOCK).write_text(f"{os.getpid()} {socket.gethostname()}\n")
    return lock


def _holder(lock: Path) -> str:
    """Who holds a lock, as far as its file says."""
    with contextlib.suppress(OSError, ValueError):
        pid, host = lock.read_text(errors="replace").split()
        if host != socket.gethostname():
            return f" (process {int(pid)} on {host})"
        return " in this process" if int(pid) == os.getpid() else f" (process {int(pid)})"
    return ""


def check_writable(folders: Iterable[Path]) -> None:
    """Check that files may be made in existing folders before work begins.

    Raises
    ------
    FailureError
        If one is read-only.
    """
    effective = os.access in os.supports_effective_ids
    for folder in folders:
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
            raise FailureError(
                f"cannot write {folder}: it is read-only; change its permissions or copy the run elsewhere"
            )


def check_space(path: Path, needed: int) -> None:
    """Check that a disk has room before work begins.

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
    if "\0" in str(path):
        raise UsageError(f"{str(path)!r} contains a null character; give another path")
    try:
        yield
    except OSError as error:
        forbidden = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        fix = "give a folder that may be written" if forbidden else "free space or give another folder"
        raise FailureError(f"cannot write {path}: {error.strerror or error}; {fix}") from None


@contextmanager
def explain_reading(path: Path) -> Iterator[None]:
    """Report a file that may not be read as such, instead of as damaged.

    Raises
    ------
    FailureError
        If the system does not let this user read it.
    """
    try:
        yield
    except PermissionError:
        raise FailureError(
            f"{path} may not be read by this user; ask its owner to permit it (chmod a+r), or for a copy"
        ) from None

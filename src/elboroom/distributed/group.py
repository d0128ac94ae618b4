"""The group of processes that train together: joining it and leaving it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import os
import signal
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from elboroom.errors import FailureError, UsageError

STORE = "ELBOROOM_STORE"
"""Environment variable with the path of the file through which processes of ``--devices`` find each other."""

# For a process that hangs or takes long to prepare data; one that dies breaks its connections at once.
_TIMEOUT = timedelta(minutes=10)
_TO_SAVE = 60.0  # seconds
_UNSET = "launch with torchrun or --devices, or unset WORLD_SIZE"


def world_size() -> int:
    """Return the number of processes that train together, as set by a launcher.

    Raises
    ------
    UsageError
        If WORLD_SIZE is not a whole number of at least 1.
    """
    return _whole("WORLD_SIZE", "1", 1, None)


def rank() -> int:
    """Return the number of this process among them.

    Raises
    ------
    UsageError
        If RANK is not a whole number from 0 to WORLD_SIZE − 1.
    """
    size = world_size()
    return _whole("RANK", "0", 0, size - 1) if size > 1 else 0


def join(device: torch.device) -> None:
    """Connect to the other processes.

    Raises
    ------
    UsageError
        If the environment that a launcher sets is incomplete or wrong.
    FailureError
        If the other processes cannot be reached.
    """
    options: dict[str, Any] = {"timeout": _TIMEOUT, "rank": rank(), "world_size": world_size()}
    if device.type == "cuda":
        options["device_id"] = device
    if STORE in os.environ:
        _end_with_launcher()
        options["store"] = _store(Path(os.environ[STORE]))
    else:
        _check_environment()
    _import_before_joining()
    atexit.register(leave)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", **options)
    except (RuntimeError, OSError) as error:
        where = os.environ.get(STORE) or f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise FailureError(
            f"process {rank()} of {world_size()} cannot reach the others through {where} "
            f"({str(error).strip().splitlines()[0][:120]}); check that all of them run"
        ) from None


def _import_before_joining() -> None:
    """Import PyTorch modules whose functions have the group at import time as a default argument.

    They would keep the group, and the threads of gloo with it, after it was left. Such a thread aborts the
    process ("terminate called without an active exception") when the interpreter ends. An optimiser imports
    these modules at its first step.
    """
    for name in ("torch.distributed.nn.functional", "torch.distributed.optim"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _store(path: Path) -> FileStore:
    if not path.parent.is_dir():  # PyTorch would wait for it for minutes
        raise FailureError(
            f"the processes of --devices cannot find each other: {path.parent} is gone; "
            "start the command again"
        )
    return FileStore(str(path), world_size())


def leave() -> None:
    """Close the connections and end their threads."""
    if not dist.is_initialized():
        return
    dist.destroy_process_group()
    if STORE in os.environ:
        with contextlib.suppress(OSError):
            _mark(Path(os.environ[STORE]).parent, rank()).touch()


def has_left(folder: Path, number: int) -> bool:
    """Whether a process has left the group in good order and is no longer needed."""
    return _mark(folder, number).exists()


def _mark(folder: Path, number: int) -> Path:
    return folder / f"left-{number}"


def _whole(name: str, default: str, least: int, most: int | None) -> int:
    text = os.environ.get(name, default)
    allowed = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r} and must be {allowed}: {_UNSET}") from None
    if value < least or (most is not None and value > most):
        because = f", as WORLD_SIZE is {most + 1}" if name == "RANK" and most is not None else ""
        raise UsageError(f"{name} is {value} and must be {allowed}{because}: {_UNSET}")
    return value


def _check_environment() -> None:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(f"WORLD_SIZE is {world_size()}, and {', '.join(missing)} {are} not set: {_UNSET}")
    port = _whole("MASTER_PORT", "", 1, 65535)
    # torchrun opens the port itself; without it the first process does.
    if rank() == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", port))
            except OSError as error:
                used = error.errno == errno.EADDRINUSE
                why = "in use by another program" if used else error.strerror
                raise UsageError(
                    f"MASTER_PORT is {port}, which is {why}; give all processes another, such as {port + 1}"
                ) from None


def _end_with_launcher() -> None:
    """Save and end when the launcher, which has the other end of standard input, ends."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_TO_SAVE)
        os._exit(1)

    threading.Thread(target=watch, name="elboroom-launcher", daemon=True).start()

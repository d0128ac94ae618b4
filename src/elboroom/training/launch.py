"""``--devices N``: run the same command in N processes of this machine, by PyTorch's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from elboroom.errors import ElboroomError, UsageError


class LaunchFailedError(ElboroomError):
    """A process ended badly; it has said itself what was wrong, or this does."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def launch(devices: int, arguments: Sequence[str]) -> None:
    """Run ``elboroom`` with these arguments in several processes and wait for all.

    Parameters
    ----------
    devices : int
        How many; on a machine with GPUs each gets one of its own.
    arguments : sequence of str
        The command line, from which ``--devices`` is taken out.

    Raises
    ------
    LaunchFailedError
        If one of them failed; the others are ended within seconds. Empty if it has told the reason itself.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id="elboroom",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.2,
    )
    # Without this each process would start a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    logging.disable(logging.CRITICAL)  # what the launcher logs of a failure is said here in one line
    try:
        elastic_launch(config, sys.executable)("-m", "elboroom", *without_devices(arguments))
    except ChildFailedError as error:
        rank, first = min(error.failures.items(), key=lambda item: item[1].timestamp)
        raise LaunchFailedError(_describe(rank, first, devices), _exit_code(first)) from None
    except SignalException as stopped:
        raise LaunchFailedError("", 128 + stopped.sigval) from None
    finally:
        logging.disable(logging.NOTSET)


def without_devices(arguments: Sequence[str]) -> list[str]:
    """Take ``--devices N`` out of a command line.

    Examples
    --------
    >>> without_devices(["train", "--devices", "2", "mnist", "--devices=3", "--lr", "0.1"])
    ['train', 'mnist', '--lr', '0.1']
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--devices":
            next(rest, None)
        elif not argument.startswith("--devices="):
            kept.append(argument)
    return kept


def check_devices(devices: int) -> None:
    """Refuse a number of processes that cannot be.

    Raises
    ------
    UsageError
        Below 1.
    """
    if devices < 1:
        raise UsageError(f"--devices {devices}: at least 1")


def _describe(rank: int, failure: ProcessFailure, devices: int) -> str:
    if failure.exitcode >= 0:
        return ""
    name = signal.Signals(-failure.exitcode).name
    return (
        f"process {rank} of {devices} (pid {failure.pid}) was ended by {name}, and the others "
        "with it; 'elboroom resume RUN' goes on from the last checkpoint"
    )


def _exit_code(failure: ProcessFailure) -> int:
    return failure.exitcode if failure.exitcode >= 0 else 1

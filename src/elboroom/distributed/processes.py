"""Processes that train together: ranks, sums over all of them, and messages when one is gone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from elboroom.distributed import group, noise
from elboroom.errors import AnotherFailedError, ElboroomError, FailureError

T = TypeVar("T")
_SECONDS_TO_DIE = 3.0


@dataclass(frozen=True)
class Part:
    """The part of a batch that one process computes: rows ``start`` to ``stop`` of ``total``.

    ``weight`` is its share in the mean of the batch. If there are fewer examples than processes, some compute
    an example of another process with weight 0, as all must take part in every sum.
    """

    start: int
    stop: int
    total: int
    weight: float

    @property
    def counted(self) -> int:
        """Number of examples that count."""
        return self.stop - self.start if self.weight else 0


class Workers:
    """The processes of one training; a single one unless a launcher has started more.

    Parameters
    ----------
    device : torch.device
        Device of this process: those on a CPU communicate through gloo, those with a GPU each through nccl.

    Raises
    ------
    UsageError
        If the environment that a launcher sets is incomplete or wrong.
    FailureError
        If the others cannot be reached.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.size, self.rank = group.world_size(), group.rank()
        self._silent = False
        self._names = [""]
        if self.size > 1:
            if not dist.is_initialized():
                group.join(device)
            self._names = self._exchange(f"{socket.gethostname()} {os.getpid()}")

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.size == 1

    def part(self, total: int) -> Part:
        """Return the rows of a batch of ``total`` that this process computes."""
        start, stop = self.rank * total // self.size, (self.rank + 1) * total // self.size
        if start == stop:
            return Part(0, min(1, total), total, 0.0)
        return Part(start, stop, total, (stop - start) / total)

    def share(self, order: Sequence[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], list[Part]]:
        """Return the rows of each batch that this process computes, and the parts they are."""
        parts = [self.part(len(rows)) for rows in order]
        return [rows[part.start : part.stop] for rows, part in zip(order, parts, strict=True)], parts

    @contextmanager
    def noise_of(self, part: Part) -> Iterator[None]:
        """Draw the noise of the whole batch and use that of this part, while the context lasts."""
        if self.alone:
            if part.stop - part.start == part.total:
                yield
            else:
                with noise.part_of_batch(part.start, part.stop - part.start, part.total):
                    yield
            return
        # A process that repeats an example of another must not count it twice.
        sum_over_parts = self.sum_ if part.weight else lambda rows: self.sum_(rows.zero_())
        own = (part.start, part.stop - part.start, part.total)
        with noise.part_of_batch(*own, sum_over_parts, counts=bool(part.weight)):
            yield

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all processes."""
        if not self.alone:
            with self._explaining():
                dist.all_reduce(tensor)
        return tensor

    def gather_into(self, whole: Tensor, own: Tensor) -> None:
        """Join equal parts of all processes in the order of their ranks."""
        with self._explaining():
            _gather(whole, own)

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the values of the first one."""
        if not self.alone:
            with self._explaining():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def agree(self, wanted: bool) -> bool:
        """Whether any process wants it; all must call this."""
        if self.alone:
            return wanted
        return bool(self.sum_(torch.tensor(float(wanted), device=self.device)).item())

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Raise a RuntimeError where this process would exchange numbers with others.

        It serves what is recorded to be repeated, which a process begins when the others need not.
        """
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def together(self, action: Callable[[], T]) -> T:
        """Do something in all processes; if it fails in one, raise in all of them.

        Raises
        ------
        ElboroomError
            In the first process: its own error.
        AnotherFailedError
            In the others, with the same exit code.
        """
        if self.alone:
            return action()
        result: list[T] = []
        met: ElboroomError | None = None
        try:
            result.append(action())
        except ElboroomError as error:
            met = error
        errors = self._exchange(None if met is None else (str(met), met.exit_code))
        failed = next((rank for rank, each in enumerate(errors) if each is not None), None)
        if failed is None:
            return result[0]
        if self.is_first and met is not None:
            raise met
        message, code = errors[failed]
        raise AnotherFailedError(f"process {failed}: {message}", code)

    def first(self, action: Callable[[], T]) -> T | None:
        """Do something in the first process while the others wait; if it fails, raise in all.

        Returns
        -------
        object
            What ``action`` returned, in the first process; None in the others.
        """
        return self.together(lambda: action() if self.is_first else None)

    def in_turn(self, action: Callable[[], T]) -> T:
        """Do something in the first process, which may fill a cache, and then in the others."""
        done = self.together(lambda: [action()] if self.is_first else [])
        return self.together(lambda: done or [action()])[0]

    def close(self) -> None:
        """Leave the process group."""
        if not self.alone:
            group.leave()

    def _exchange(self, own: Any) -> list[Any]:
        """Exchange a value with all processes, as JSON: unpickling data from a socket could run code."""
        said = torch.tensor(list(json.dumps(own, allow_nan=False).encode()), dtype=torch.uint8)
        with self._explaining():
            lengths = torch.empty(self.size, dtype=torch.int64, device=self.device)
            _gather(lengths, torch.tensor([len(said)], device=self.device))
            padded = torch.zeros(int(lengths.max()), dtype=torch.uint8)
            padded[: len(said)] = said
            whole = torch.empty(self.size * len(padded), dtype=torch.uint8, device=self.device)
            _gather(whole, padded.to(self.device))
        texts = whole.cpu().view(self.size, -1)
        return [
            json.loads(bytes(text[:length].tolist())) for text, length in zip(texts, lengths, strict=True)
        ]

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn a broken connection into one line that names the process that is gone."""
        if self._silent:
            raise RuntimeError("the model exchanges numbers with other processes in the middle of a step")
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            raise FailureError(
                f"process {self.rank} of {self.size} stops: {self._who_is_gone()} ({_first_line(error)})"
            ) from None

    def _who_is_gone(self) -> str:
        names = getattr(self, "_names", [])
        until = time.monotonic() + _SECONDS_TO_DIE
        while not (gone := [rank for rank, name in enumerate(names) if not _lives(name)]):
            if time.monotonic() > until:
                return "another process does not answer"
            time.sleep(0.1)
        named = [f"process {rank} ({names[rank].replace(' ', ', pid ')})" for rank in gone]
        return f"{' and '.join(named)} {'is' if len(named) == 1 else 'are'} gone"


def launched_by_torchrun() -> bool:
    """Whether this process is one of several."""
    return group.world_size() > 1


def speaks() -> bool:
    """Whether this process is the first, or the only one."""
    return group.rank() == 0


# One function with two names: torch renames it.
_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)


def _lives(name: str) -> bool:
    host, pid = name.rsplit(" ", 1)
    if host != socket.gethostname():
        return True  # cannot be known from here
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(int(pid)).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def _first_line(error: BaseException) -> str:
    """Return the message of a library without the place in its sources."""
    text = re.sub(r"^(\[[^\]]*\]\s*)+", "", str(error).strip())
    return text.splitlines()[0].split(". ")[0][:120] if text else type(error).__name__

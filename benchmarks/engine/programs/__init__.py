"""The programs that are measured, each a module whose ``TASKS`` run a task in pieces.

A task is called as ``task(job, count, done)``. It sets itself up, then processes about ``count`` images at a
time and calls ``done(images, seconds)`` after each, which returns when the next piece is needed and raises
:class:`Enough` when none is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from benchmarks.engine.cases import Case

# Name → module of this package, and label.
PROGRAMS: dict[str, tuple[str, str]] = {
    "elboroom": ("ours", "elboroom"),
    "elboroom-fp32": ("ours", "elboroom, fp32"),
    "elboroom-compiled": ("ours", "elboroom, compiled"),
    "pythae": ("rival_pythae", "Pythae"),
    "plain": ("plain", "plain PyTorch"),
    "plain-bf16": ("plain", "plain PyTorch, bf16"),
    "jax": ("rival_jax", "JAX"),
    "products": ("products", "matrix products alone"),
    "products-fp32": ("products", "matrix products alone, fp32"),
}


class Enough(Exception):  # noqa: N818 - no error
    """Raised when no more pieces are needed."""


class Absent(Exception):  # noqa: N818 - no error
    """Raised when a program cannot take part; the text says why."""


@dataclass(frozen=True)
class Job:
    """Order for a worker: the case, the file of its images, the device, and the program."""

    case: Case
    images: str
    device: str
    program: str


class Done(Protocol):
    """Callback after every piece; keyword arguments are further times that were measured, in seconds."""

    def __call__(self, images: int, seconds: float, **further: float) -> None:
        """Return when the next piece is needed; raise :class:`Enough` if none is."""
        ...


class DoTask(Protocol):
    """Signature of all tasks."""

    def __call__(self, job: Job, count: int, done: Done) -> None:
        """Process pieces of about ``count`` images until ``done`` raises."""
        ...

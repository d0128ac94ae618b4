"""The programs measured: each a module whose ``TASKS`` do a task in pieces, for as long as they are asked.

A task is called as ``task(job, count, done)``. It sets itself up, then for ever does about ``count``
images' worth of its task and calls ``done(images, seconds)``, which returns when the next piece is
wanted and raises :class:`Enough` when none is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from benchmarks.engine.cases import Case

# Name → module of this package, and what people read.
PROGRAMS: dict[str, tuple[str, str]] = {
    "elboroom": ("ours", "elboroom"),
    "elboroom-fp32": ("ours", "elboroom, fp32"),
    "pythae": ("rival_pythae", "Pythae"),
    "plain": ("plain", "plain PyTorch"),
    "jax": ("rival_jax", "JAX"),
    "products": ("products", "matrix products alone"),
    "products-fp32": ("products", "matrix products alone, fp32"),
}


class Enough(Exception):  # noqa: N818 - no error
    """No more pieces are wanted."""


class Absent(Exception):  # noqa: N818 - no error
    """The program cannot take part; the text says why."""


@dataclass(frozen=True)
class Job:
    """What a worker is asked to do: a case, the file of its images, where, and as which program."""

    case: Case
    images: str
    device: str
    program: str


class Done(Protocol):
    """Told after every piece; keyword arguments are further seconds that the piece has measured."""

    def __call__(self, images: int, seconds: float, **further: float) -> None:
        """Return when the next piece is wanted; raise :class:`Enough` when none is."""
        ...


class DoTask(Protocol):
    """How every program's tasks are called."""

    def __call__(self, job: Job, count: int, done: Done) -> None:
        """Do pieces of about ``count`` images until ``done`` raises."""
        ...

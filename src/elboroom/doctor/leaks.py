"""Copies: held-out examples that training has seen, and examples that count several times."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from elboroom.data.copies import copies_in
from elboroom.data.dataset import Dataset
from elboroom.doctor.finding import Finding

_MOST_BYTES = 1 << 30  # of data that are read for it
_LOOKED_AT = 500  # held-out examples that near copies are looked for
_LEAKED = 0.01
_REPEATED = 0.05
_POSSIBLE = 0.2  # share of different examples below which rows have few possible values


@dataclass(frozen=True)
class Repeats:
    """How many examples are copies of training examples.

    Attributes
    ----------
    train, held_out : int
        Examples of each part.
    repeated : int
        Training examples that are equal to an earlier one.
    leaked : int
        Held-out examples that are equal to a training example.
    near, looked_at : int
        Held-out examples that are all but equal to one, of so many that were compared.
    """

    train: int
    held_out: int
    repeated: int
    leaked: int
    near: int
    looked_at: int


def repeats_in(data: Dataset) -> Repeats | None:
    """Count the copies; None if the data are too large to read for it."""
    if data.x.nbytes > _MOST_BYTES:
        return None
    training = np.asarray(data.split) == 0
    found = copies_in(data, most=_LOOKED_AT)
    held_out = int((~training).sum())
    leaked = int((found.exact & ~training).sum())
    repeated = int((found.exact & training).sum())
    near = int(found.near.sum())
    return Repeats(int(training.sum()), held_out, repeated, leaked, near, min(_LOOKED_AT, held_out - leaked))


def leaked(found: Repeats | None) -> Finding | None:
    """Held-out examples that are training examples, more often than training examples are one another."""
    if found is None or not found.held_out or _few_possible(found):
        return None
    share, own = found.leaked / found.held_out, found.repeated / found.train
    near = found.near / max(1, found.looked_at)
    known = {"leaked": found.leaked, "near": found.near, "held_out": found.held_out}
    # By chance twice as many as among training examples, which are compared with earlier ones alone.
    expected = 2 * own * found.held_out
    if share > _LEAKED and found.leaked > 2 * expected + 3 * math.sqrt(expected):
        said = (
            f"{found.leaked:,} of the {found.held_out:,} held-out examples ({share:.0%}) are equal to a "
            "training example"
        )
    elif near > _LEAKED:
        said = (
            f"{found.near:,} of {found.looked_at:,} held-out examples ({near:.0%}) are all but equal to a "
            "training example"
        )
    else:
        return None
    return Finding(f"{said}, so that their numbers are not of new examples", known, *_LEAVE_OUT)


def repeated(found: Repeats | None) -> Finding | None:
    """Training examples that count several times."""
    if found is None or found.repeated <= _REPEATED * found.train or _few_possible(found):
        return None
    said = (
        f"{found.repeated:,} of the {found.train:,} training examples ({found.repeated / found.train:.0%}) "
        "are equal to an earlier one"
    )
    known = {"repeated": found.repeated, "leaked": found.leaked, "train": found.train}
    if found.leaked:
        said += f", and {found.leaked:,} of the {found.held_out:,} held-out ones are too"
    return Finding(said, known, *_LEAVE_OUT)


_LEAVE_OUT: tuple[dict[str, str], str] = ({"duplicates": "drop"}, "leaves copies out")


def _few_possible(found: Repeats) -> bool:
    """Whether examples have so few possible values that equal ones are no copies."""
    return found.train - found.repeated < _POSSIBLE * found.train

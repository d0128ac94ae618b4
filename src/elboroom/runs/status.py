"""How far a run has come, and whether its weights may be used."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from elboroom.errors import FailureError, RunWarning, UsageError
from elboroom.io.files import json_text, write_atomic
from elboroom.io.tensors import first_unusable

State = Literal["training", "trained", "finished", "diverged"]

FILE = "status.json"


class Status(NamedTuple):
    """How far a run has come.

    Attributes
    ----------
    state : {"training", "trained", "finished", "diverged"}
        A trained run has its model, a finished one also the numbers and pictures that the command line
        leaves; one that was stopped or killed while it trained is still ``"training"``.
    reason : str or None
        How it was seen that it diverged.
    """

    state: State
    reason: str | None = None


def read_status(folder: Path) -> Status:
    """Read a run's status; one of an earlier version, which has none, is finished if it has numbers.

    Raises
    ------
    UsageError
        If the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return Status("finished" if (folder / "metrics.json").exists() else "training")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Status(content["state"], content["reason"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(
            f"{path} is damaged; remove it, and 'elboroom resume {folder}' looks again"
        ) from None


def write_status(folder: Path, state: State, reason: str | None = None) -> None:
    """Replace a run's status."""
    write_atomic(folder / FILE, json_text({"state": state, "reason": reason}) + "\n")


def check_usable(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse a run's weights if they give nothing but nan, and warn of others that a diverged training left.

    Raises
    ------
    FailureError
        If a number is not finite, or too large to compute with.
    """
    status, found = read_status(folder), first_unusable(weights)
    if found is not None:
        how = status.reason or "training diverged, or the file was changed since"
        raise FailureError(
            f"{folder} has no usable model: {found} ({how}); 'elboroom resume {folder}' goes on from its "
            "last good checkpoint, if it has one"
        )
    if status.state == "diverged":
        warnings.warn(f"{folder}: {status.reason}", RunWarning, stacklevel=4)

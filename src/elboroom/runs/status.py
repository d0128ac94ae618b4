"""The state of a run, and whether its weights are usable."""

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
    """The state of a run.

    Attributes
    ----------
    state : {"training", "trained", "finished", "diverged"}
        A trained run has its model; a finished run also has the metrics and figures of the command line. A
        run that was stopped or killed during training stays in ``"training"``.
    reason : str or None
        How the divergence showed.
    """

    state: State
    reason: str | None = None


def read_status(folder: Path) -> Status:
    """Read the state of a run. Runs of earlier versions, without the file, are finished if they have metrics.

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
            f"{path} is damaged; remove it, and 'elboroom resume {folder}' writes it again"
        ) from None


def write_status(folder: Path, state: State, reason: str | None = None) -> None:
    """Replace the status of a run."""
    write_atomic(folder / FILE, json_text({"state": state, "reason": reason}) + "\n")


def check_usable(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Check that the weights of a run are usable, and warn if its training diverged.

    Raises
    ------
    FailureError
        If a weight is not finite, or too large to compute with.
    """
    status, found = read_status(folder), first_unusable(weights)
    if found is not None:
        how = status.reason or "training diverged, or the file was changed afterwards"
        raise FailureError(
            f"{folder} has no usable model: {found} ({how}); 'elboroom resume {folder}' continues from the "
            "last good checkpoint if there is one"
        )
    if status.state == "diverged":
        warnings.warn(f"{folder}: {status.reason}", RunWarning, stacklevel=4)

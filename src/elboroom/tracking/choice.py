"""The trackers by name, what each needs, and whether it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

from elboroom.config.trackers import TRACKERS, read_trackers
from elboroom.errors import UsageError
from elboroom.tracking.tracker import Tracker


def _tensorboard() -> Tracker:
    from elboroom.tracking.to_tensorboard import TensorBoard

    return TensorBoard()


def _mlflow() -> Tracker:
    from elboroom.tracking.to_mlflow import MLflow

    return MLflow()


def _wandb() -> Tracker:
    from elboroom.tracking.to_wandb import Wandb

    return Wandb()


def _trackio() -> Tracker:
    from elboroom.tracking.to_trackio import Trackio

    return Trackio()


class _Kind(NamedTuple):
    needs: tuple[str, ...]  # modules
    connect: Callable[[], Tracker]


KINDS = {
    "tensorboard": _Kind(("tensorboard",), _tensorboard),
    "mlflow": _Kind(("mlflow",), _mlflow),
    "wandb": _Kind(("wandb",), _wandb),
    "trackio": _Kind(("trackio",), _trackio),
}
assert tuple(KINDS) == TRACKERS


def tracker_names(text: str | None) -> tuple[str, ...]:
    """Split ``"tensorboard,mlflow"``; none for None, "" and "none".

    Raises
    ------
    UsageError
        If one is unknown.

    Examples
    --------
    >>> tracker_names("mlflow, tensorboard"), tracker_names("none")
    (('mlflow', 'tensorboard'), ())
    """
    try:
        found = read_trackers(text)
    except ValueError as error:
        raise UsageError(f"track = {text!r}: {error}") from None
    return tuple(found.split(",")) if found else ()


def check_installed(names: tuple[str, ...]) -> None:
    """Check that the packages of trackers can be imported.

    Raises
    ------
    UsageError
        For those that are missing, with the command that installs them.
    """
    missing = [name for name in names if not all(find_spec(module) for module in KINDS[name].needs)]
    if missing:
        one = len(missing) == 1
        raise UsageError(
            f"track = {','.join(names)}: {' and '.join(missing)} {'is' if one else 'are'} not installed; "
            f"pip install 'elboroom[{','.join(missing)}]', or leave {'it' if one else 'them'} out"
        )

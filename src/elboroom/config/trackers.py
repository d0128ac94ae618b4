"""Names of trackers as the user writes them: ``"tensorboard,mlflow"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from elboroom.errors import nearest

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")


def read_trackers(value: Any) -> str | None:
    """Return names joined by commas, each once, of text or a list; None for "none", "" and an empty list.

    Examples
    --------
    >>> read_trackers("mlflow, tensorboard,mlflow"), read_trackers(["wandb"]), read_trackers("none")
    ('mlflow,tensorboard', 'wandb', None)
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be names of trackers, such as 'tensorboard,mlflow'")
    names = list(dict.fromkeys(filter(None, (name.strip().lower() for name in value))))
    if names == ["none"]:
        return None
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"{name!r} is no tracker; {nearest(name, TRACKERS)}")
    return ",".join(names) or None


Trackers = Annotated[str | None, BeforeValidator(read_trackers)]
